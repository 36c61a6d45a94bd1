/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/* /dev/ivs-import attaches to a dma-buf, as a GPU's driver would. One for each open file. */
#ifndef IVS_IMPORT_H
#define IVS_IMPORT_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IVS_IMPORT_PIECES_MAX 8

/**
 * struct ivs_import - attach and map
 * @fd:       in: a dma-buf
 * @peer:     in: whether memory without struct pages would do
 * @pieces_n: out: of its scatter list; the first are told
 * @at, @len: out: addresses for the device, and bytes
 */
struct ivs_import {
	__s32 fd;
	__u32 peer;
	__u32 pieces_n;
	__u32 pages_n; /* of these with a struct page */
	__u64 at[IVS_IMPORT_PIECES_MAX];
	__u64 len[IVS_IMPORT_PIECES_MAX];
};

/**
 * struct ivs_import_word - a word of what is mapped
 * @offset: of the dma-buf
 * @value:  what is there, or is to be
 */
struct ivs_import_word {
	__u64 offset;
	__u32 value;
	__u32 reserved;
};

#define IVS_IMPORT_ATTACH _IOWR('i', 1, struct ivs_import)
#define IVS_IMPORT_READ _IOWR('i', 2, struct ivs_import_word)
#define IVS_IMPORT_WRITE _IOW('i', 3, struct ivs_import_word)
#define IVS_IMPORT_UNMAP _IO('i', 4)
#define IVS_IMPORT_MAP _IO('i', 5) /* once more, without telling */
#define IVS_IMPORT_DETACH _IO('i', 6)

#endif
