/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Reads and writes of VFIO regions, and the reset.
 *
 * Outside a VFIO region, reads return zeroes and writes are ignored. They are not refused, because
 * Cloud Hypervisor does not check replies for errors, and waits for the bytes that it asked for.
 */
#include <string.h>

#include "vfio_user/private.h"

static bool is_running(const struct ivs_vfio_user *session)
{
	return session->migration.state == IVS_VFU_RUNNING;
}

static uint64_t region_len(const struct ivs_vfio_user *session, uint32_t region)
{
	return region == IVS_VFU_REGION_MEMORY ? session->memory.len
					       : ivs_pci_space_len(session->function, region);
}

static bool is_within(const struct ivs_vfio_user *session, const struct ivs_vfu_access *access)
{
	uint64_t len = region_len(session, access->region);

	return access->count <= len && access->offset <= len - access->count;
}

/* Allocate a reply that repeats the request up to its data. Return: the reply's body, or NULL. */
static uint8_t *reply_access(struct ivs_vfio_user *session, size_t data_len)
{
	uint8_t *out = ivs_vfu_reply(session, IVS_VFU_ACCESS_LEN + data_len);

	if (out)
		memcpy(out, session->connection.in.bytes, IVS_VFU_ACCESS_LEN);
	return out;
}

int ivs_vfu_region_read(struct ivs_vfio_user *session)
{
	const struct ivs_vfu_access access = ivs_vfu_get_access(session->connection.in.bytes);
	uint8_t *out;

	if (!access.count || access.count > IVS_VFU_DATA_MAX)
		return EINVAL;
	/* If no reply is wanted, only side effects matter, and only reads of registers have any. */
	if (session->connection.header.flags & IVS_VFU_NO_REPLY &&
	    (access.region == IVS_VFU_REGION_MEMORY || !is_within(session, &access)))
		return 0;
	out = reply_access(session, access.count);
	if (!out)
		return ENOMEM;
	out += IVS_VFU_ACCESS_LEN;
	if (!is_within(session, &access))
		return 0;
	if (access.region == IVS_VFU_REGION_MEMORY) {
		session->counts.memory_reads++;
		ivs_vfu_memory_read(&session->memory, access.offset, out, access.count);
	} else {
		ivs_pci_read(session->function, (enum ivs_pci_space)access.region,
			     (size_t)access.offset, out, access.count);
	}
	return 0;
}

/*
 * Ring before sending the reply, which lets the guest continue. A device that is stopped for
 * migration does not ring.
 */
static void write_function(struct ivs_vfio_user *session, const struct ivs_vfu_access *access,
			   const uint8_t *data)
{
	struct ivs_pci_ring ring = {0};

	ivs_pci_write(session->function, (enum ivs_pci_space)access->region, (size_t)access->offset,
		      data, access->count, &ring);
	if (!ring.rung || !is_running(session))
		return;
	session->counts.doorbells++;
	session->ring(session->context, ring.peer, ring.vector);
}

int ivs_vfu_region_write(struct ivs_vfio_user *session)
{
	const struct ivs_vfu_body *in = &session->connection.in;
	const struct ivs_vfu_access access = ivs_vfu_get_access(in->bytes);
	const uint8_t *data = in->bytes + IVS_VFU_ACCESS_LEN;

	if (!access.count || access.count > IVS_VFU_DATA_MAX ||
	    in->len != IVS_VFU_ACCESS_LEN + access.count)
		return EINVAL;
	if (!reply_access(session, 0))
		return ENOMEM;
	if (!is_within(session, &access))
		return 0;
	if (access.region == IVS_VFU_REGION_MEMORY) {
		session->counts.memory_writes++;
		/* Ignore errors: a write that fails is lost, like a write that no device claims. */
		(void)ivs_vfu_memory_write(&session->memory, access.offset, data, access.count);
	} else {
		write_function(session, &access, data);
	}
	return 0;
}

int ivs_vfu_reset(struct ivs_vfio_user *session)
{
	ivs_vfu_irqs_drop(session);
	ivs_pci_reset(session->function);
	ivs_vfu_migration_reset(&session->migration);
	return ivs_vfu_reply_empty(session);
}
