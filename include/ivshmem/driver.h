/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The guest's device node, /dev/ivshmemN, as the driver in kernel/ makes it: ivshmem(4). Most
 * programs want ivshmem/peer.h, which uses this.
 *
 *   open(2)   O_RDWR for all of it; O_RDONLY maps readable, reads counts and asks for IVS_IOC_INFO
 *   mmap(2)   MAP_SHARED, at one of the IVS_MMAP_* offsets plus a page-aligned offset within
 *   read(2)   text, for scripts: "VECTOR COUNT\n" for a vector that was rung since this open file
 *             last told of it; waits for one unless O_NONBLOCK. COUNT is its interrupts since the
 *             driver was bound. A new open file begins with what comes from then on.
 *   poll(2)   POLLIN: read(2) has something; POLLERR | POLLHUP: the device is gone
 *   ioctl(2)  IVS_IOC_*
 *
 * When the device is unplugged or unbound, everything returns ENODEV (poll and read wake up for
 * it), every eventfd is signalled once, and what was mapped shows a page of zeroes instead, shared
 * by all who had the device open: nobody gets SIGBUS. After a reset and after a suspend every vector is
 * signalled once, because doorbells may have been lost meanwhile.
 *
 * Thread safety: everything may be called from any thread at any time.
 */
#ifndef IVSHMEM_DRIVER_H
#define IVSHMEM_DRIVER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#include "ivshmem/registers.h"

/* Of this interface. It only ever grows: what an older program uses stays. */
#define IVS_DRIVER_VERSION 1

/* As many files as may be open for one device at a time; open(2): EMFILE. */
#define IVS_DRIVER_FILES_MAX 256

/*
 * Where mmap(2) finds what.
 * MEMORY:    the region, write-back cached
 * MEMORY_WC: the region, write-combining: for who only writes. A store fence (sfence) must come
 *            before the doorbell. EBUSY while anybody has it mapped write-back, and the other way
 *            round: a processor must not see one memory in two ways.
 * REGISTERS: BAR 0, one page, writable files only. ENXIO if the page is not the device's alone or
 *            the driver needs the interrupt registers itself (IVS_INFO_REGISTERS says whether).
 * STATUS:    struct ivs_driver_status, one page, read-only
 */
#define IVS_MMAP_SHIFT 42 /* so regions have less than 4 TiB */
#define IVS_MMAP_MEMORY 0ULL
#define IVS_MMAP_MEMORY_WC (1ULL << IVS_MMAP_SHIFT)
#define IVS_MMAP_REGISTERS (2ULL << IVS_MMAP_SHIFT)
#define IVS_MMAP_STATUS (3ULL << IVS_MMAP_SHIFT)

/**
 * struct ivs_driver_status - what can be known without a system call
 * @gone:   not 0: the device is gone, for good
 * @events: how often it was reset or slept
 * @counts: by vector: interrupts since the driver was bound
 *
 * Written by the kernel alone.
 */
struct ivs_driver_status {
	__u32 gone;
	__u32 events;
	__u64 reserved[7];
	__u64 counts[IVS_LINUX_VECTORS_MAX];
};

/* struct ivs_ioc_info, flags */
#define IVS_INFO_INTX (1u << 0)	     /* the one vector is a pin: revision 0 without MSI-X */
#define IVS_INFO_REGISTERS (1u << 1) /* IVS_MMAP_REGISTERS can be mapped */
#define IVS_INFO_DOORBELL                                                                          \
	(1u << 2) /* it has an id, rings and can be rung; without: ivshmem-plain */

/* struct ivs_ioc_info, memory_type: what is in the page tables of those who have it mapped */
#define IVS_MEMORY_NONE 0 /* nobody has it mapped; it will be as asked for */
#define IVS_MEMORY_WB 1	  /* write-back: cached as ordinary memory */
#define IVS_MEMORY_WC 2	  /* write-combining */
#define IVS_MEMORY_UC 3	  /* uncached: write-combining was asked for and the machine has none */

#define IVS_NAME_LEN 64
#define IVS_UUID_LEN 16
#define IVS_DRIVER_BDF_LEN 24

/**
 * struct ivs_ioc_info - what is known of the device
 * @version:     IVS_DRIVER_VERSION
 * @flags:       IVS_INFO_*
 * @revision:    of the PCI device: 0 or 1
 * @position:    IVPosition as it is now: own id; -1 on revision 0 before memory is attached
 * @vectors_n:   0 (ivshmem-plain) to IVS_LINUX_VECTORS_MAX. Can be less than the device has, if the
 *               machine has no more interrupts.
 * @memory_type: IVS_MEMORY_*
 * @memory_len:  bytes of the region
 * @bdf:         PCI address: "0000:00:03.0"
 * @name:        of the region, "" without
 * @uuid:        of the region, zeroes without
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
 * struct ivs_ioc_eventfd - have an eventfd signalled when a vector is rung
 * @vector: EINVAL if there is none
 * @fd:     an eventfd; -1: no longer. One per vector and open file: another replaces it.
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
 * The device ignores peers and vectors that do not exist. What was written to the region before is
 * seen by who is rung.
 */
struct ivs_ioc_ring {
	__u32 peer;
	__u32 vector;
};

/**
 * struct ivs_ioc_dmabuf - make a dma-buf of a range of the region; ioctl(2) returns its fd
 * @offset:   a multiple of the page size
 * @len:      likewise, not 0; EINVAL if the range is not within the region
 * @flags:    O_CLOEXEC or 0; else EINVAL
 * @reserved: 0; else EINVAL
 *
 * It can be read and written. The first one has the region mapped write-back for good: EBUSY while it is
 * mapped write-combining, and while there are dma-bufs of an unplugged device that had this address.
 * EOPNOTSUPP if address and size of the region are no multiples of 2 MiB, and in encrypted guests; for
 * importers that cannot reach the address, too.
 */
struct ivs_ioc_dmabuf {
	__u64 offset;
	__u64 len;
	__u32 flags;
	__u32 reserved;
};

/*
 * Errors: ENODEV (the device is gone), EINVAL (as above), EBADF (the file is not open for writing:
 * RING, EVENTFD, DMABUF; or no such fd), EFAULT, ENOMEM, ENOTTY; EOPNOTSUPP (DMABUF: the
 * kernel has none), EMFILE.
 */
#define IVS_IOC_INFO _IOR('v', 0xe0, struct ivs_ioc_info)
#define IVS_IOC_EVENTFD _IOW('v', 0xe1, struct ivs_ioc_eventfd)
#define IVS_IOC_RING _IOW('v', 0xe2, struct ivs_ioc_ring)
#define IVS_IOC_DMABUF _IOW('v', 0xe3, struct ivs_ioc_dmabuf)

#endif
