// SPDX-License-Identifier: GPL-2.0-only
/*
 * A range of the region as a dma-buf, so that a GPU driver or a display server can import it.
 *
 * Most importers want struct pages, which the memory of a device does not have. They are made when
 * the first dma-buf of a device is exported, because they cost 1.6 % of the region's size in the
 * guest's own memory, and stay, because making them is work for the whole guest. They come in steps
 * of 2 MiB.
 */
#include <linux/cc_platform.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/memremap.h>
#include <linux/slab.h>

#include "compat.h"
#include "device.h"

#define CHUNK SZ_1G /* an entry of a scatter list has 32 bits for its length */

/**
 * struct ivs_exported - one dma-buf
 * @file:   the open file that it came from, which keeps the device
 * @device: that file's
 * @offset: where in the region it begins
 * @len:    its bytes
 */
struct ivs_exported {
	struct file *file;
	struct ivs_pci_function *device;
	u64 offset;
	u64 len;
};

static bool has_pages(phys_addr_t at)
{
	struct dev_pagemap *map = NULL;

#ifdef CONFIG_ZONE_DEVICE
	map = get_dev_pagemap(PHYS_PFN(at), NULL);
	if (map)
		put_dev_pagemap(map);
#endif
	return map;
}

static int make_pages(struct ivs_pci_function *device)
{
	struct dev_pagemap *map;
	void *result = ERR_PTR(-EOPNOTSUPP);

	/* An encrypted guest's pages would be mapped as private. */
	if (!IS_ALIGNED(device->memory_at | device->memory_len, SZ_2M) ||
	    cc_platform_has(CC_ATTR_MEM_ENCRYPT))
		return -EOPNOTSUPP;
	if (has_pages(device->memory_at))
		return -EBUSY; /* a device that is gone was here, and its dma-bufs are still there */
	map = kzalloc(sizeof(*map), GFP_KERNEL);
	if (!map)
		return -ENOMEM;
	map->type = MEMORY_DEVICE_GENERIC;
	map->nr_range = 1;
	map->range.start = device->memory_at;
	map->range.end = device->memory_at + device->memory_len - 1;
#ifdef CONFIG_ZONE_DEVICE
	result = memremap_pages(map, NUMA_NO_NODE);
#endif
	if (IS_ERR(result))
		kfree(map);
	else
		device->pages = map;
	return PTR_ERR_OR_ZERO(result);
}

/* The kernel maps them, too: write-back. */
static int need_pages(struct ivs_pci_function *device)
{
	int result = 0;

	mutex_lock(&device->pages_lock);
	if (!device->pages) {
		result = ivs_memory_claim(device, IVS_MEMORY_WB);
		if (!result) {
			result = make_pages(device);
			if (result)
				ivs_memory_unclaim(device);
		}
	}
	mutex_unlock(&device->pages_lock);
	return result;
}

/* When the device is released: nobody has a dma-buf of it. */
void ivs_dmabuf_free_pages(struct ivs_pci_function *device)
{
#ifdef CONFIG_ZONE_DEVICE
	if (device->pages)
		memunmap_pages(device->pages);
#endif
	kfree(device->pages);
}

static int fill_table(struct sg_table *table, const struct ivs_exported *exported)
{
	unsigned long pfn = PHYS_PFN(exported->device->memory_at + exported->offset);
	u64 left = exported->len;
	struct scatterlist *sg;
	int result;
	int i;

	result = sg_alloc_table(table, DIV_ROUND_UP_ULL(left, CHUNK), GFP_KERNEL);
	if (result)
		return result;
	for_each_sgtable_sg(table, sg, i) {
		unsigned int len = min_t(u64, left, CHUNK);

		sg_set_page(sg, pfn_to_page(pfn), len, 0);
		pfn += PHYS_PFN(len);
		left -= len;
	}
	return 0;
}

/* A bounce buffer would be a copy that nobody keeps up to date. */
static bool would_bounce(struct device *importer, const struct ivs_pci_function *device)
{
	return !device_iommu_mapped(importer) &&
	       dma_get_mask(importer) < device->memory_at + device->memory_len - 1;
}

static int fill_and_map(struct sg_table *table, const struct dma_buf_attachment *attachment,
			enum dma_data_direction direction)
{
	const struct ivs_exported *exported = attachment->dmabuf->priv;
	int result;

	if (exported->device->gone)
		return -ENODEV;
	if (would_bounce(attachment->dev, exported->device))
		return -EOPNOTSUPP;
	result = fill_table(table, exported);
	if (result)
		return result;
	result = dma_map_sgtable(attachment->dev, table, direction, DMA_ATTR_SKIP_CPU_SYNC);
	if (result)
		sg_free_table(table);
	return result;
}

static struct sg_table *map(struct dma_buf_attachment *attachment, enum dma_data_direction direction)
{
	const struct ivs_exported *exported = attachment->dmabuf->priv;
	struct sg_table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	int result;

	if (!table)
		return ERR_PTR(-ENOMEM);
	down_read(&exported->device->hardware);
	result = fill_and_map(table, attachment, direction);
	up_read(&exported->device->hardware);
	if (!result)
		return table;
	kfree(table);
	return ERR_PTR(result);
}

static void unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
		  enum dma_data_direction direction)
{
	dma_unmap_sgtable(attachment->dev, table, direction, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(table);
	kfree(table);
}

static void release(struct dma_buf *buf)
{
	struct ivs_exported *exported = buf->priv;

	fput(exported->file);
	kfree(exported);
}

static int mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	const struct ivs_exported *exported = buf->priv;

	vma->vm_pgoff += PHYS_PFN(exported->offset);
	return ivs_memory_mmap(exported->device, vma, true);
}

static const struct dma_buf_ops ops = {
	.map_dma_buf = map,
	.unmap_dma_buf = unmap,
	.release = release,
	.mmap = mmap,
};

static int check(const struct ivs_file *file, const struct ivs_ioc_dmabuf *wanted)
{
	u64 len = file->device->memory_len;

	if (wanted->reserved || wanted->flags & ~O_CLOEXEC || !wanted->len ||
	    !PAGE_ALIGNED(wanted->offset) || !PAGE_ALIGNED(wanted->len) || wanted->offset >= len ||
	    wanted->len > len - wanted->offset)
		return -EINVAL;
	return 0;
}

static struct dma_buf *export(struct ivs_exported *exported)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *buf;

	info.ops = &ops;
	info.size = exported->len;
	info.flags = O_RDWR;
	info.priv = exported;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf))
		return buf;
	get_file(exported->file);
	/* So that what is mapped through it is found when the device goes. */
	buf->file->f_mapping = exported->file->f_mapping;
	return buf;
}

/* Called with hardware held for reading, and not gone. */
int ivs_dmabuf_export(struct ivs_file *file, const struct ivs_ioc_dmabuf *wanted)
{
	struct ivs_exported *exported;
	struct dma_buf *buf;
	int result = check(file, wanted);

	if (!result)
		result = need_pages(file->device);
	if (result)
		return result;
	exported = kzalloc(sizeof(*exported), GFP_KERNEL_ACCOUNT);
	if (!exported)
		return -ENOMEM;
	exported->file = file->file;
	exported->device = file->device;
	exported->offset = wanted->offset;
	exported->len = wanted->len;
	buf = export(exported);
	if (IS_ERR(buf)) {
		kfree(exported);
		return PTR_ERR(buf);
	}
	result = dma_buf_fd(buf, wanted->flags & O_CLOEXEC);
	if (result < 0)
		dma_buf_put(buf);
	return result;
}

IVS_IMPORT_DMA_BUF;
