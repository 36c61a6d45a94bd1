/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The guest's device node, /dev/ivshmemN, provided by the driver in kernel/: see ivshmem(4). Most
 * programs should use ivshmem/peer.h, which is built on this interface.
 *
 *   open(2)   O_RDWR for full access; O_RDONLY for read-only mappings, read, poll, and IVS_IOC_INFO
 *   mmap(2)   MAP_SHARED, at one of the IVS_MMAP_* offsets plus a page-aligned offset
 *   read(2)   text, for scripts: returns one line "VECTOR COUNT\n" for a vector that was rung since
 *             it was last reported on this open file. Blocks until a vector is rung, unless
 *             O_NONBLOCK is set. COUNT is the number of the vector's interrupts since the driver
 *             was bound. An open file reports only interrupts that arrive after its open().
 *   poll(2)   POLLIN: a line can be read; POLLERR | POLLHUP: the device was unplugged or unbound
 *   ioctl(2)  IVS_IOC_*
 *
 * When the device is unplugged or unbound, all calls fail with ENODEV (blocked poll and read calls
 * return), every eventfd is signalled once, and mappings of the region and the registers are
 * replaced by one page of zeroes, which all open files of the device share; no access raises
 * SIGBUS. After a reset or a suspend every vector is signalled once, because doorbells may have
 * been lost.
 *
 * Thread safety: all calls are safe from any thread at any time.
 */
#ifndef IVSHMEM_DRIVER_H
#define IVSHMEM_DRIVER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#include "ivshmem/registers.h"

/* Version of this interface. Later versions only add to it, so older programs keep working. */
#define IVS_DRIVER_VERSION 1

/* Maximum number of open files per device; beyond that, open(2) fails with EMFILE. */
#define IVS_DRIVER_FILES_MAX 256

/* Maximum number of dma-bufs per device; beyond that, IVS_IOC_DMABUF fails with EMFILE. */
#define IVS_DRIVER_DMABUFS_MAX 1024

/*
 * Offsets for mmap(2).
 * MEMORY:    the region, write-back cached
 * MEMORY_WC: the region, write-combining, for programs that only write. Issue a store fence
 *            (sfence) before ringing a doorbell. The region cannot be mapped write-back and
 *            write-combining at the same time: mapping it with the second type fails with EBUSY.
 * REGISTERS: BAR 0, one page, only for files open for writing. Fails with ENXIO if the page is
 *            shared with another device or the driver needs the interrupt registers itself; check
 *            IVS_INFO_REGISTERS.
 * STATUS:    struct ivs_driver_status, one page, read-only
 */
#define IVS_MMAP_SHIFT 42 /* distance between the offsets, so a region must be smaller than 4 TiB */
#define IVS_MMAP_MEMORY 0ULL
#define IVS_MMAP_MEMORY_WC (1ULL << IVS_MMAP_SHIFT)
#define IVS_MMAP_REGISTERS (2ULL << IVS_MMAP_SHIFT)
#define IVS_MMAP_STATUS (3ULL << IVS_MMAP_SHIFT)

/**
 * struct ivs_driver_status - device status that is readable without a system call
 * @gone:   nonzero once the device has been unplugged or unbound; never cleared
 * @events: number of resets and suspends
 * @counts: for each vector, the number of its interrupts since the driver was bound
 *
 * Only the kernel writes to this page.
 */
struct ivs_driver_status {
	__u32 gone;
	__u32 events;
	__u64 reserved[7];
	__u64 counts[IVS_LINUX_VECTORS_MAX];
};

/* Bits of flags in struct ivs_ioc_info. */
#define IVS_INFO_INTX (1u << 0)	     /* one vector, signalled by INTx (revision 0 without MSI-X) */
#define IVS_INFO_REGISTERS (1u << 1) /* IVS_MMAP_REGISTERS can be mapped */
#define IVS_INFO_DOORBELL (1u << 2)  /* the device has an id and doorbells (not ivshmem-plain) */

/* Values of memory_type in struct ivs_ioc_info: cache type of the region's current mappings. */
#define IVS_MEMORY_NONE 0 /* the region is not mapped; the next mapping sets the type */
#define IVS_MEMORY_WB 1	  /* write-back: cached like ordinary memory */
#define IVS_MEMORY_WC 2	  /* write-combining */
#define IVS_MEMORY_UC 3	  /* uncached: IVS_MMAP_MEMORY_WC on a CPU without write-combining */

#define IVS_NAME_LEN 64
#define IVS_UUID_LEN 16
#define IVS_DRIVER_BDF_LEN 24

/**
 * struct ivs_ioc_info - properties of the device
 * @version:     IVS_DRIVER_VERSION of the driver
 * @flags:       IVS_INFO_*
 * @revision:    PCI revision: 0 or 1
 * @position:    current value of IVPosition: the id of this peer; -1 on revision 0 before the
 *               region is attached
 * @vectors_n:   number of usable vectors: 0 (ivshmem-plain) to IVS_LINUX_VECTORS_MAX. This is fewer
 *               than the device has if the guest ran out of interrupts.
 * @memory_type: IVS_MEMORY_*
 * @memory_len:  size of the region in bytes
 * @bdf:         PCI address, such as "0000:00:03.0"
 * @name:        name of the region, or ""
 * @uuid:        UUID of the region, or zeroes
 */
struct ivs_ioc_info {
	__u32 version;
	__u32 flags;
	__u32 revision;
	__s32 position;
	__u32 vectors_n;
	__u32 memory_type;
	__u64 memory_len;
	char bdf[IVS_DRIVER_BDF_LEN];
	char name[IVS_NAME_LEN];
	__u8 uuid[IVS_UUID_LEN];
};

/**
 * struct ivs_ioc_eventfd - signal an eventfd when a vector is rung
 * @vector: 0 to vectors_n - 1, else EINVAL
 * @fd:     an eventfd; -1: remove the vector's eventfd. Each open file has at most one eventfd per
 *          vector; a second one replaces the first.
 */
struct ivs_ioc_eventfd {
	__u32 vector;
	__s32 fd;
};

/**
 * struct ivs_ioc_ring - ring a peer's doorbell
 * @peer:   0 to 65535, else EINVAL
 * @vector: 0 to 65535, else EINVAL
 *
 * The device ignores peers and vectors that do not exist. Stores to the region before the call are
 * visible to the peer when it receives the doorbell.
 */
struct ivs_ioc_ring {
	__u32 peer;
	__u32 vector;
};

/**
 * struct ivs_ioc_dmabuf - export a range of the region as a dma-buf; ioctl(2) returns its fd
 * @offset:   bytes, a multiple of the page size
 * @len:      bytes, a multiple of the page size and not 0; EINVAL if the range exceeds the region
 * @flags:    O_CLOEXEC or 0; else EINVAL
 * @reserved: 0; else EINVAL
 *
 * A device has at most IVS_DRIVER_DMABUFS_MAX dma-bufs at a time; further exports fail with EMFILE.
 * The dma-buf is readable and writable. The first export maps the region write-back in the kernel
 * until the device is unbound: it fails with EBUSY while the region is mapped write-combining. It
 * also fails with EBUSY if all of these hold: the region overlaps the region of an unplugged
 * device, an importer had mapped a dma-buf of that device, and that device's files and dma-bufs are
 * not all closed yet. It fails with ENOMEM if the guest cannot spare the memory for the region's
 * struct pages (1.6 % of the region's size; see LIMITS in ivshmem(4)); the kernel's log says how
 * much is missing. Exports fail with EOPNOTSUPP if the region's address or size is not a multiple
 * of 2 MiB, and in encrypted guests. Importers that cannot address the region, or whose DMA uses
 * bounce buffers (swiotlb=force), get EOPNOTSUPP when they map the dma-buf. The file must also be
 * open for reading, because a dma-buf can be read.
 */
struct ivs_ioc_dmabuf {
	__u64 offset;
	__u64 len;
	__u32 flags;
	__u32 reserved;
};

/*
 * Errors: ENODEV (the device was unplugged or unbound), EINVAL (see above), EBADF (RING, EVENTFD,
 * DMABUF: the file is not open for writing; DMABUF: it is not open for reading; EVENTFD: bad fd),
 * EFAULT, ENOMEM, ENOTTY, EMFILE, EBUSY (DMABUF: see above), EOPNOTSUPP (DMABUF: see above, or the
 * kernel has no dma-buf support).
 */
#define IVS_IOC_INFO _IOR('v', 0xe0, struct ivs_ioc_info)
#define IVS_IOC_EVENTFD _IOW('v', 0xe1, struct ivs_ioc_eventfd)
#define IVS_IOC_RING _IOW('v', 0xe2, struct ivs_ioc_ring)
#define IVS_IOC_DMABUF _IOW('v', 0xe3, struct ivs_ioc_dmabuf)

#endif
