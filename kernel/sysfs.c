// SPDX-License-Identifier: GPL-2.0-only
/* Attributes in /sys/class/ivshmem/ivshmemN/, for administrators, scripts and udev. */
#include <linux/device.h>
#include <linux/uuid.h>

#include "compat.h"
#include "device.h"

static struct ivshmem_device *ivshmem_device_of(struct device *dev)
{
	return container_of(dev, struct ivshmem_device, dev);
}

#define IVSHMEM_ATTR(NAME) static DEVICE_ATTR(NAME, 0444, ivshmem_##NAME##_show, NULL)

#define IVSHMEM_VALUE_ATTR(NAME, FORMAT, VALUE)                                                    \
	static ssize_t ivshmem_##NAME##_show(struct device *dev, struct device_attribute *attr,    \
					     char *out)                                            \
	{                                                                                          \
		const struct ivshmem_device *device = ivshmem_device_of(dev);                      \
												   \
		return sysfs_emit(out, FORMAT "\n", VALUE);                                        \
	}                                                                                          \
	IVSHMEM_ATTR(NAME)

/*
 * Attributes may access pdev: unbind removes them, and waits for their readers, before it sets
 * device->gone.
 */
IVSHMEM_VALUE_ATTR(name, "%s", device->name);
IVSHMEM_VALUE_ATTR(revision, "%u", device->pdev->revision);
IVSHMEM_VALUE_ATTR(size, "%llu", device->memory_len);
IVSHMEM_VALUE_ATTR(uuid, "%pUb", device->uuid);
IVSHMEM_VALUE_ATTR(vectors, "%u", device->vectors_n);

static ssize_t ivshmem_position_show(struct device *dev, struct device_attribute *attr, char *out)
{
	struct ivshmem_device *device = ivshmem_device_of(dev);
	ssize_t result = -ENODEV;

	down_read(&device->hardware);
	if (!device->gone)
		result = sysfs_emit(out, "%d\n",
				    (s32)ioread32(device->registers + IVS_REG_IV_POSITION));
	up_read(&device->hardware);
	return result;
}
IVSHMEM_ATTR(position);

static ssize_t ivshmem_memory_type_show(struct device *dev, struct device_attribute *attr,
					char *out)
{
	static const char *const names[] = {
		[IVS_MEMORY_NONE] = "not mapped",
		[IVS_MEMORY_WB] = "write-back",
		[IVS_MEMORY_WC] = "write-combining",
		[IVS_MEMORY_UC] = "uncached",
	};

	return sysfs_emit(out, "%s\n", names[ivshmem_memory_type(ivshmem_device_of(dev))]);
}
IVSHMEM_ATTR(memory_type);

static ssize_t ivshmem_interrupts_show(struct device *dev, struct device_attribute *attr, char *out)
{
	struct ivshmem_device *device = ivshmem_device_of(dev);
	int len = 0;
	int i;

	for (i = 0; i < device->vectors_n; i++)
		len += sysfs_emit_at(out, len, "%d %llu\n", i, ivshmem_vector_count(device, i));
	return len;
}
IVSHMEM_ATTR(interrupts);

static struct attribute *ivshmem_attributes[] = {
	&dev_attr_size.attr,	&dev_attr_revision.attr,    &dev_attr_position.attr,
	&dev_attr_vectors.attr, &dev_attr_memory_type.attr, &dev_attr_interrupts.attr,
	&dev_attr_name.attr,	&dev_attr_uuid.attr,	    NULL,
};

/* Name and UUID are optional (PROTOCOL.md, R-9); hide the attribute if the device has none. */
static umode_t ivshmem_attribute_is_visible(struct kobject *kobj, struct attribute *attr, int index)
{
	const struct ivshmem_device *device = ivshmem_device_of(kobj_to_dev(kobj));

	if (attr == &dev_attr_name.attr && !*device->name)
		return 0;
	if (attr == &dev_attr_uuid.attr && !memchr_inv(device->uuid, 0, sizeof(device->uuid)))
		return 0;
	return attr->mode;
}

static const struct attribute_group ivshmem_group = {
	.attrs = ivshmem_attributes,
	.is_visible = ivshmem_attribute_is_visible,
};

const struct attribute_group *ivshmem_groups[] = {&ivshmem_group, NULL};

static int ivshmem_path_mmap(struct file *filp, struct kobject *kobj, IVSHMEM_BIN_ATTRIBUTE *attr,
			     struct vm_area_struct *vma)
{
	return ivshmem_file_mmap_attribute(ivshmem_device_of(kobj_to_dev(kobj)), filp, vma);
}

void ivshmem_sysfs_init(struct ivshmem_device *device)
{
	sysfs_bin_attr_init(&device->path);
	device->path.attr.name = "memory";
	device->path.attr.mode = 0600;
	device->path.size = min_t(u64, device->memory_len, SIZE_MAX);
	device->path.mmap = ivshmem_path_mmap;
	device->paths[0] = &device->path;
	device->path_group.bin_attrs = (void *)device->paths; /* this member is const since 6.17 */
	device->path_groups[0] = &device->path_group;
	device->dev.groups = device->path_groups;
}
