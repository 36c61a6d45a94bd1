/* SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only */
/*
 * The PCI device as a guest sees it. This file has constants only, so that the kernel driver can
 * include it. Rule numbers (R-1 ...) refer to PROTOCOL.md, which follows QEMU's "Device
 * Specification for Inter-VM shared memory device" (docs/specs/ivshmem-spec).
 */
#ifndef IVSHMEM_REGISTERS_H
#define IVSHMEM_REGISTERS_H

/* identity in configuration space. */
#define IVS_PCI_VENDOR 0x1af4
#define IVS_PCI_DEVICE 0x1110
#define IVS_PCI_REVISION 1	  /* the current device */
#define IVS_PCI_REVISION_LEGACY 0 /* the device of QEMU before 2.6, and the old "-device ivshmem" */

/* base address registers. */
#define IVS_BAR_REGISTERS 0 /* 256 bytes */
#define IVS_BAR_MSIX 1	    /* MSI-X table and PBA; absent without interrupts */
#define IVS_BAR_MEMORY 2    /* window of the region; a 64-bit prefetchable BAR */
#define IVS_REGISTERS_LEN 256

/* registers in BAR 0, each 32 bits wide, little-endian. */
#define IVS_REG_INTR_MASK 0x00	 /* read-write; revision 0 only */
#define IVS_REG_INTR_STATUS 0x04 /* cleared by reading; revision 0 only */
#define IVS_REG_IV_POSITION 0x08 /* read-only: id of this peer; 0 without a server */
#define IVS_REG_DOORBELL 0x0c	 /* write-only: peer id in bits 16-31, vector in bits 0-15 */

/* value to write to IVS_REG_DOORBELL. */
#define IVS_DOORBELL(peer, vector) (((unsigned int)(peer) << 16) | ((unsigned int)(vector)&0xffffu))

/* ids and vectors are 16 bits wide. */
#define IVS_ID_MAX 65535
#define IVS_VECTOR_MAX 65535

/* MSI-X has at most 2048 vectors (PCI Local Bus Specification 3.0, 6.8.2.3). */
#define IVS_MSIX_VECTORS_MAX 2048

/* Maximum number of vectors that the Linux driver uses; see ivshmem(4). */
#define IVS_LINUX_VECTORS_MAX 256

/*
 * a vendor-specific capability (PCI 3.0, 6.7, appendix H) may name the region. These are the
 * offsets in it:
 */
#define IVS_PCI_CAP_ID_OFFSET 0	    /* 0x09 */
#define IVS_PCI_CAP_LEN_OFFSET 2    /* length of the capability: 24 plus the name's length */
#define IVS_PCI_CAP_LAYOUT_OFFSET 3 /* 1 */
#define IVS_PCI_CAP_MAGIC_OFFSET 4  /* IVS_PCI_CAP_MAGIC */
#define IVS_PCI_CAP_UUID_OFFSET 8   /* 16 bytes in text order; all zero if there is no UUID */
#define IVS_PCI_CAP_NAME_OFFSET 24  /* the rest of the capability: letters, digits and "._-" */
#define IVS_PCI_CAP_LAYOUT 1
#define IVS_PCI_CAP_MAGIC "IVSN" /* 4 bytes, not NUL-terminated */
#define IVS_PCI_CAP_NAME_MAX 63
#define IVS_PCI_CAP_NAME_BYTES "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-"

#endif
