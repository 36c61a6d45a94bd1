// SPDX-License-Identifier: GPL-2.0-only
/* File operations of /dev/ivshmemN. The interface is documented in ivshmem/driver.h. */
#include <linux/anon_inodes.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "device.h"

static int ivshmem_file_add(struct ivshmem_device *device, struct ivshmem_file *file)
{
	bool room;

	mutex_lock(&device->files_lock);
	room = device->files_n < IVS_DRIVER_FILES_MAX;
	if (room) {
		device->files_n++;
		list_add_tail(&file->node, &device->files);
	}
	mutex_unlock(&device->files_lock);
	return room ? 0 : -EMFILE;
}

/* @filp: the open file, or NULL if ivshmem_file_attach() will be called. Return: file or -errno. */
static struct ivshmem_file *ivshmem_file_new(struct ivshmem_device *device, struct file *filp)
{
	struct ivshmem_file *file;
	unsigned int i;
	int result;

	file = kzalloc(struct_size(file, listeners, device->vectors_n), GFP_KERNEL_ACCOUNT);
	if (!file)
		return ERR_PTR(-ENOMEM);
	mutex_init(&file->read_lock);
	for (i = 0; i < device->vectors_n; i++)
		file->listeners[i].seen = ivshmem_vector_count(device, i);
	file->device = device;
	file->file = filp;
	result = ivshmem_file_add(device, file);
	if (result) {
		kfree(file);
		return ERR_PTR(result);
	}
	get_device(&device->dev);
	return file;
}

static void ivshmem_file_free(struct ivshmem_file *file)
{
	struct ivshmem_device *device = file->device;
	unsigned int i;

	for (i = 0; i < device->vectors_n; i++)
		ivshmem_vector_listen(file, i, -1);
	mutex_lock(&device->files_lock);
	list_del(&file->node);
	device->files_n--;
	mutex_unlock(&device->files_lock);
	if (file->attribute)
		fput(file->attribute);
	kfree(file);
	put_device(&device->dev);
}

static int ivshmem_file_open(struct inode *inode, struct file *filp)
{
	struct ivshmem_device *device = container_of(inode->i_cdev, struct ivshmem_device, cdev);
	struct ivshmem_file *file;

	/* After unbind, a node made with mknod(1) can be opened until the cdev is released. */
	if (READ_ONCE(device->gone))
		return -ENODEV;
	file = ivshmem_file_new(device, filp);
	if (IS_ERR(file))
		return PTR_ERR(file);
	filp->private_data = file;
	return stream_open(inode, filp);
}

static int ivshmem_file_release(struct inode *inode, struct file *filp)
{
	ivshmem_file_free(filp->private_data);
	return 0;
}

/* Let ivshmem_files_unmap() find mappings of @filp among those of the attribute's inode. */
static void ivshmem_file_attach(struct ivshmem_file *file, struct file *filp,
				struct file *attribute)
{
	mutex_lock(&file->device->files_lock);
	file->attribute = get_file(attribute);
	filp->f_mapping = attribute->f_mapping;
	file->file = filp;
	mutex_unlock(&file->device->files_lock);
}

/*
 * Map the region through the sysfs attribute "memory". The mapping gets an open file of its own:
 * sysfs rejects a VMA that has a close callback, and raises SIGBUS when the device is unbound.
 */
int ivshmem_file_mmap_attribute(struct ivshmem_device *device, struct file *attribute,
				struct vm_area_struct *vma)
{
	struct ivshmem_file *file;
	struct file *filp;
	int result;

	if (vma->vm_pgoff >= device->memory_len >> PAGE_SHIFT)
		return -EINVAL;
	file = ivshmem_file_new(device, NULL);
	if (IS_ERR(file))
		return PTR_ERR(file);
	filp = anon_inode_getfile("[ivshmem]", &ivshmem_file_ops, file,
				  attribute->f_flags & O_ACCMODE);
	if (IS_ERR(filp)) {
		ivshmem_file_free(file);
		return PTR_ERR(filp);
	}
	ivshmem_file_attach(file, filp, attribute);
	result = ivshmem_memory_mmap(device, vma, attribute->f_mode & FMODE_WRITE);
	if (!result)
		ivshmem_vma_set_file(vma, filp);
	fput(filp);
	return result;
}

/*
 * Unmap file by file: the files may be open through several device nodes, because mknod(1) can
 * create more, and each node has its own address_space.
 */
void ivshmem_files_unmap(struct ivshmem_device *device)
{
	struct address_space *last = NULL;
	struct ivshmem_file *file;

	mutex_lock(&device->files_lock);
	list_for_each_entry(file, &device->files, node) {
		if (!file->file) /* ivshmem_file_mmap_attribute() has not mapped anything yet */
			continue;
		if (file->file->f_mapping != last)
			unmap_mapping_range(file->file->f_mapping, 0, 0, 1);
		last = file->file->f_mapping;
	}
	mutex_unlock(&device->files_lock);
}

/* Return: the next vector with an unread count, or vectors_n if all have been read. */
static unsigned int ivshmem_file_next_vector(const struct ivshmem_file *file)
{
	unsigned int n = file->device->vectors_n;
	unsigned int i;

	for (i = 0; i < n; i++) {
		unsigned int vector = (READ_ONCE(file->next) + i) % n;

		if (ivshmem_vector_count(file->device, vector) !=
		    READ_ONCE(file->listeners[vector].seen))
			return vector;
	}
	return n;
}

static bool ivshmem_file_is_readable(const struct ivshmem_file *file)
{
	return READ_ONCE(file->text_len) ||
	       ivshmem_file_next_vector(file) < file->device->vectors_n;
}

/*
 * Copy the rest of a partly read line, or the next line. Return: number of bytes copied; 0 if no
 * vector has an unread count.
 */
static ssize_t ivshmem_file_read_line(struct ivshmem_file *file, char __user *out, size_t out_len)
{
	unsigned int vector = ivshmem_file_next_vector(file);
	u64 count;

	if (!file->text_len && vector < file->device->vectors_n) {
		count = ivshmem_vector_count(file->device, vector);
		WRITE_ONCE(file->listeners[vector].seen, count);
		WRITE_ONCE(file->next, vector + 1);
		WRITE_ONCE(file->text_len,
			   scnprintf(file->text, sizeof(file->text), "%u %llu\n", vector, count));
	}
	out_len = min_t(size_t, out_len, file->text_len);
	if (copy_to_user(out, file->text, out_len))
		return -EFAULT;
	memmove(file->text, file->text + out_len, file->text_len - out_len);
	WRITE_ONCE(file->text_len, file->text_len - out_len);
	return out_len;
}

static ssize_t ivshmem_file_read(struct file *filp, char __user *out, size_t out_len, loff_t *pos)
{
	struct ivshmem_file *file = filp->private_data;
	struct ivshmem_device *device = file->device;
	ssize_t result;

	while (out_len) {
		if (READ_ONCE(device->gone))
			return -ENODEV;
		result = mutex_lock_interruptible(&file->read_lock);
		if (result)
			return result;
		result = ivshmem_file_read_line(file, out, out_len);
		mutex_unlock(&file->read_lock);
		if (result)
			return result;
		if (filp->f_flags & O_NONBLOCK)
			return -EAGAIN;
		result = wait_event_interruptible(
			device->rung, READ_ONCE(device->gone) || ivshmem_file_is_readable(file));
		if (result)
			return result;
	}
	return 0;
}

static __poll_t ivshmem_file_poll(struct file *filp, struct poll_table_struct *table)
{
	struct ivshmem_file *file = filp->private_data;

	poll_wait(filp, &file->device->rung, table);
	if (READ_ONCE(file->device->gone))
		return EPOLLERR | EPOLLHUP;
	return ivshmem_file_is_readable(file) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int ivshmem_file_mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct ivshmem_file *file = filp->private_data;

	return ivshmem_memory_mmap(file->device, vma, filp->f_mode & FMODE_WRITE);
}

union ivshmem_ioctl_arg {
	struct ivs_ioc_info info;
	struct ivs_ioc_eventfd eventfd;
	struct ivs_ioc_ring ring;
	struct ivs_ioc_dmabuf dmabuf;
};

static int ivshmem_ioctl_info(struct ivshmem_device *device, struct ivs_ioc_info *info)
{
	*info = (struct ivs_ioc_info){
		.version = IVS_DRIVER_VERSION,
		.flags = (device->intx ? IVS_INFO_INTX : 0) |
			 (device->mappable ? IVS_INFO_REGISTERS : 0) |
			 (device->doorbell ? IVS_INFO_DOORBELL : 0),
		.revision = device->pdev->revision,
		.position = ioread32(device->registers + IVS_REG_IV_POSITION),
		.vectors_n = device->vectors_n,
		.memory_type = ivshmem_memory_type(device),
		.memory_len = device->memory_len,
	};
	strscpy(info->bdf, device->bdf, sizeof(info->bdf));
	strscpy(info->name, device->name, sizeof(info->name));
	memcpy(info->uuid, device->uuid, sizeof(info->uuid));
	return 0;
}

/* Ring a doorbell, after all earlier stores to a write-combining mapping. */
static int ivshmem_ioctl_ring(struct ivshmem_device *device, const struct ivs_ioc_ring *ring)
{
	if (ring->peer > IVS_ID_MAX || ring->vector > IVS_VECTOR_MAX)
		return -EINVAL;
	wmb();
	iowrite32(IVS_DOORBELL(ring->peer, ring->vector), device->registers + IVS_REG_DOORBELL);
	return 0;
}

static int ivshmem_ioctl_run(struct ivshmem_file *file, unsigned int command,
			     union ivshmem_ioctl_arg *arg)
{
	if (file->device->gone)
		return -ENODEV;
	if (command == IVS_IOC_DMABUF && !(file->file->f_mode & FMODE_READ))
		return -EBADF;
	if (command != IVS_IOC_INFO && !(file->file->f_mode & FMODE_WRITE))
		return -EBADF;
	switch (command) {
	case IVS_IOC_INFO:
		return ivshmem_ioctl_info(file->device, &arg->info);
	case IVS_IOC_RING:
		return ivshmem_ioctl_ring(file->device, &arg->ring);
	case IVS_IOC_EVENTFD:
		return ivshmem_vector_listen(file, arg->eventfd.vector, arg->eventfd.fd);
	default:
		return ivshmem_dmabuf_export(file, &arg->dmabuf);
	}
}

/*
 * Do not access user memory while holding @hardware: the memory may be a mapping of this device,
 * whose fault handler takes that lock.
 */
static long ivshmem_file_ioctl(struct file *filp, unsigned int command, unsigned long user)
{
	struct ivshmem_file *file = filp->private_data;
	union ivshmem_ioctl_arg arg = {};
	int result;

	if (command != IVS_IOC_INFO && command != IVS_IOC_RING && command != IVS_IOC_EVENTFD &&
	    command != IVS_IOC_DMABUF)
		return -ENOTTY;
	if (_IOC_DIR(command) & _IOC_WRITE &&
	    copy_from_user(&arg, (void __user *)user, _IOC_SIZE(command)))
		return -EFAULT;
	down_read(&file->device->hardware);
	result = ivshmem_ioctl_run(file, command, &arg);
	up_read(&file->device->hardware);
	if (!result && _IOC_DIR(command) & _IOC_READ &&
	    copy_to_user((void __user *)user, &arg, _IOC_SIZE(command)))
		return -EFAULT;
	return result;
}

const struct file_operations ivshmem_file_ops = {
	.owner = THIS_MODULE,
	.open = ivshmem_file_open,
	.release = ivshmem_file_release,
	.read = ivshmem_file_read,
	.poll = ivshmem_file_poll,
	.mmap = ivshmem_file_mmap,
	.unlocked_ioctl = ivshmem_file_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
