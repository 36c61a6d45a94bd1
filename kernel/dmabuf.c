// SPDX-License-Identifier: GPL-2.0-only
/*
 * A range of the region as a dma-buf, so that a GPU driver or a display server can import it.
 *
 * Most importers want struct pages, which the memory of a device does not have. They are made when
 * the first dma-buf of a device is exported and given back with the last, because they cost 1.6 % of
 * the region's size in the guest's own memory. They come in steps of 2 MiB.
 */
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
	struct ivs_device *device;
	u64 offset;
	u64 len;
};

/* Of a device that has dma-bufs. */
struct ivs_pages {
	struct dev_pagemap map;
	unsigned int users_n;
};

static struct ivs_pages *make_pages(const struct ivs_device *device)
{
	struct ivs_pages *pages;
	void *result = ERR_PTR(-EOPNOTSUPP);

	if (!IS_ALIGNED(device->memory_at | device->memory_len, SZ_2M))
		return result;
	pages = kzalloc(sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return ERR_PTR(-ENOMEM);
	pages->map.type = MEMORY_DEVICE_GENERIC;
	pages->map.nr_range = 1;
	pages->map.range.start = device->memory_at;
	pages->map.range.end = device->memory_at + device->memory_len - 1;
#ifdef CONFIG_ZONE_DEVICE
	result = memremap_pages(&pages->map, NUMA_NO_NODE);
#endif
	if (!IS_ERR(result))
		return pages;
	kfree(pages);
	return result;
}

static int get_pages(struct ivs_device *device)
{
	struct ivs_pages *pages;

	mutex_lock(&device->pages_lock);
	pages = device->pages ?: make_pages(device);
	if (!IS_ERR(pages)) {
		device->pages = pages;
		pages->users_n++;
	}
	mutex_unlock(&device->pages_lock);
	return PTR_ERR_OR_ZERO(pages);
}

static void put_pages(struct ivs_device *device)
{
	mutex_lock(&device->pages_lock);
	if (!--device->pages->users_n) {
#ifdef CONFIG_ZONE_DEVICE
		memunmap_pages(&device->pages->map);
#endif
		kfree(device->pages);
		device->pages = NULL;
	}
	mutex_unlock(&device->pages_lock);
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

static struct sg_table *map(struct dma_buf_attachment *attachment, enum dma_data_direction direction)
{
	const struct ivs_exported *exported = attachment->dmabuf->priv;
	struct sg_table *table;
	int result;

	if (READ_ONCE(exported->device->gone))
		return ERR_PTR(-ENODEV);
	table = kzalloc(sizeof(*table), GFP_KERNEL);
	if (!table)
		return ERR_PTR(-ENOMEM);
	result = fill_table(table, exported);
	if (!result)
		result = dma_map_sgtable(attachment->dev, table, direction, DMA_ATTR_SKIP_CPU_SYNC);
	if (!result)
		return table;
	sg_free_table(table);
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

	put_pages(exported->device);
	fput(exported->file);
	kfree(exported);
}

/* As a mapping of the device's file, so that it is found when the device goes. */
static int mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	const struct ivs_exported *exported = buf->priv;
	int result;

	vma->vm_pgoff += PHYS_PFN(exported->offset);
	result = ivs_memory_mmap(exported->device, vma, exported->file->f_mode & FMODE_WRITE);
	if (!result)
		vma_set_file(vma, exported->file);
	return result;
}

static const struct dma_buf_ops ops = {
	.map_dma_buf = map,
	.unmap_dma_buf = unmap,
	.release = release,
	.mmap = mmap,
};

static int check(const struct ivs_file *file, const struct ivs_ioc_dmabuf *wanted)
{
	u32 access = wanted->flags & O_ACCMODE;
	u64 len = file->device->memory_len;

	if (wanted->reserved || wanted->flags & ~(O_CLOEXEC | O_ACCMODE) ||
	    (access != O_RDONLY && access != O_RDWR))
		return -EINVAL;
	if (!wanted->len || !PAGE_ALIGNED(wanted->offset) || !PAGE_ALIGNED(wanted->len) ||
	    wanted->offset >= len || wanted->len > len - wanted->offset)
		return -EINVAL;
	if (access == O_RDWR && !(file->file->f_mode & FMODE_WRITE))
		return -EBADF;
	return READ_ONCE(file->device->gone) ? -ENODEV : 0;
}

static struct dma_buf *export(struct ivs_file *file, const struct ivs_ioc_dmabuf *wanted)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct ivs_exported *exported = kzalloc(sizeof(*exported), GFP_KERNEL_ACCOUNT);
	struct dma_buf *buf;
	int result;

	if (!exported)
		return ERR_PTR(-ENOMEM);
	result = get_pages(file->device);
	if (result) {
		kfree(exported);
		return ERR_PTR(result);
	}
	*exported = (struct ivs_exported){
		get_file(file->file), file->device, wanted->offset, wanted->len};
	info.ops = &ops;
	info.size = exported->len;
	info.flags = wanted->flags & O_ACCMODE;
	info.priv = exported;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf)) {
		put_pages(file->device);
		fput(file->file);
		kfree(exported);
	}
	return buf;
}

int ivs_dmabuf_export(struct ivs_file *file, const struct ivs_ioc_dmabuf *wanted)
{
	struct dma_buf *buf;
	int result = check(file, wanted);

	if (result)
		return result;
	buf = export(file, wanted);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	result = dma_buf_fd(buf, wanted->flags & O_CLOEXEC);
	if (result < 0)
		dma_buf_put(buf);
	return result;
}

IVS_IMPORT_DMA_BUF;
