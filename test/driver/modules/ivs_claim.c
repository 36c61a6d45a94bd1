// SPDX-License-Identifier: GPL-2.0-only
/* For tests: claim the part of a BAR at the address @at, as another driver might. */
#include <linux/ioport.h>
#include <linux/module.h>

#define LEN 16

static ulong at;
module_param(at, ulong, 0);

static int __init ivs_claim_init(void)
{
	return request_mem_region(at, LEN, "ivs-claim") ? 0 : -EBUSY;
}
module_init(ivs_claim_init);

static void __exit ivs_claim_exit(void)
{
	release_mem_region(at, LEN);
}
module_exit(ivs_claim_exit);

MODULE_DESCRIPTION("For tests: claims an address range");
MODULE_LICENSE("GPL");
