// SPDX-License-Identifier: GPL-2.0-only
/*
 * Map the region, the registers and the status page. Pages are inserted on fault, so that reset
 * and unbind can zap the mappings.
 *
 * The page tables of the region are written directly instead of with remap_pfn_range() or
 * vmf_insert_pfn(). On x86 these functions look up the memory type that the firmware set for the
 * address, and silently turn write-back into uncached if BAR 2 is below 4 GiB. The region is host
 * RAM, so write-back is correct.
 */
#include <linux/mm.h>
#include <linux/pgtable.h>

#include "compat.h"
#include "device.h"

#define FAULT_AROUND_LEN SZ_2M /* a fault maps up to this many bytes of the region */

static u64 ivshmem_vma_kind(const struct vm_area_struct *vma)
{
	return ((u64)vma->vm_pgoff << PAGE_SHIFT) & ~0ULL << IVS_MMAP_SHIFT;
}

static u64 ivshmem_vma_offset(const struct vm_area_struct *vma)
{
	return ((u64)vma->vm_pgoff << PAGE_SHIFT) - ivshmem_vma_kind(vma);
}

static bool ivshmem_vma_is_memory(const struct vm_area_struct *vma)
{
	return ivshmem_vma_kind(vma) == IVS_MMAP_MEMORY ||
	       ivshmem_vma_kind(vma) == IVS_MMAP_MEMORY_WC;
}

static int ivshmem_vma_set_pte(pte_t *pte, unsigned long addr, void *data)
{
	const struct vm_area_struct *vma = data;
	const struct ivshmem_device *device = vma->vm_private_data;
	u64 at = device->memory_at + ivshmem_vma_offset(vma) + (addr - vma->vm_start);

	/* Another thread may have faulted this page in already. */
	if (pte_none(ptep_get(pte)))
		set_pte_at(vma->vm_mm, addr, pte,
			   pte_mkspecial(pfn_pte(PHYS_PFN(at), vma->vm_page_prot)));
	return 0;
}

static vm_fault_t ivshmem_vma_insert_memory(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long around = ALIGN_DOWN(vmf->address, FAULT_AROUND_LEN);
	unsigned long begin = max(around, vma->vm_start);
	unsigned long end = min(around + FAULT_AROUND_LEN, vma->vm_end);
	int result;

	result = apply_to_page_range(vma->vm_mm, begin, end - begin, ivshmem_vma_set_pte, vma);
	return result ? VM_FAULT_OOM : VM_FAULT_NOPAGE;
}

static vm_fault_t ivshmem_vma_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct ivshmem_device *device = vma->vm_private_data;
	vm_fault_t result;

	if (ivshmem_vma_kind(vma) == IVS_MMAP_STATUS)
		return vmf_insert_pfn(vma, vmf->address, PHYS_PFN(virt_to_phys(device->status)));
	down_read(&device->hardware);
	if (device->gone) /* this page is RAM; device memory needs different bits */
		result = vmf_insert_pfn_prot(vma, vmf->address, page_to_pfn(device->zeroes),
					     vm_get_page_prot(vma->vm_flags));
	else if (ivshmem_vma_is_memory(vma))
		result = ivshmem_vma_insert_memory(vmf);
	else
		result = vmf_insert_pfn(vma, vmf->address, PHYS_PFN(device->registers_at));
	up_read(&device->hardware);
	return result;
}

/*
 * Count a mapping of type @type. Return: 0; -EBUSY if the region is mapped with a different type.
 */
int ivshmem_memory_claim(struct ivshmem_device *device, u32 type)
{
	int result = -EBUSY;

	spin_lock(&device->map_lock);
	if (!device->mapped_n || device->memory_type == type) {
		device->memory_type = type;
		device->mapped_n++;
		result = 0;
	}
	spin_unlock(&device->map_lock);
	return result;
}

void ivshmem_memory_unclaim(struct ivshmem_device *device)
{
	spin_lock(&device->map_lock);
	device->mapped_n--;
	spin_unlock(&device->map_lock);
}

/*
 * Called when an existing mapping is copied or split, so the memory type has already been claimed.
 */
static void ivshmem_vma_open(struct vm_area_struct *vma)
{
	struct ivshmem_device *device = vma->vm_private_data;

	if (ivshmem_vma_is_memory(vma))
		WARN_ON(ivshmem_memory_claim(device, device->memory_type));
}

static void ivshmem_vma_close(struct vm_area_struct *vma)
{
	if (ivshmem_vma_is_memory(vma))
		ivshmem_memory_unclaim(vma->vm_private_data);
}

static const struct vm_operations_struct ivshmem_vma_ops = {
	.open = ivshmem_vma_open,
	.close = ivshmem_vma_close,
	.fault = ivshmem_vma_fault,
};

u32 ivshmem_memory_type(struct ivshmem_device *device)
{
	u32 type;

	spin_lock(&device->map_lock);
	type = device->mapped_n ? device->memory_type : IVS_MEMORY_NONE;
	spin_unlock(&device->map_lock);
	return type;
}

static int ivshmem_vma_claim(struct ivshmem_device *device, struct vm_area_struct *vma)
{
	pgprot_t uncached = pgprot_noncached(vma->vm_page_prot);
	u32 type = IVS_MEMORY_WB;

	if (ivshmem_vma_kind(vma) == IVS_MMAP_MEMORY_WC) {
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
		type = pgprot_val(vma->vm_page_prot) == pgprot_val(uncached) ? IVS_MEMORY_UC
									     : IVS_MEMORY_WC;
	}
	return ivshmem_memory_claim(device, type);
}

/* Return: the length of what the offset selects (region, registers or status page), or -errno. */
static s64 ivshmem_vma_limit(const struct ivshmem_device *device, const struct vm_area_struct *vma,
			     bool writable)
{
	switch (ivshmem_vma_kind(vma)) {
	case IVS_MMAP_MEMORY:
	case IVS_MMAP_MEMORY_WC:
		return device->memory_len;
	case IVS_MMAP_REGISTERS:
		if (!device->mappable)
			return -ENXIO;
		return writable ? PAGE_SIZE : -EACCES;
	case IVS_MMAP_STATUS:
		return vma->vm_flags & VM_WRITE ? -EACCES : PAGE_SIZE;
	default:
		return -ENXIO;
	}
}

/*
 * Map the region, the registers or the status page. @writable: whether the file is open for
 * writing. No lock is needed against unbind: the VMA has no pages yet, and the fault handler checks
 * @gone.
 */
int ivshmem_memory_mmap(struct ivshmem_device *device, struct vm_area_struct *vma, bool writable)
{
	s64 bytes = ivshmem_vma_limit(device, vma, writable);
	u64 len = vma->vm_end - vma->vm_start;
	int result = 0;

	if (READ_ONCE(device->gone))
		return -ENODEV;
	if (bytes < 0)
		return bytes;
	if (ivshmem_vma_offset(vma) >= bytes || len > bytes - ivshmem_vma_offset(vma))
		return -EINVAL;
	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE)
		return -EINVAL; /* MAP_PRIVATE */
	if (ivshmem_vma_is_memory(vma))
		result = ivshmem_vma_claim(device, vma);
	else if (ivshmem_vma_kind(vma) == IVS_MMAP_REGISTERS)
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	else
		vm_flags_clear(vma, VM_MAYWRITE);
	if (result)
		return result;
	if (ivshmem_vma_kind(vma) != IVS_MMAP_STATUS)
		vma->vm_page_prot = pgprot_decrypted(vma->vm_page_prot);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = device;
	vma->vm_ops = &ivshmem_vma_ops;
	return 0;
}
