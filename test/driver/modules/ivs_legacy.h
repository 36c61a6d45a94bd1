/* SPDX-License-Identifier: GPL-2.0-only OR BSD-3-Clause */
/*
 * /dev/ivs-legacy is a PCI bus with one device as QEMU had it before 2.6: 1af4:1110, revision 0, one
 * interrupt pin, without MSI-X. Its memory, and what lies behind BAR 0, is ordinary memory that the
 * kernel was told to leave alone: memmap=16M$0x8000000.
 */
#ifndef IVS_LEGACY_H
#define IVS_LEGACY_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IVS_LEGACY_AT 0x8000000 /* 16 MiB; BAR 0 and BAR 2 come to lie in it */
#define IVS_LEGACY_LEN 0x1000000
#define IVS_LEGACY_MEMORY_LEN 0x400000

/**
 * struct ivs_legacy - put in the device, the one before is taken out
 * @position: what IVPosition reads
 * @cap_len:  bytes of @cap that are put into its configuration space; 0: no capability
 * @cap:      a vendor's capability, without the byte that leads to the next
 */
struct ivs_legacy {
	__s32 position;
	__u32 cap_len;
	__u8 cap[128];
};

/**
 * struct ivs_legacy_pin - set the status register, raise the pin, and clear the status as a read does
 * @status:    0: somebody else raised it
 * @mask:      out: what is in the mask register
 * @unhandled: out: how often nobody has felt meant, so far
 */
struct ivs_legacy_pin {
	__u32 status;
	__u32 mask;
	__u32 unhandled;
	__u32 reserved;
};

#define IVS_LEGACY_PUT _IOW('l', 1, struct ivs_legacy)
#define IVS_LEGACY_PIN _IOWR('l', 2, struct ivs_legacy_pin)
#define IVS_LEGACY_TAKE _IO('l', 3)

#endif
