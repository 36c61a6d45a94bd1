/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * /dev/ivs-legacy is a PCI bus with one device that resembles the device of QEMU versions before
 * 2.6: 1af4:1110, revision 0, INTx, no MSI-X. BAR 0 and BAR 2 are RAM that the kernel does not use,
 * because the kernel parameter memmap=16M$0x8000000 reserves it.
 */
#ifndef IVS_LEGACY_H
#define IVS_LEGACY_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IVS_LEGACY_AT 0x8000000 /* start of the 16 MiB for BAR 0 and BAR 2 */
#define IVS_LEGACY_LEN 0x1000000
#define IVS_LEGACY_MEMORY_LEN 0x400000

/**
 * struct ivs_legacy - a device to add; the previous device is removed first
 * @position: value of IVPosition
 * @cap_len:  bytes of @cap to place in configuration space, or 0 for a device without @cap
 * @cap:      a vendor-specific capability, whose pointer to the next capability is ignored
 */
struct ivs_legacy {
	__s32 position;
	__u32 cap_len;
	__u8 cap[128];
};

/**
 * struct ivs_legacy_pin - set the status register, assert INTx, and clear the register
 * @status:    in: value of the status register, or 0 to simulate INTx of another device
 * @mask:      out: value of the mask register
 * @unhandled: out: number of interrupts so far that no handler has claimed
 */
struct ivs_legacy_pin {
	__u32 status;
	__u32 mask;
	__u32 unhandled;
	__u32 reserved;
};

#define IVS_LEGACY_ADD _IOW('l', 1, struct ivs_legacy)
#define IVS_LEGACY_PIN _IOWR('l', 2, struct ivs_legacy_pin)
#define IVS_LEGACY_REMOVE _IO('l', 3)
#define IVS_LEGACY_SHUTDOWN _IO('l', 4) /* what the kernel does before a reboot or kexec */

#endif
