// SPDX-License-Identifier: GPL-2.0-only
/*
 * Export a range of the region as a dma-buf, for GPU drivers and display servers to import.
 *
 * Most importers need struct pages, which pages.c creates on the first export.
 */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/slab.h>

#include "compat.h"
#include "device.h"

#define SEGMENT_LEN SZ_1G /* a scatterlist entry has a 32-bit length */

/**
 * struct ivshmem_dmabuf - one exported dma-buf
 * @file:   open file from which the dma-buf was exported; the reference keeps @device alive
 * @device: device of @file
 * @offset: byte offset of the exported range in the region
 * @len:    length of the exported range in bytes
 */
struct ivshmem_dmabuf {
	struct file *file;
	struct ivshmem_device *device;
	u64 offset;
	u64 len;
};

static int ivshmem_dmabuf_fill_table(struct sg_table *table, const struct ivshmem_dmabuf *dmabuf)
{
	unsigned long pfn = PHYS_PFN(dmabuf->device->memory_at + dmabuf->offset);
	u64 left = dmabuf->len;
	struct scatterlist *sg;
	int result;
	int i;

	result = sg_alloc_table(table, DIV_ROUND_UP_ULL(left, SEGMENT_LEN), GFP_KERNEL);
	if (result)
		return result;
	for_each_sgtable_sg(table, sg, i) {
		unsigned int len = min_t(u64, left, SEGMENT_LEN);

		sg_set_page(sg, pfn_to_page(pfn), len, 0);
		pfn += PHYS_PFN(len);
		left -= len;
	}
	return 0;
}

/* Return: whether an IOMMU translates the importer's DMA addresses (false with iommu=pt) */
static bool ivshmem_dmabuf_is_translated(struct device *importer)
{
#ifdef CONFIG_IOMMU_API
	const struct iommu_domain *domain = iommu_get_domain_for_dev(importer);

	return domain && domain->type != IOMMU_DOMAIN_IDENTITY;
#else
	return false;
#endif
}

/* Return: whether DMA would use a bounce buffer, whose copy is never synced with the region. */
static bool ivshmem_dmabuf_bounces(struct device *importer, const struct ivshmem_device *device)
{
	u64 mask = min_not_zero(dma_get_mask(importer), importer->bus_dma_limit);
	bool is_translated = ivshmem_dmabuf_is_translated(importer);

	return ivshmem_swiotlb_is_forced(importer, pfn_to_page(PHYS_PFN(device->memory_at)),
					 is_translated) ||
	       (!is_translated && mask < device->memory_at + device->memory_len - 1);
}

static int ivshmem_dmabuf_map_table(struct sg_table *table,
				    const struct dma_buf_attachment *attachment,
				    enum dma_data_direction direction)
{
	const struct ivshmem_dmabuf *dmabuf = attachment->dmabuf->priv;
	int result;

	if (dmabuf->device->gone)
		return -ENODEV;
	if (ivshmem_dmabuf_bounces(attachment->dev, dmabuf->device))
		return -EOPNOTSUPP;
	result = ivshmem_dmabuf_fill_table(table, dmabuf);
	if (result)
		return result;
	result = dma_map_sgtable(attachment->dev, table, direction, DMA_ATTR_SKIP_CPU_SYNC);
	if (result)
		sg_free_table(table);
	else
		atomic_inc(&dmabuf->device->imports_n);
	return result;
}

static struct sg_table *ivshmem_dmabuf_map(struct dma_buf_attachment *attachment,
					   enum dma_data_direction direction)
{
	const struct ivshmem_dmabuf *dmabuf = attachment->dmabuf->priv;
	struct sg_table *table = kzalloc(sizeof(*table), GFP_KERNEL);
	int result;

	if (!table)
		return ERR_PTR(-ENOMEM);
	down_read(&dmabuf->device->hardware);
	result = ivshmem_dmabuf_map_table(table, attachment, direction);
	up_read(&dmabuf->device->hardware);
	if (!result)
		return table;
	kfree(table);
	return ERR_PTR(result);
}

static void ivshmem_dmabuf_unmap(struct dma_buf_attachment *attachment, struct sg_table *table,
				 enum dma_data_direction direction)
{
	const struct ivshmem_dmabuf *dmabuf = attachment->dmabuf->priv;

	dma_unmap_sgtable(attachment->dev, table, direction, DMA_ATTR_SKIP_CPU_SYNC);
	sg_free_table(table);
	kfree(table);
	atomic_dec_return_release(&dmabuf->device->imports_n);
}

static void ivshmem_dmabuf_release(struct dma_buf *buf)
{
	struct ivshmem_dmabuf *dmabuf = buf->priv;

	atomic_dec(&dmabuf->device->dmabufs_n);
	fput(dmabuf->file); /* this may release the device */
	kfree(dmabuf);
}

static int ivshmem_dmabuf_mmap(struct dma_buf *buf, struct vm_area_struct *vma)
{
	const struct ivshmem_dmabuf *dmabuf = buf->priv;

	vma->vm_pgoff += PHYS_PFN(dmabuf->offset);
	return ivshmem_memory_mmap(dmabuf->device, vma, true);
}

static const struct dma_buf_ops ivshmem_dmabuf_ops = {
	.map_dma_buf = ivshmem_dmabuf_map,
	.unmap_dma_buf = ivshmem_dmabuf_unmap,
	.release = ivshmem_dmabuf_release,
	.mmap = ivshmem_dmabuf_mmap,
};

static int ivshmem_dmabuf_check(const struct ivshmem_file *file, const struct ivs_ioc_dmabuf *arg)
{
	u64 len = file->device->memory_len;

	if (arg->reserved || arg->flags & ~O_CLOEXEC || !arg->len || !PAGE_ALIGNED(arg->offset) ||
	    !PAGE_ALIGNED(arg->len) || arg->offset >= len || arg->len > len - arg->offset)
		return -EINVAL;
	return 0;
}

static struct dma_buf *ivshmem_dmabuf_new(const struct ivshmem_file *file,
					  const struct ivs_ioc_dmabuf *arg)
{
	struct ivshmem_dmabuf *dmabuf = kzalloc(sizeof(*dmabuf), GFP_KERNEL_ACCOUNT);
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *buf;

	if (!dmabuf)
		return ERR_PTR(-ENOMEM);
	dmabuf->file = file->file;
	dmabuf->device = file->device;
	dmabuf->offset = arg->offset;
	dmabuf->len = arg->len;
	info.ops = &ivshmem_dmabuf_ops;
	info.size = dmabuf->len;
	info.flags = O_RDWR;
	info.priv = dmabuf;
	buf = dma_buf_export(&info);
	if (IS_ERR(buf)) {
		kfree(dmabuf);
		return buf;
	}
	get_file(dmabuf->file);
	/* Let ivshmem_files_unmap() find mappings of the dma-buf. */
	buf->file->f_mapping = dmabuf->file->f_mapping;
	return buf;
}

/* Called with the device's @hardware held for reading, and after checking its @gone. */
int ivshmem_dmabuf_export(struct ivshmem_file *file, const struct ivs_ioc_dmabuf *arg)
{
	struct dma_buf *buf;
	int result = ivshmem_dmabuf_check(file, arg);

	if (!result)
		result = ivshmem_pages_need(file->device);
	if (result)
		return result;
	if (!atomic_add_unless(&file->device->dmabufs_n, 1, IVS_DRIVER_DMABUFS_MAX))
		return -EMFILE;
	buf = ivshmem_dmabuf_new(file, arg);
	if (IS_ERR(buf)) {
		atomic_dec(&file->device->dmabufs_n);
		return PTR_ERR(buf);
	}
	result = dma_buf_fd(buf, arg->flags & O_CLOEXEC);
	if (result < 0)
		dma_buf_put(buf);
	return result;
}

IVSHMEM_IMPORT_DMA_BUF;
