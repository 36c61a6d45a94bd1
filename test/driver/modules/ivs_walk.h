/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* /dev/ivs-walk looks up an address in the page tables of the calling process. */
#ifndef IVS_WALK_H
#define IVS_WALK_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct ivs_walk - look up an address
 * @addr:     in: a virtual address of the calling process
 * @physical: out: the physical address, or 0 if no page is present
 * @type:     out: the memory type, which is "WB", "WC", "UC-", "UC", "WT" or "WP", or "" if no page
 *            is present
 */
struct ivs_walk {
	__u64 addr;
	__u64 physical;
	char type[8];
};

#define IVS_WALK _IOWR('w', 1, struct ivs_walk)

#endif
