// SPDX-License-Identifier: GPL-2.0-only
/*
 * Struct pages of the region, which importers of dma-bufs need and device memory does not have.
 *
 * Because struct pages take 1.6 % of the region's size in guest memory, they are created only on
 * the first export, for the whole region. Because memory hotplug is expensive, they are kept until
 * the device is unbound, or, if importers use them at that time, until it is released. Memory
 * hotplug requires 2 MiB alignment.
 */
#include <linux/cc_platform.h>
#include <linux/memremap.h>
#include <linux/slab.h>

#include "compat.h"
#include "device.h"

/* Protects the list, the devices' @pages, and the calls that create and remove struct pages. */
static DEFINE_MUTEX(ivshmem_pages_lock);
static LIST_HEAD(ivshmem_with_pages);

/*
 * Return: whether an unbound device has pages in the range of @device. The driver must ask its own
 * list: get_dev_pagemap() finds one page and does not find pages that are being removed, and
 * memremap_pages() warns in both cases. Other drivers remove their pages when they are unbound.
 */
static bool ivshmem_pages_overlap(const struct ivshmem_device *device)
{
	const struct ivshmem_device *other;

	list_for_each_entry(other, &ivshmem_with_pages, pages_node) {
		if (other->memory_at < device->memory_at + device->memory_len &&
		    device->memory_at < other->memory_at + other->memory_len)
			return true;
	}
	return false;
}

static int ivshmem_pages_make(struct ivshmem_device *device)
{
	struct dev_pagemap *map;
	void *result;

	/* In an encrypted guest the kernel would map the struct pages' memory as private. */
	if (!IS_ALIGNED(device->memory_at | device->memory_len, SZ_2M) ||
	    cc_platform_has(CC_ATTR_MEM_ENCRYPT))
		return -EOPNOTSUPP;
	if (ivshmem_pages_overlap(device))
		return -EBUSY;
	map = kzalloc(sizeof(*map), GFP_KERNEL);
	if (!map)
		return -ENOMEM;
	map->type = MEMORY_DEVICE_GENERIC;
	map->nr_range = 1;
	map->range.start = device->memory_at;
	map->range.end = device->memory_at + device->memory_len - 1;
	result = memremap_pages(map, NUMA_NO_NODE);
	if (IS_ERR(result)) {
		kfree(map);
		return PTR_ERR(result);
	}
	device->pages = map;
	list_add(&device->pages_node, &ivshmem_with_pages);
	return 0;
}

/* The kernel maps memory that has struct pages as write-back, so claim the write-back type. */
int ivshmem_pages_need(struct ivshmem_device *device)
{
	int result = 0;

	mutex_lock(&ivshmem_pages_lock);
	if (!device->pages) {
		result = ivshmem_memory_claim(device, IVS_MEMORY_WB);
		if (!result) {
			result = ivshmem_pages_make(device);
			if (result)
				ivshmem_memory_unclaim(device);
		}
	}
	mutex_unlock(&ivshmem_pages_lock);
	return result;
}

/*
 * Called once the device is gone, so that no importer can map a dma-buf any more. Importers that
 * have mapped one keep the pages until the device is released. Other holders of dma-bufs must not:
 * on x86, a device that is plugged in at the same address could not be mapped uncached.
 */
void ivshmem_pages_free(struct ivshmem_device *device)
{
	mutex_lock(&ivshmem_pages_lock);
	if (device->pages && !atomic_read_acquire(&device->imports_n)) {
		list_del(&device->pages_node);
		memunmap_pages(device->pages);
		kfree(device->pages);
		device->pages = NULL;
	}
	mutex_unlock(&ivshmem_pages_lock);
}
