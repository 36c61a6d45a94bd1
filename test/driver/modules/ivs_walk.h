/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* /dev/ivs-walk tells what the page tables of who asks have for an address. */
#ifndef IVS_WALK_H
#define IVS_WALK_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct ivs_walk
 * @addr:     an address of the caller's
 * @physical: where it leads; 0: nowhere (yet)
 * @type:     "WB", "WC", "UC-", "UC", "WT", "WP"; "" if nowhere
 */
struct ivs_walk {
	__u64 addr;
	__u64 physical;
	char type[8];
};

#define IVS_WALK _IOWR('w', 1, struct ivs_walk)

#endif
