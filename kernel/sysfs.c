// SPDX-License-Identifier: GPL-2.0-only
/* /sys/class/ivshmem/ivshmemN/: what is known of a device, for people, scripts and udev. */
#include <linux/device.h>
#include <linux/uuid.h>

#include "device.h"

static struct ivs_pci_function *device_of(struct device *dev)
{
	return container_of(dev, struct ivs_pci_function, dev);
}

#define ATTRIBUTE(NAME, FORMAT, VALUE)                                                             \
	static ssize_t NAME##_show(struct device *dev, struct device_attribute *attr, char *out)   \
	{                                                                                          \
		const struct ivs_pci_function *device = device_of(dev);                                  \
												   \
		return sysfs_emit(out, FORMAT "\n", VALUE);                                        \
	}                                                                                          \
	static DEVICE_ATTR_RO(NAME)

/* They are removed, and nobody is within, before the function is no longer bound. */
ATTRIBUTE(name, "%s", device->name);
ATTRIBUTE(revision, "%u", device->pdev->revision);
ATTRIBUTE(size, "%llu", device->memory_len);
ATTRIBUTE(uuid, "%pUb", device->uuid);
ATTRIBUTE(vectors, "%u", device->vectors_n);

static ssize_t position_show(struct device *dev, struct device_attribute *attr, char *out)
{
	struct ivs_pci_function *device = device_of(dev);
	ssize_t result = -ENODEV;

	down_read(&device->hardware);
	if (!device->gone)
		result = sysfs_emit(out, "%d\n",
				    (s32)ioread32(device->registers + IVS_REG_IV_POSITION));
	up_read(&device->hardware);
	return result;
}
static DEVICE_ATTR_RO(position);

static ssize_t memory_type_show(struct device *dev, struct device_attribute *attr, char *out)
{
	static const char *const names[] = {
		[IVS_MEMORY_NONE] = "not mapped",
		[IVS_MEMORY_WB] = "write-back",
		[IVS_MEMORY_WC] = "write-combining",
		[IVS_MEMORY_UC] = "uncached",
	};

	return sysfs_emit(out, "%s\n", names[ivs_memory_type(device_of(dev))]);
}
static DEVICE_ATTR_RO(memory_type);

static ssize_t interrupts_show(struct device *dev, struct device_attribute *attr, char *out)
{
	struct ivs_pci_function *device = device_of(dev);
	int len = 0;
	int i;

	for (i = 0; i < device->vectors_n; i++)
		len += sysfs_emit_at(out, len, "%d %llu\n", i, ivs_vector_count(device, i));
	return len;
}
static DEVICE_ATTR_RO(interrupts);

static struct attribute *attributes[] = {
	&dev_attr_size.attr,	    &dev_attr_revision.attr,   &dev_attr_position.attr,
	&dev_attr_vectors.attr,	    &dev_attr_memory_type.attr, &dev_attr_interrupts.attr,
	&dev_attr_name.attr,	    &dev_attr_uuid.attr,	NULL,
};

/* A device without a name has no such files. */
static umode_t is_visible(struct kobject *kobj, struct attribute *attr, int index)
{
	const struct ivs_pci_function *device = device_of(kobj_to_dev(kobj));

	if (attr == &dev_attr_name.attr && !*device->name)
		return 0;
	if (attr == &dev_attr_uuid.attr && !memchr_inv(device->uuid, 0, sizeof(device->uuid)))
		return 0;
	return attr->mode;
}

static const struct attribute_group group = {
	.attrs = attributes,
	.is_visible = is_visible,
};

const struct attribute_group *ivs_attribute_groups[] = {&group, NULL};
