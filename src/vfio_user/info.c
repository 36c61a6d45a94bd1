/* SPDX-License-Identifier: BSD-3-Clause */
/* VERSION, the GET_*_INFO commands, and the DMA commands, which have no effect. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "vfio_user/private.h"

int ivs_vfu_version(struct ivs_vfio_user *session)
{
	const struct ivs_vfu_body *in = &session->connection.in;
	uint64_t fds_max;
	uint8_t *out;

	if (session->greeted)
		return EINVAL;
	if (ivs_vfu_get_version(in->bytes, in->len, &fds_max, &session->why))
		return IVS_VFU_HANGUP;
	out = ivs_vfu_reply(session, IVS_VFU_VERSION_LEN + sizeof(IVS_VFU_VERSION_JSON));
	if (!out)
		return ENOMEM;
	/* Reply with version 0.0: our minor version must not be larger than the client's. */
	memcpy(out + IVS_VFU_VERSION_LEN, IVS_VFU_VERSION_JSON, sizeof(IVS_VFU_VERSION_JSON));
	session->takes_fds = fds_max > 0;
	session->greeted = true;
	return 0;
}

/* The device does no DMA, but QEMU waits several seconds if it gets no reply. */
int ivs_vfu_dma_map(struct ivs_vfio_user *session)
{
	return ivs_vfu_reply_empty(session);
}

int ivs_vfu_dma_unmap(struct ivs_vfio_user *session)
{
	uint8_t *out = ivs_vfu_reply(session, IVS_VFU_DMA_UNMAP_LEN);

	if (!out)
		return ENOMEM;
	memcpy(out, session->connection.in.bytes, IVS_VFU_DMA_UNMAP_LEN);
	return 0;
}

/*
 * Allocate a reply of @len bytes that starts with argsz.
 *
 * Return: the reply; NULL on failure, with an errno in @error.
 */
static uint8_t *reply_info(struct ivs_vfio_user *session, uint32_t len, int *error)
{
	uint8_t *out = NULL;

	*error = EINVAL;
	if (ivs_get_le32(session->connection.in.bytes) >= len) {
		*error = ENOMEM;
		out = ivs_vfu_reply(session, len);
	}
	if (out)
		ivs_put_le32(out, len);
	return out;
}

int ivs_vfu_info(struct ivs_vfio_user *session)
{
	int error;
	uint8_t *out = reply_info(session, IVS_VFU_INFO_LEN, &error);

	if (!out)
		return error;
	ivs_put_le32(out + 4, IVS_VFU_DEVICE_RESET | IVS_VFU_DEVICE_PCI);
	ivs_put_le32(out + 8, IVS_VFU_REGIONS_N);
	ivs_put_le32(out + 12, IVS_VFU_IRQS_N);
	return 0;
}

/*
 * Send the fd to a client that accepts it; without an fd, each access to the memory is a message.
 * Fail if no fd is free: a VM that does not start is better than a VM that is always slow.
 */
static int describe_memory(struct ivs_vfio_user *session, uint8_t *out)
{
	const struct ivs_vfio_user_memory *file = &session->memory.file;
	uint32_t flags = IVS_VFU_REGION_R | IVS_VFU_REGION_W;

	if (file->fd >= 0 && !file->writable)
		flags = IVS_VFU_REGION_R;
	ivs_put_le64(out + 16, session->memory.len);
	/* Send a duplicate, because the memory may be replaced before the reply has been sent. */
	if (file->fd >= 0 && session->takes_fds && !file->trapped) {
		session->connection.out_fd = fcntl(file->fd, F_DUPFD_CLOEXEC, 0);
		if (session->connection.out_fd < 0)
			return errno;
		flags |= IVS_VFU_REGION_MMAP;
		ivs_put_le64(out + 24, file->offset);
		session->counts.mapped = true;
	}
	ivs_put_le32(out + 4, flags);
	return 0;
}

int ivs_vfu_region_info(struct ivs_vfio_user *session)
{
	uint32_t index = ivs_get_le32(session->connection.in.bytes + 8);
	size_t len = ivs_pci_space_len(session->function, index);
	int error;
	uint8_t *out;

	if (index >= IVS_VFU_REGIONS_N)
		return EINVAL;
	out = reply_info(session, IVS_VFU_REGION_INFO_LEN, &error);
	if (!out)
		return error;
	ivs_put_le32(out + 8, index);
	if (index == IVS_VFU_REGION_MEMORY)
		return describe_memory(session, out);
	if (len) {
		ivs_put_le32(out + 4, IVS_VFU_REGION_R | IVS_VFU_REGION_W);
		ivs_put_le64(out + 16, len);
	}
	return 0;
}

int ivs_vfu_irq_info(struct ivs_vfio_user *session)
{
	static const uint32_t flags[IVS_VFU_IRQS_N] = {
		[IVS_VFU_IRQ_INTX] = IVS_VFU_IRQ_EVENTFD | IVS_VFU_IRQ_MASKABLE |
				     IVS_VFU_IRQ_AUTOMASKED,
		[IVS_VFU_IRQ_MSIX] = IVS_VFU_IRQ_EVENTFD,
		[IVS_VFU_IRQ_ERR] = IVS_VFU_IRQ_EVENTFD,
	};
	uint32_t index = ivs_get_le32(session->connection.in.bytes + 8);
	uint32_t count = ivs_vfu_irqs_count(session, index);
	int error;
	uint8_t *out;

	if (index >= IVS_VFU_IRQS_N)
		return EINVAL;
	out = reply_info(session, IVS_VFU_IRQ_INFO_LEN, &error);
	if (!out)
		return error;
	ivs_put_le32(out + 4, count ? flags[index] : 0);
	ivs_put_le32(out + 8, index);
	ivs_put_le32(out + 12, count);
	return 0;
}
