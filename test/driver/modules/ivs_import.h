/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * /dev/ivs-import attaches to a dma-buf as a GPU driver does. Each open file can import one
 * dma-buf.
 */
#ifndef IVS_IMPORT_H
#define IVS_IMPORT_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IVS_IMPORT_PIECES_MAX 8

/**
 * struct ivs_import - attach to a dma-buf and map it
 * @dmabuf_fd: in: a dma-buf
 * @peer:      in: if not 0, attach with peer-to-peer DMA, which accepts memory without struct pages
 * @pieces_n:  out: number of entries of the scatterlist
 * @pages_n:   out: number of entries that have a struct page
 * @at:        out: DMA addresses of the first entries
 * @len:       out: lengths of the first entries, in bytes
 */
struct ivs_import {
	__s32 dmabuf_fd;
	__u32 peer;
	__u32 pieces_n;
	__u32 pages_n;
	__u64 at[IVS_IMPORT_PIECES_MAX];
	__u64 len[IVS_IMPORT_PIECES_MAX];
};

/**
 * struct ivs_import_word - access a word of the mapped dma-buf
 * @offset: bytes from the start of the dma-buf
 * @value:  the value that was read, or the value to write
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
#define IVS_IMPORT_MAP _IO('i', 5) /* map the dma-buf again after IVS_IMPORT_UNMAP */
#define IVS_IMPORT_DETACH _IO('i', 6)

#endif
