// SPDX-License-Identifier: GPL-2.0-only
/*
 * Mapping the region, the registers and the status page. Pages are put in when they are touched, so
 * that a reset, and the end of the device, can take them away again.
 *
 * Why the page tables are written here and not by remap_pfn_range() or vmf_insert_pfn(): on x86 these
 * ask which type the firmware has given to the addresses, and make write-back uncached without a word
 * where a small BAR 2 lies, below 4 GiB. The region is memory of the host; cached is right for it.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>

#include "compat.h"
#include "device.h"

#define KIND_SHIFT IVS_MMAP_SHIFT
#define WINDOW SZ_2M /* as much is put in at a time */

/* Where a mapping's offsets begin within what it maps, whatever kind it is of. */
static u64 offset_of(pgoff_t pgoff)
{
	return ((u64)pgoff << PAGE_SHIFT) & ((1ULL << KIND_SHIFT) - 1);
}

static u64 kind_of(const struct vm_area_struct *vma)
{
	return ((u64)vma->vm_pgoff << PAGE_SHIFT) & ~((1ULL << KIND_SHIFT) - 1);
}

struct window {
	struct vm_area_struct *vma;
	unsigned long begin;
	unsigned long pfn;
};

static int set_one(pte_t *pte, unsigned long addr, void *data)
{
	const struct window *window = data;
	unsigned long pfn = window->pfn + ((addr - window->begin) >> PAGE_SHIFT);

	/* Another thread may have been here first. */
	if (pte_none(ptep_get(pte)))
		set_pte_at(window->vma->vm_mm, addr, pte,
			   pte_mkspecial(pfn_pte(pfn, window->vma->vm_page_prot)));
	return 0;
}

static vm_fault_t insert_memory(struct ivs_device *device, struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long begin = max(ALIGN_DOWN(vmf->address, WINDOW), vma->vm_start);
	unsigned long end = min(ALIGN_DOWN(vmf->address, WINDOW) + WINDOW, vma->vm_end);
	struct window window = {
		.vma = vma,
		.begin = begin,
		.pfn = PHYS_PFN(device->memory_at + offset_of(vma->vm_pgoff) + begin -
				vma->vm_start),
	};

	if (apply_to_page_range(vma->vm_mm, begin, end - begin, set_one, &window))
		return VM_FAULT_OOM;
	return VM_FAULT_NOPAGE;
}

static vm_fault_t fault(struct vm_fault *vmf)
{
	struct ivs_device *device = vmf->vma->vm_private_data;
	u64 kind = kind_of(vmf->vma);
	unsigned long pfn;
	vm_fault_t result;

	down_read(&device->hardware);
	if (kind == IVS_MMAP_STATUS)
		pfn = PHYS_PFN(virt_to_phys(device->status));
	else if (device->gone)
		pfn = page_to_pfn(device->zeroes);
	else
		pfn = PHYS_PFN(device->registers_at);
	if (device->gone || kind == IVS_MMAP_STATUS || kind == IVS_MMAP_REGISTERS)
		result = vmf_insert_pfn(vmf->vma, vmf->address, pfn);
	else
		result = insert_memory(device, vmf);
	up_read(&device->hardware);
	return result;
}

static bool is_memory(const struct vm_area_struct *vma)
{
	return kind_of(vma) == IVS_MMAP_MEMORY || kind_of(vma) == IVS_MMAP_MEMORY_WC;
}

/* A copy or a part of a mapping that there is. */
static void open(struct vm_area_struct *vma)
{
	struct ivs_device *device = vma->vm_private_data;

	spin_lock(&device->map_lock);
	device->mapped_n += is_memory(vma);
	spin_unlock(&device->map_lock);
}

static void close(struct vm_area_struct *vma)
{
	struct ivs_device *device = vma->vm_private_data;

	spin_lock(&device->map_lock);
	device->mapped_n -= is_memory(vma);
	spin_unlock(&device->map_lock);
}

static const struct vm_operations_struct vm_ops = {
	.open = open,
	.close = close,
	.fault = fault,
};

static int map_memory(struct ivs_device *device, struct vm_area_struct *vma)
{
	pgprot_t prot = vma->vm_page_prot;
	u32 type = IVS_MEMORY_WB;
	int result = 0;

	if (kind_of(vma) == IVS_MMAP_MEMORY_WC) {
		prot = pgprot_writecombine(prot);
		type = pgprot_val(prot) == pgprot_val(pgprot_noncached(vma->vm_page_prot)) ?
			       IVS_MEMORY_UC :
			       IVS_MEMORY_WC;
	}
	spin_lock(&device->map_lock);
	if (device->mapped_n && device->memory_type != type) {
		result = -EBUSY;
	} else {
		device->memory_type = type;
		device->mapped_n++;
	}
	spin_unlock(&device->map_lock);
	if (!result)
		vma->vm_page_prot = pgprot_decrypted(prot);
	return result;
}

u32 ivs_memory_type(struct ivs_device *device)
{
	u32 type;

	spin_lock(&device->map_lock);
	type = device->mapped_n ? device->memory_type : IVS_MEMORY_NONE;
	spin_unlock(&device->map_lock);
	return type;
}

/* What lies at these offsets, and how many bytes of it there are; 0: nothing to be mapped. */
static u64 bytes_of(const struct ivs_device *device, const struct vm_area_struct *vma)
{
	switch (kind_of(vma)) {
	case IVS_MMAP_MEMORY:
	case IVS_MMAP_MEMORY_WC:
		return device->memory_len;
	case IVS_MMAP_REGISTERS:
		return device->mappable ? PAGE_SIZE : 0;
	case IVS_MMAP_STATUS:
		return PAGE_SIZE;
	default:
		return 0;
	}
}

static int map_kind(struct ivs_device *device, struct vm_area_struct *vma, bool writable)
{
	switch (kind_of(vma)) {
	case IVS_MMAP_REGISTERS:
		if (!writable)
			return -EACCES;
		vma->vm_page_prot = pgprot_decrypted(pgprot_noncached(vma->vm_page_prot));
		return 0;
	case IVS_MMAP_STATUS:
		if (vma->vm_flags & VM_WRITE)
			return -EACCES;
		vm_flags_clear(vma, VM_MAYWRITE);
		return 0;
	default:
		return map_memory(device, vma);
	}
}

/* @writable: the file is. Should the device go meanwhile, nothing is there yet to be taken away. */
int ivs_memory_mmap(struct ivs_device *device, struct vm_area_struct *vma, bool writable)
{
	u64 len = vma->vm_end - vma->vm_start;
	u64 offset = offset_of(vma->vm_pgoff);
	u64 bytes = bytes_of(device, vma);
	int result;

	if (READ_ONCE(device->gone))
		return -ENODEV;
	if (!bytes)
		return -ENXIO;
	if (offset >= bytes || len > bytes - offset)
		return -EINVAL;
	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE)
		return -EINVAL; /* MAP_PRIVATE */
	result = map_kind(device, vma, writable);
	if (result)
		return result;
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = device;
	vma->vm_ops = &vm_ops;
	return 0;
}
