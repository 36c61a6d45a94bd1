// SPDX-License-Identifier: GPL-2.0-only
/* For tests: look up the memory type of an address in the page tables of the calling process. */
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>
#include <linux/version.h>
#include <asm/msr.h>

#include "ivs_walk.h"

#ifdef rdmsrq /* since Linux 6.16 */
#define ivs_walk_read_msr rdmsrq
#else
#define ivs_walk_read_msr rdmsrl
#endif

/* Decode the memory type with the CPU's PAT register, not with the kernel's own tables. */
static const char *ivs_walk_type(pgprot_t prot)
{
	static const char *const names[8] = {"UC", "WC", "?", "?", "WT", "WP", "WB", "UC-"};
	unsigned int at = (pgprot_val(prot) & _PAGE_PWT ? 1 : 0) +
			  (pgprot_val(prot) & _PAGE_PCD ? 2 : 0) +
			  (pgprot_val(prot) & _PAGE_PAT ? 4 : 0);
	u64 pat;

	ivs_walk_read_msr(MSR_IA32_CR_PAT, pat);
	return names[(pat >> (8 * at)) & 7];
}

static void ivs_walk_report(struct ivs_walk *asked, unsigned long pfn, pgprot_t prot)
{
	asked->physical = ((u64)pfn << PAGE_SHIFT) + (asked->addr & ~PAGE_MASK);
	strscpy(asked->type, ivs_walk_type(prot), sizeof(asked->type));
}

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
static void ivs_walk_find(struct vm_area_struct *vma, struct ivs_walk *asked)
{
	struct follow_pfnmap_args args = {.vma = vma, .address = asked->addr};

	if (follow_pfnmap_start(&args))
		return;
	ivs_walk_report(asked, args.pfn, args.pgprot);
	follow_pfnmap_end(&args);
}
#else
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define follow(vma, addr, pte, lock) follow_pte(vma, addr, pte, lock)
#else
#define follow(vma, addr, pte, lock) follow_pte((vma)->vm_mm, addr, pte, lock)
#endif

static void ivs_walk_find(struct vm_area_struct *vma, struct ivs_walk *asked)
{
	spinlock_t *lock;
	pte_t *pte;

	if (follow(vma, asked->addr, &pte, &lock))
		return;
	ivs_walk_report(asked, pte_pfn(*pte), pte_pgprot(*pte));
	pte_unmap_unlock(pte, lock);
}
#endif

static long ivs_walk_ioctl(struct file *file, unsigned int command, unsigned long user)
{
	struct vm_area_struct *vma;
	struct ivs_walk asked;

	if (command != IVS_WALK || copy_from_user(&asked, (void __user *)user, sizeof(asked)))
		return -EINVAL;
	asked.physical = 0;
	memset(asked.type, 0, sizeof(asked.type));
	mmap_read_lock(current->mm);
	vma = find_vma(current->mm, asked.addr);
	if (vma && vma->vm_start <= asked.addr)
		ivs_walk_find(vma, &asked);
	mmap_read_unlock(current->mm);
	return copy_to_user((void __user *)user, &asked, sizeof(asked)) ? -EFAULT : 0;
}

static const struct file_operations ops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = ivs_walk_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ivs-walk",
	.fops = &ops,
};
module_misc_device(device);

MODULE_DESCRIPTION("For tests: memory types in page tables");
MODULE_LICENSE("GPL");
