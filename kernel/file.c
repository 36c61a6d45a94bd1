// SPDX-License-Identifier: GPL-2.0-only
/* What can be done with an open /dev/ivshmemN: see ivshmem/driver.h. */
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/poll.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "compat.h"
#include "device.h"

static bool is_gone(struct ivs_pci_function *device)
{
	return READ_ONCE(device->gone);
}

static int add_file(struct ivs_pci_function *device, struct ivs_file *file)
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

static int open(struct inode *inode, struct file *filp)
{
	struct ivs_pci_function *device = container_of(inode->i_cdev, struct ivs_pci_function, cdev);
	struct ivs_file *file;
	unsigned int i;
	int result;

	if (is_gone(device)) /* a device node that mknod(1) made finds it all the same */
		return -ENODEV;
	file = kzalloc(struct_size(file, seats, device->vectors_n), GFP_KERNEL_ACCOUNT);
	if (!file)
		return -ENOMEM;
	mutex_init(&file->read_lock);
	for (i = 0; i < device->vectors_n; i++)
		file->seats[i].seen = ivs_vector_count(device, i);
	file->device = device;
	file->file = filp;
	result = add_file(device, file);
	if (result) {
		kfree(file);
		return result;
	}
	get_device(&device->dev);
	filp->private_data = file;
	return stream_open(inode, filp);
}

static int release(struct inode *inode, struct file *filp)
{
	struct ivs_file *file = filp->private_data;
	struct ivs_pci_function *device = file->device;
	unsigned int i;

	for (i = 0; i < device->vectors_n; i++)
		ivs_vector_listen(file, i, -1);
	mutex_lock(&device->files_lock);
	list_del(&file->node);
	device->files_n--;
	mutex_unlock(&device->files_lock);
	kfree(file);
	put_device(&device->dev);
	return 0;
}

/* By way of the files, because device nodes made by mknod(1) have page tables' lists of their own. */
void ivs_files_unmap(struct ivs_pci_function *device)
{
	struct address_space *last = NULL;
	struct ivs_file *file;

	mutex_lock(&device->files_lock);
	list_for_each_entry(file, &device->files, node) {
		if (file->file->f_mapping != last)
			unmap_mapping_range(file->file->f_mapping, 0, 0, 1);
		last = file->file->f_mapping;
	}
	mutex_unlock(&device->files_lock);
}

/* The next vector with something to tell, or vectors_n. */
static unsigned int find_rung(const struct ivs_file *file)
{
	unsigned int n = file->device->vectors_n;
	unsigned int i;

	for (i = 0; i < n; i++) {
		unsigned int vector = (READ_ONCE(file->next) + i) % n;

		if (ivs_vector_count(file->device, vector) != READ_ONCE(file->seats[vector].seen))
			return vector;
	}
	return n;
}

static bool has_something(const struct ivs_file *file)
{
	return READ_ONCE(file->text_len) || find_rung(file) < file->device->vectors_n;
}

/* The line that is being read, or the next one. Return: bytes, 0 if there is nothing. */
static ssize_t take_text(struct ivs_file *file, char __user *out, size_t out_len)
{
	unsigned int vector = find_rung(file);
	u64 count;

	if (!file->text_len && vector < file->device->vectors_n) {
		count = ivs_vector_count(file->device, vector);
		WRITE_ONCE(file->seats[vector].seen, count);
		WRITE_ONCE(file->next, vector + 1);
		WRITE_ONCE(file->text_len, scnprintf(file->text, sizeof(file->text), "%u %llu\n",
						     vector, count));
	}
	out_len = min_t(size_t, out_len, file->text_len);
	if (copy_to_user(out, file->text, out_len))
		return -EFAULT;
	memmove(file->text, file->text + out_len, file->text_len - out_len);
	WRITE_ONCE(file->text_len, file->text_len - out_len);
	return out_len;
}

static ssize_t read(struct file *filp, char __user *out, size_t out_len, loff_t *pos)
{
	struct ivs_file *file = filp->private_data;
	struct ivs_pci_function *device = file->device;
	ssize_t result;

	while (out_len) {
		if (is_gone(device))
			return -ENODEV;
		result = mutex_lock_interruptible(&file->read_lock);
		if (result)
			return result;
		result = take_text(file, out, out_len);
		mutex_unlock(&file->read_lock);
		if (result)
			return result;
		if (filp->f_flags & O_NONBLOCK)
			return -EAGAIN;
		result = wait_event_interruptible(device->rung,
						  is_gone(device) || has_something(file));
		if (result)
			return result;
	}
	return 0;
}

static __poll_t poll(struct file *filp, struct poll_table_struct *table)
{
	struct ivs_file *file = filp->private_data;

	poll_wait(filp, &file->device->rung, table);
	if (is_gone(file->device))
		return EPOLLERR | EPOLLHUP;
	return has_something(file) ? EPOLLIN | EPOLLRDNORM : 0;
}

static int mmap(struct file *filp, struct vm_area_struct *vma)
{
	struct ivs_file *file = filp->private_data;

	return ivs_memory_mmap(file->device, vma, filp->f_mode & FMODE_WRITE);
}

/* What a command takes or gives. */
union argument {
	struct ivs_ioc_info info;
	struct ivs_ioc_eventfd eventfd;
	struct ivs_ioc_ring ring;
	struct ivs_ioc_dmabuf dmabuf;
};

static int get_info(struct ivs_pci_function *device, struct ivs_ioc_info *info)
{
	*info = (struct ivs_ioc_info){
		.version = IVS_DRIVER_VERSION,
		.flags = (device->intx ? IVS_INFO_INTX : 0) |
			 (device->mappable ? IVS_INFO_REGISTERS : 0) |
			 (device->doorbell ? IVS_INFO_DOORBELL : 0),
		.revision = device->pdev->revision,
		.position = ioread32(device->registers + IVS_REG_IV_POSITION),
		.vectors_n = device->vectors_n,
		.memory_type = ivs_memory_type(device),
		.memory_len = device->memory_len,
	};
	strscpy(info->bdf, device->bdf, sizeof(info->bdf));
	strscpy(info->name, device->name, sizeof(info->name));
	memcpy(info->uuid, device->uuid, sizeof(info->uuid));
	return 0;
}

/* A write-combining mapping's stores must be there before the doorbell is. */
static int ring(struct ivs_pci_function *device, const struct ivs_ioc_ring *ring)
{
	if (ring->peer > IVS_ID_MAX || ring->vector > IVS_VECTOR_MAX)
		return -EINVAL;
	wmb();
	iowrite32(IVS_DOORBELL(ring->peer, ring->vector), device->registers + IVS_REG_DOORBELL);
	return 0;
}

static int run(struct ivs_file *file, unsigned int command, union argument *arg)
{
	if (file->device->gone)
		return -ENODEV;
	if (command != IVS_IOC_INFO && !(file->file->f_mode & FMODE_WRITE))
		return -EBADF;
	switch (command) {
	case IVS_IOC_INFO:
		return get_info(file->device, &arg->info);
	case IVS_IOC_RING:
		return ring(file->device, &arg->ring);
	case IVS_IOC_EVENTFD:
		return ivs_vector_listen(file, arg->eventfd.vector, arg->eventfd.fd);
	default:
		return ivs_dmabuf_export(file, &arg->dmabuf);
	}
}

/* No user memory is touched while hardware is held: it may be ours, and fault. */
static long ioctl(struct file *filp, unsigned int command, unsigned long user)
{
	struct ivs_file *file = filp->private_data;
	union argument arg = {};
	int result;

	if (command != IVS_IOC_INFO && command != IVS_IOC_RING && command != IVS_IOC_EVENTFD &&
	    command != IVS_IOC_DMABUF)
		return -ENOTTY;
	if (_IOC_DIR(command) & _IOC_WRITE &&
	    copy_from_user(&arg, (void __user *)user, _IOC_SIZE(command)))
		return -EFAULT;
	down_read(&file->device->hardware);
	result = run(file, command, &arg);
	up_read(&file->device->hardware);
	if (!result && _IOC_DIR(command) & _IOC_READ &&
	    copy_to_user((void __user *)user, &arg, _IOC_SIZE(command)))
		return -EFAULT;
	return result;
}

const struct file_operations ivs_file_ops = {
	.owner = THIS_MODULE,
	.open = open,
	.release = release,
	.read = read,
	.poll = poll,
	.mmap = mmap,
	.unlocked_ioctl = ioctl,
	.compat_ioctl = compat_ptr_ioctl,
};
