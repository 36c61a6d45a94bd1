// SPDX-License-Identifier: GPL-2.0-only
/*
 * Struct pages of the region, which importers of dma-bufs need and device memory does not have.
 *
 * Because struct pages take 1.6 % of the region's size in guest memory, they are created only on
 * the first export, for the whole region. Because memory hotplug is expensive, they are kept until
 * the device is unbound, or, if importers are still using them at that time, until it is released.
 * Memory hotplug requires 2 MiB alignment.
 *
 * Any user of the device can have them created, so they must not use up the guest's memory: if
 * memory runs out, memremap_pages() fails without giving back what it has added, and the kernel may
 * find no process to kill and then panic. So the cost is computed before the first attempt, and a
 * failed attempt is not repeated.
 */
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/ratelimit.h>
#include <linux/slab.h>

#include "compat.h"
#include "device.h"

#define SPARED_MIN SZ_32M

/* Protects the list, the devices' @pages, and the calls that create and remove struct pages. */
static DEFINE_MUTEX(ivshmem_pages_lock);
static LIST_HEAD(ivshmem_with_pages);

/*
 * Return: whether an unbound device has pages in the range of @device. The driver must check its
 * own list: get_dev_pagemap() looks up only one page and misses pages that are being removed, and
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

/*
 * Return: bytes of guest memory that the struct pages of @device take, including the page tables
 * for the kernel's mapping of the region. Memory is added in whole sections.
 */
static s64 ivshmem_pages_cost(const struct ivshmem_device *device)
{
	u64 pages_n = round_up(device->memory_len >> PAGE_SHIFT, (u64)PAGES_PER_SECTION);

	return pages_n * (sizeof(struct page) + sizeof(pte_t));
}

/*
 * Return: bytes of memory that are free, or used by files that can be dropped. Struct pages cannot
 * be in ZONE_MOVABLE or in CMA areas, which si_mem_available() also counts.
 */
static s64 ivshmem_pages_available(void)
{
	s64 pages_n = 0;
	int node;
	int i;

	for_each_online_node(node) {
		for (i = 0; i <= ZONE_NORMAL; i++) {
			struct zone *zone = &NODE_DATA(node)->node_zones[i];

			pages_n += zone_page_state(zone, NR_FREE_PAGES) +
				   zone_page_state(zone, NR_ZONE_INACTIVE_FILE) / 2;
			pages_n -= zone_page_state(zone, NR_FREE_CMA_PAGES);
		}
	}
	return min_t(s64, pages_n, si_mem_available()) << PAGE_SHIFT;
}

/*
 * Return: how many bytes are missing for the struct pages of @device; 0 or less if none are
 * missing. A sixteenth of the guest's memory, and at least SPARED_MIN, must remain available. The
 * struct pages of all devices take at most a quarter of the guest's memory.
 */
static s64 ivshmem_pages_missing(const struct ivshmem_device *device)
{
	s64 total = (s64)totalram_pages() << PAGE_SHIFT;
	s64 available = ivshmem_pages_available() - max_t(s64, total / 16, SPARED_MIN);
	s64 share = total / 4;
	const struct ivshmem_device *other;

	list_for_each_entry(other, &ivshmem_with_pages, pages_node)
		share -= ivshmem_pages_cost(other);
	return ivshmem_pages_cost(device) - min(available, share);
}

static bool ivshmem_pages_are_affordable(const struct ivshmem_device *device)
{
	static DEFINE_RATELIMIT_STATE(limit, 60 * HZ, 1);
	s64 missing = ivshmem_pages_missing(device);

	if (missing > 0 && __ratelimit(&limit))
		dev_warn(&device->dev,
			 "cannot export a dma-buf: the region's struct pages take %lld KiB, "
			 "%lld KiB more than this guest can spare; give the guest more memory\n",
			 ivshmem_pages_cost(device) >> 10, missing >> 10);
	return missing <= 0;
}

/*
 * Create the struct pages. A failure is remembered: the attempt may have left struct pages behind.
 * Another attempt could leave more, and would write to the log again.
 */
static struct dev_pagemap *ivshmem_pages_remap(struct ivshmem_device *device)
{
	struct dev_pagemap *map = kzalloc(sizeof(*map), GFP_KERNEL);
	void *result;

	if (!map)
		return ERR_PTR(-ENOMEM);
	map->type = MEMORY_DEVICE_GENERIC;
	map->nr_range = 1;
	map->range.start = device->memory_at;
	map->range.end = device->memory_at + device->memory_len - 1;
	result = memremap_pages(map, NUMA_NO_NODE);
	if (!IS_ERR(result))
		return map;
	kfree(map);
	dev_err(&device->dev, "cannot export dma-bufs: no struct pages for %pR (%pe)\n",
		&device->pdev->resource[IVS_BAR_MEMORY], result);
	device->pages_error = -EOPNOTSUPP;
	/* EEXIST: an attempt that failed before the device was rebound has left pages behind. */
	if (PTR_ERR(result) == -ENOMEM || PTR_ERR(result) == -EEXIST)
		device->pages_error = -ENOMEM;
	return ERR_PTR(device->pages_error);
}

static int ivshmem_pages_make(struct ivshmem_device *device)
{
	struct dev_pagemap *map;

	/* In an encrypted guest the kernel would map the struct pages' memory as private. */
	if (!IS_ALIGNED(device->memory_at | device->memory_len, SZ_2M) ||
	    ivshmem_guest_is_encrypted())
		return -EOPNOTSUPP;
	if (ivshmem_pages_overlap(device))
		return -EBUSY;
	if (!ivshmem_pages_are_affordable(device))
		return -ENOMEM;
	map = ivshmem_pages_remap(device);
	if (IS_ERR(map))
		return PTR_ERR(map);
	device->pages = map;
	list_add(&device->pages_node, &ivshmem_with_pages);
	return 0;
}

/* The kernel maps memory that has struct pages as write-back, so claim the write-back type. */
int ivshmem_pages_need(struct ivshmem_device *device)
{
	int result;

	mutex_lock(&ivshmem_pages_lock);
	result = device->pages_error;
	if (!device->pages && !result) {
		result = ivshmem_memory_claim(device, IVS_MEMORY_WB);
		if (!result) {
			result = ivshmem_pages_make(device);
			if (result && !device->pages_error)
				ivshmem_memory_unclaim(device);
		}
	}
	mutex_unlock(&ivshmem_pages_lock);
	return result;
}

/*
 * Called once the device is gone, so that no importer can map a dma-buf any more. Importers that
 * have mapped one keep the pages until the device is released. A dma-buf that is merely open must
 * not keep them: on x86, a device that is plugged in at the same address could then not be mapped
 * uncached.
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
