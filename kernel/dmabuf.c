// SPDX-License-Identifier: GPL-2.0-only
/*
 * A range of the region as a dma-buf, so that a GPU driver or a display server can import it.
 *
 * Importers may want struct pages, which the memory of a device does not have. They are made when the
 * first dma-buf of a device is exported and given back with the last, because they cost 1.6 % of the
 * region's size in the guest's memory. Where they cannot be made (they come in steps of 2 MiB), only
 * importers that do without may attach.
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

/* Of a device that has dma-bufs. Under files_lock, which is held as long as making them takes. */
struct ivs_pages {
	struct dev_pagemap map;
	unsigned int users_n;
	bool usable;
};

static int get_pages(struct ivs_device *device)
{
	struct ivs_pages *pages = device->pages;

	if (!pages) {
		pages = kzalloc(sizeof(*pages), GFP_KERNEL);
		if (!pages)
			return -ENOMEM;
		pages->map.type = MEMORY_DEVICE_GENERIC;
		pages->map.nr_range = 1;
		pages->map.range.start = device->memory_at;
		pages->map.range.end = device->memory_at + device->memory_len - 1;
		if (IS_ALIGNED(device->memory_at | device->memory_len, SZ_2M))
			pages->usable = !IS_ERR(memremap_pages(&pages->map, NUMA_NO_NODE));
		device->pages = pages;
	}
	pages->users_n++;
	return 0;
}

static void put_pages(struct ivs_device *device)
{
	struct ivs_pages *pages = device->pages;

	if (--pages->users_n)
		return;
	if (pages->usable)
		memunmap_pages(&pages->map);
	kfree(pages);
	device->pages = NULL;
}

static int attach(struct dma_buf *buf, struct dma_buf_attachment *attachment)
{
	const struct ivs_exported *exported = buf->priv;

	if (READ_ONCE(exported->device->gone))
		return -ENODEV;
	return exported->device->pages->usable || attachment->peer2peer ? 0 : -EOPNOTSUPP;
}

static void fill_table(const struct ivs_exported *exported, struct sg_table *table, dma_addr_t at)
{
	bool usable = exported->device->pages->usable;
	unsigned long pfn = PHYS_PFN(exported->device->memory_at + exported->offset);
	u64 done = 0;
	struct scatterlist *sg;
	int i;

	for_each_sgtable_sg(table, sg, i) {
		unsigned int len = min_t(u64, exported->len - done, CHUNK);

		sg_set_page(sg, usable ? pfn_to_page(pfn + PHYS_PFN(done)) : NULL, len, 0);
		sg_dma_address(sg) = at + done;
		sg_dma_len(sg) = len;
		done += len;
	}
}

static int map_table(const struct ivs_exported *exported, struct device *importer,
		     struct sg_table *table, enum dma_data_direction direction)
{
	dma_addr_t at;

	if (exported->device->pages->usable) {
		fill_table(exported, table, 0);
		return dma_map_sgtable(importer, table, direction, DMA_ATTR_SKIP_CPU_SYNC);
	}
	at = dma_map_resource(importer, exported->device->memory_at + exported->offset,
			      exported->len, direction, DMA_ATTR_SKIP_CPU_SYNC);
	if (dma_mapping_error(importer, at))
		return -EIO;
	fill_table(exported, table, at);
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
	result = sg_alloc_table(table, DIV_ROUND_UP_ULL(exported->len, CHUNK), GFP_KERNEL);
	if (result) {
		kfree(table);
		return ERR_PTR(result);
	}
	result = map_table(exported, attachment->dev, table, direction);
	if (result) {
		sg_free_table(table);
		kfree(table);
		return ERR_PTR(result);
	}
	return table;
}

static void unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
		  enum dma_data_direction direction)
{
	const struct ivs_exported *exported = attachment->dmabuf->priv;

	if (exported->device->pages->usable)
		dma_unmap_sgtable(attachment->dev, table, direction, DMA_ATTR_SKIP_CPU_SYNC);
	else
		dma_unmap_resource(attachment->dev, sg_dma_address(table->sgl), exported->len,
				   direction, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(table);
	kfree(table);
}

static void release(struct dma_buf *buf)
{
	struct ivs_exported *exported = buf->priv;

	mutex_lock(&exported->device->files_lock);
	put_pages(exported->device);
	mutex_unlock(&exported->device->files_lock);
	fput(exported->file);
	kfree(exported);
}

/* As a mapping of the device's file, so that it is found when the device goes. */
static int mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	struct ivs_exported *exported = buf->priv;
	struct ivs_device *device = exported->device;
	int result = -ENODEV;

	vma->vm_pgoff += PHYS_PFN(exported->offset);
	down_read(&device->hardware);
	if (!device->gone)
		result = ivs_memory_mmap(device, vma, exported->file->f_mode & FMODE_WRITE);
	up_read(&device->hardware);
	if (!result)
		vma_set_file(vma, exported->file);
	return result;
}

static const struct dma_buf_ops ops = {
	.attach = attach,
	.map_dma_buf = map,
	.unmap_dma_buf = unmap,
	.release = release,
	.mmap = mmap,
};

static struct dma_buf *export(struct ivs_exported *exported, u32 flags)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *buf;
	int result;

	mutex_lock(&exported->device->files_lock);
	result = get_pages(exported->device);
	mutex_unlock(&exported->device->files_lock);
	if (result)
		return ERR_PTR(result);
	info.ops = &ops;
	info.size = exported->len;
	info.flags = flags & O_ACCMODE;
	info.priv = exported;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf)) {
		mutex_lock(&exported->device->files_lock);
		put_pages(exported->device);
		mutex_unlock(&exported->device->files_lock);
		return buf;
	}
	get_file(exported->file);
	return buf;
}

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

int ivs_dmabuf_export(struct ivs_file *file, const struct ivs_ioc_dmabuf *wanted)
{
	struct ivs_exported *exported;
	struct dma_buf *buf;
	int result = check(file, wanted);

	if (result)
		return result;
	exported = kzalloc(sizeof(*exported), GFP_KERNEL_ACCOUNT);
	if (!exported)
		return -ENOMEM;
	exported->file = file->file;
	exported->device = file->device;
	exported->offset = wanted->offset;
	exported->len = wanted->len;
	buf = export(exported, wanted->flags);
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
