/* SPDX-License-Identifier: GPL-2.0-only */
/* Differences between the supported kernels (5.10 and later). */
#ifndef IVSHMEM_COMPAT_H
#define IVSHMEM_COMPAT_H

#include <linux/version.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 10, 0)
#error ivshmem needs Linux 5.10 or later; on older kernels, libivshmem uses vfio-pci or sysfs
#endif

#include <linux/dma-direct.h>
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pm.h>
#include <linux/swiotlb.h>
#include <linux/sysfs.h>

#ifdef IVSHMEM_HAVE_CC_PLATFORM /* defined by Kbuild */
#include <linux/cc_platform.h>

static inline bool ivshmem_guest_is_encrypted(void)
{
	return cc_platform_has(CC_ATTR_MEM_ENCRYPT);
}
#else /* kernels before 5.16, unless it was backported to a stable kernel */
#include <linux/mem_encrypt.h>

static inline bool ivshmem_guest_is_encrypted(void)
{
	return mem_encrypt_active();
}
#endif

/*
 * Return: whether DMA of @dev to @page uses a bounce buffer even if @dev can address the page
 * (swiotlb=force). Kernels before 5.15 do not export this to modules, so map the page and compare
 * the addresses. The comparison says nothing if an IOMMU translates the addresses (@is_translated).
 */
static inline bool ivshmem_swiotlb_is_forced(struct device *dev, struct page *page,
					     bool is_translated)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 15, 0)
	dma_addr_t at;

	if (is_translated)
		return false;
	at = dma_map_page_attrs(dev, page, 0, PAGE_SIZE, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	if (dma_mapping_error(dev, at))
		return true;
	dma_unmap_page_attrs(dev, at, PAGE_SIZE, DMA_BIDIRECTIONAL, DMA_ATTR_SKIP_CPU_SYNC);
	return at != phys_to_dma(dev, page_to_phys(page));
#else
	return is_swiotlb_force_bounce(dev);
#endif
}

#ifndef DEFINE_SIMPLE_DEV_PM_OPS /* before 5.17 */
#define DEFINE_SIMPLE_DEV_PM_OPS(NAME, SUSPEND, RESUME)                                            \
	const struct dev_pm_ops NAME = {SET_SYSTEM_SLEEP_PM_OPS(SUSPEND, RESUME)}
#endif

#ifndef pm_sleep_ptr /* before 5.17 */
#define pm_sleep_ptr(OPS) (IS_ENABLED(CONFIG_PM_SLEEP) ? (OPS) : NULL)
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 3, 0)
static inline void vm_flags_set(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags |= flags;
}

static inline void vm_flags_clear(struct vm_area_struct *vma, vm_flags_t flags)
{
	vma->vm_flags &= ~flags;
}
#endif

/* Replace the file of a VMA that is being created. */
static inline void ivshmem_vma_set_file(struct vm_area_struct *vma, struct file *file)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 11, 0)
	get_file(file);
	swap(vma->vm_file, file);
	fput(file);
#else
	vma_set_file(vma, file);
#endif
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define IVSHMEM_BIN_ATTRIBUTE struct bin_attribute
#else
#define IVSHMEM_BIN_ATTRIBUTE const struct bin_attribute
#endif

static inline void ivshmem_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx, 1);
#else
	eventfd_signal(ctx);
#endif
}

#ifndef PCI_IRQ_INTX /* before 6.8 */
#define PCI_IRQ_INTX PCI_IRQ_LEGACY
#endif

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
#define IVSHMEM_IMPORT_DMA_BUF MODULE_IMPORT_NS(DMA_BUF)
#else
#define IVSHMEM_IMPORT_DMA_BUF MODULE_IMPORT_NS("DMA_BUF")
#endif

#endif
