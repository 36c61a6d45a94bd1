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

#define WINDOW SZ_2M /* as much is put in at a time */

static u64 kind_of(const struct vm_area_struct *vma)
{
	return ((u64)vma->vm_pgoff << PAGE_SHIFT) & ~0ULL << IVS_MMAP_SHIFT;
}

static u64 offset_of(const struct vm_area_struct *vma)
{
	return ((u64)vma->vm_pgoff << PAGE_SHIFT) - kind_of(vma);
}

static bool is_memory(const struct vm_area_struct *vma)
{
	return kind_of(vma) == IVS_MMAP_MEMORY || kind_of(vma) == IVS_MMAP_MEMORY_WC;
}

static int set_one(pte_t *pte, unsigned long addr, void *data)
{
	const struct vm_area_struct *vma = data;
	const struct ivs_pci_function *device = vma->vm_private_data;
	u64 at = device->memory_at + offset_of(vma) + (addr - vma->vm_start);

	/* Another thread may have been here first. */
	if (pte_none(ptep_get(pte)))
		set_pte_at(vma->vm_mm, addr, pte,
			   pte_mkspecial(pfn_pte(PHYS_PFN(at), vma->vm_page_prot)));
	return 0;
}

static vm_fault_t insert_memory(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	unsigned long window = ALIGN_DOWN(vmf->address, WINDOW);
	unsigned long begin = max(window, vma->vm_start);
	unsigned long end = min(window + WINDOW, vma->vm_end);

	return apply_to_page_range(vma->vm_mm, begin, end - begin, set_one, vma) ? VM_FAULT_OOM :
										   VM_FAULT_NOPAGE;
}

static vm_fault_t fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct ivs_pci_function *device = vma->vm_private_data;
	vm_fault_t result;

	if (kind_of(vma) == IVS_MMAP_STATUS)
		return vmf_insert_pfn(vma, vmf->address, PHYS_PFN(virt_to_phys(device->status)));
	down_read(&device->hardware);
	if (device->gone) /* the guest's own memory: not as the device's is mapped */
		result = vmf_insert_pfn_prot(vma, vmf->address, page_to_pfn(device->zeroes),
					     vm_get_page_prot(vma->vm_flags));
	else if (is_memory(vma))
		result = insert_memory(vmf);
	else
		result = vmf_insert_pfn(vma, vmf->address, PHYS_PFN(device->registers_at));
	up_read(&device->hardware);
	return result;
}

/* One more who has the region mapped with that type; EBUSY while somebody has it with another. */
int ivs_memory_claim(struct ivs_pci_function *device, u32 type)
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

void ivs_memory_unclaim(struct ivs_pci_function *device)
{
	spin_lock(&device->map_lock);
	device->mapped_n--;
	spin_unlock(&device->map_lock);
}

/* A copy or a part of a mapping that there is, and so of the type that there is. */
static void open(struct vm_area_struct *vma)
{
	struct ivs_pci_function *device = vma->vm_private_data;

	if (is_memory(vma))
		WARN_ON(ivs_memory_claim(device, device->memory_type));
}

static void close(struct vm_area_struct *vma)
{
	if (is_memory(vma))
		ivs_memory_unclaim(vma->vm_private_data);
}

static const struct vm_operations_struct vm_ops = {
	.open = open,
	.close = close,
	.fault = fault,
};

u32 ivs_memory_type(struct ivs_pci_function *device)
{
	u32 type;

	spin_lock(&device->map_lock);
	type = device->mapped_n ? device->memory_type : IVS_MEMORY_NONE;
	spin_unlock(&device->map_lock);
	return type;
}

static int map_memory(struct ivs_pci_function *device, struct vm_area_struct *vma)
{
	pgprot_t uncached = pgprot_noncached(vma->vm_page_prot);
	u32 type = IVS_MEMORY_WB;

	if (kind_of(vma) == IVS_MMAP_MEMORY_WC) {
		vma->vm_page_prot = pgprot_writecombine(vma->vm_page_prot);
		type = pgprot_val(vma->vm_page_prot) == pgprot_val(uncached) ? IVS_MEMORY_UC :
									       IVS_MEMORY_WC;
	}
	return ivs_memory_claim(device, type);
}

/* How many bytes there are of this kind; what of it may not be mapped is an error. */
static s64 bytes_of(const struct ivs_pci_function *device, const struct vm_area_struct *vma, bool writable)
{
	switch (kind_of(vma)) {
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

/* @writable: the file is. Should the device go meanwhile, nothing is there yet to be taken away. */
int ivs_memory_mmap(struct ivs_pci_function *device, struct vm_area_struct *vma, bool writable)
{
	s64 bytes = bytes_of(device, vma, writable);
	u64 len = vma->vm_end - vma->vm_start;
	int result = 0;

	if (READ_ONCE(device->gone))
		return -ENODEV;
	if (bytes < 0)
		return bytes;
	if (offset_of(vma) >= bytes || len > bytes - offset_of(vma))
		return -EINVAL;
	if ((vma->vm_flags & (VM_SHARED | VM_MAYWRITE)) == VM_MAYWRITE)
		return -EINVAL; /* MAP_PRIVATE */
	if (is_memory(vma))
		result = map_memory(device, vma);
	else if (kind_of(vma) == IVS_MMAP_REGISTERS)
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	else
		vm_flags_clear(vma, VM_MAYWRITE);
	if (result)
		return result;
	if (kind_of(vma) != IVS_MMAP_STATUS)
		vma->vm_page_prot = pgprot_decrypted(vma->vm_page_prot);
	vm_flags_set(vma, VM_IO | VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP);
	vma->vm_private_data = device;
	vma->vm_ops = &vm_ops;
	return 0;
}
