/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vfio-user, version 0.0: encoding and decoding. Sources: QEMU's docs/interop/vfio-user, whose
 * structures are VFIO's (linux/vfio.h), and the messages that QEMU and Cloud Hypervisor send.
 *
 * The specification uses the byte order of the host. It is little-endian here, because both sides
 * run on the same host, and all architectures for which a client exists are little-endian.
 *
 * Pure: no system calls and no clock; only parsing JSON allocates memory.
 */
#ifndef IVS_VFIO_USER_CODEC_H
#define IVS_VFIO_USER_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/bytes.h"
#include "ivshmem/api.h"

/* Header: u16 id, u16 command, u32 size including the header, u32 flags, u32 errno. */
#define IVS_VFU_HEADER_LEN 16
#define IVS_VFU_DATA_MAX (1u << 20) /* maximum length of a read or write (max_data_xfer_size) */
/* The largest request: a write of the maximum length. */
#define IVS_VFU_MESSAGE_MAX (IVS_VFU_HEADER_LEN + IVS_VFU_ACCESS_LEN + IVS_VFU_DATA_MAX)
#define IVS_VFU_FDS_MAX 16 /* maximum number of fds per message (max_msg_fds) */

/* Flags of the header. */
#define IVS_VFU_TYPE_MASK 0xfu
#define IVS_VFU_TYPE_COMMAND 0u
#define IVS_VFU_TYPE_REPLY 1u
#define IVS_VFU_NO_REPLY 0x10u
#define IVS_VFU_ERROR 0x20u

enum ivs_vfu_command {
	IVS_VFU_VERSION = 1,
	IVS_VFU_DMA_MAP = 2,
	IVS_VFU_DMA_UNMAP = 3,
	IVS_VFU_GET_INFO = 4,
	IVS_VFU_GET_REGION_INFO = 5,
	IVS_VFU_GET_IRQ_INFO = 7,
	IVS_VFU_SET_IRQS = 8,
	IVS_VFU_REGION_READ = 9,
	IVS_VFU_REGION_WRITE = 10,
	IVS_VFU_RESET = 13,
	IVS_VFU_FEATURE = 16,
	IVS_VFU_MIG_READ = 17,
	IVS_VFU_MIG_WRITE = 18,
};

/* Lengths of bodies, excluding a variable part. */
#define IVS_VFU_VERSION_LEN 4	   /* u16 major, u16 minor; then JSON and NUL */
#define IVS_VFU_DMA_MAP_LEN 32	   /* u32 argsz, flags, u64 offset, address, size */
#define IVS_VFU_DMA_UNMAP_LEN 24   /* u32 argsz, flags, u64 address, size */
#define IVS_VFU_INFO_LEN 16	   /* u32 argsz, flags, regions, irqs */
#define IVS_VFU_REGION_INFO_LEN 32 /* u32 argsz, flags, index, capability, u64 size, offset */
#define IVS_VFU_IRQ_INFO_LEN 16	   /* u32 argsz, flags, index, count */
#define IVS_VFU_SET_IRQS_LEN 20	   /* u32 argsz, flags, index, start, count; then booleans */
#define IVS_VFU_ACCESS_LEN 16	   /* u64 offset, u32 region, count; then data */
#define IVS_VFU_FEATURE_LEN 8	   /* u32 argsz, flags; then data */
#define IVS_VFU_MIG_LEN 8	   /* u32 argsz, size; then data */
#define IVS_VFU_JSON_MAX 4096	   /* maximum length of JSON in VERSION; QEMU sends 200 bytes */

/* GET_INFO: VFIO_DEVICE_FLAGS_*, VFIO_PCI_NUM_REGIONS, VFIO_PCI_NUM_IRQS. */
#define IVS_VFU_DEVICE_RESET 1u
#define IVS_VFU_DEVICE_PCI 2u
#define IVS_VFU_REGIONS_N 9u
#define IVS_VFU_REGION_MEMORY 2u /* BAR 2 */
#define IVS_VFU_IRQS_N 5u

/* GET_REGION_INFO: VFIO_REGION_INFO_FLAG_*. */
#define IVS_VFU_REGION_R 1u
#define IVS_VFU_REGION_W 2u
#define IVS_VFU_REGION_MMAP 4u

/* GET_IRQ_INFO: VFIO_PCI_*_IRQ_INDEX, VFIO_IRQ_INFO_*. */
#define IVS_VFU_IRQ_INTX 0u
#define IVS_VFU_IRQ_MSIX 2u
#define IVS_VFU_IRQ_ERR 3u
#define IVS_VFU_IRQ_EVENTFD 1u
#define IVS_VFU_IRQ_MASKABLE 2u
#define IVS_VFU_IRQ_AUTOMASKED 4u

/* SET_IRQS: VFIO_IRQ_SET_*. */
#define IVS_VFU_SET_NONE 0x01u
#define IVS_VFU_SET_BOOL 0x02u
#define IVS_VFU_SET_EVENTFD 0x04u
#define IVS_VFU_SET_DATA_MASK 0x07u
#define IVS_VFU_SET_MASK 0x08u
#define IVS_VFU_SET_UNMASK 0x10u
#define IVS_VFU_SET_TRIGGER 0x20u
#define IVS_VFU_SET_ACTION_MASK 0x38u

/* DEVICE_FEATURE: VFIO_DEVICE_FEATURE_*, VFIO_MIGRATION_*. */
#define IVS_VFU_FEATURE_INDEX 0xffffu
#define IVS_VFU_FEATURE_GET (1u << 16)
#define IVS_VFU_FEATURE_SET (1u << 17)
#define IVS_VFU_FEATURE_PROBE (1u << 18)
#define IVS_VFU_FEATURE_MIGRATION 1u
#define IVS_VFU_FEATURE_MIGRATION_LEN 8u /* u64 flags */
#define IVS_VFU_FEATURE_MIG_STATE 2u
#define IVS_VFU_FEATURE_MIG_STATE_LEN 8u /* u32 state, u32 fd (unused) */
#define IVS_VFU_MIGRATION_STOP_COPY 1u

/** struct ivs_vfu_header - the header of a message */
struct ivs_vfu_header {
	uint16_t id;
	uint16_t command;
	uint32_t size;
	uint32_t flags;
	uint32_t error;
};

/** struct ivs_vfu_access - fixed part of REGION_READ and REGION_WRITE */
struct ivs_vfu_access {
	uint64_t offset;
	uint32_t region;
	uint32_t count;
};

/** struct ivs_vfu_set_irqs - fixed part of SET_IRQS */
struct ivs_vfu_set_irqs {
	uint32_t argsz;
	uint32_t flags;
	uint32_t index;
	uint32_t start;
	uint32_t count;
};

enum ivs_vfu_error {
	/* After either error the client has to be disconnected. */
	IVS_VFU_E_FRAMING = 1, /* the beginning of the next message is unknown */
	IVS_VFU_E_VERSION,     /* the client does not speak this version */
};

/**
 * ivs_vfu_get_header() - decode the header of a request
 *
 * Return: 0; IVS_VFU_E_FRAMING: the message is not a request, or its size is invalid.
 */
IVS_MUST_USE int ivs_vfu_get_header(const uint8_t in[IVS_VFU_HEADER_LEN],
				    struct ivs_vfu_header *out, struct ivs_error *err);

/**
 * ivs_vfu_put_reply() - encode the header of the reply to a request
 * @body_len: bytes that follow the header
 * @error:    an errno, or 0
 */
void ivs_vfu_put_reply(const struct ivs_vfu_header *request, size_t body_len, uint32_t error,
		       uint8_t out[IVS_VFU_HEADER_LEN]);

/** ivs_vfu_get_access() - decode IVS_VFU_ACCESS_LEN bytes */
struct ivs_vfu_access ivs_vfu_get_access(const uint8_t *in);

/** ivs_vfu_get_set_irqs() - decode IVS_VFU_SET_IRQS_LEN bytes */
struct ivs_vfu_set_irqs ivs_vfu_get_set_irqs(const uint8_t *in);

/**
 * ivs_vfu_check_set_irqs() - whether a SET_IRQS request is well-formed
 * @body_len: length of the request's body in bytes
 * @fds_n:    number of fds received with the request
 * @irqs_n:   number of interrupts at this index
 *
 * Return: whether the range is within the index, exactly one kind of data and one action are set,
 * all booleans are present, and there are either no fds or enough for the range.
 */
bool ivs_vfu_check_set_irqs(const struct ivs_vfu_set_irqs *set, size_t body_len, unsigned int fds_n,
			    unsigned int irqs_n);

/** ivs_vfu_disables_all() - whether @set disables its index: TRIGGER, no data, no interrupts */
bool ivs_vfu_disables_all(const struct ivs_vfu_set_irqs *set);

/**
 * ivs_vfu_get_version() - decode the body of VERSION
 * @fds_max: set to the number of fds that the client accepts per message; by default 1
 *
 * Return: 0, IVS_VFU_E_VERSION.
 */
IVS_MUST_USE int ivs_vfu_get_version(const uint8_t *in, size_t len, uint64_t *fds_max,
				     struct ivs_error *err);

/** IVS_VFU_VERSION_JSON - our capabilities in the reply to VERSION, NUL-terminated */
#define IVS_VFU_VERSION_JSON                                                                       \
	"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576}}"

#endif
