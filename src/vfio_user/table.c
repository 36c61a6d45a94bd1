/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * All commands, and the checks that are made before a handler is called; handlers do not repeat
 * these checks. Lengths are those of bodies, without the header.
 */
#include "base/error.h"
#include "vfio_user/private.h"

#define IN(state) (1u << (state))
#define ALWAYS (~0u)

/* VERSION has a limit so that jansson does not allocate much memory. */
static const struct ivs_vfu_entry commands[] = {
	{IVS_VFU_VERSION, IVS_VFU_VERSION_LEN, IVS_VFU_VERSION_LEN + IVS_VFU_JSON_MAX, 0, ALWAYS,
	 ivs_vfu_version},
	{IVS_VFU_DMA_MAP, IVS_VFU_DMA_MAP_LEN, IVS_VFU_DMA_MAP_LEN, 0, ALWAYS, ivs_vfu_dma_map},
	/* 16 additional bytes request a dirty bitmap, which is not filled */
	{IVS_VFU_DMA_UNMAP, IVS_VFU_DMA_UNMAP_LEN, IVS_VFU_DMA_UNMAP_LEN + 16, 0, ALWAYS,
	 ivs_vfu_dma_unmap},
	/* QEMU's structure has an additional member of 4 bytes */
	{IVS_VFU_GET_INFO, IVS_VFU_INFO_LEN, IVS_VFU_INFO_LEN + 4, 0, ALWAYS, ivs_vfu_info},
	{IVS_VFU_GET_REGION_INFO, IVS_VFU_REGION_INFO_LEN, IVS_VFU_REGION_INFO_LEN, 0, ALWAYS,
	 ivs_vfu_region_info},
	{IVS_VFU_GET_IRQ_INFO, IVS_VFU_IRQ_INFO_LEN, IVS_VFU_IRQ_INFO_LEN, 0, ALWAYS,
	 ivs_vfu_irq_info},
	{IVS_VFU_SET_IRQS, IVS_VFU_SET_IRQS_LEN, IVS_VFU_SET_IRQS_LEN + IVS_MSIX_VECTORS_MAX,
	 IVS_VFU_FDS_MAX, ALWAYS, ivs_vfu_set_irqs},
	{IVS_VFU_REGION_READ, IVS_VFU_ACCESS_LEN, IVS_VFU_ACCESS_LEN, 0, ALWAYS,
	 ivs_vfu_region_read},
	{IVS_VFU_REGION_WRITE, IVS_VFU_ACCESS_LEN, IVS_VFU_ACCESS_LEN + IVS_VFU_DATA_MAX, 0, ALWAYS,
	 ivs_vfu_region_write},
	{IVS_VFU_RESET, 0, 0, 0, ALWAYS, ivs_vfu_reset},
	{IVS_VFU_FEATURE, IVS_VFU_FEATURE_LEN, IVS_VFU_FEATURE_LEN + IVS_VFU_SMALL_LEN, 0, ALWAYS,
	 ivs_vfu_feature},
	{IVS_VFU_MIG_READ, IVS_VFU_MIG_LEN, IVS_VFU_MIG_LEN, 0, IN(IVS_VFU_STOP_COPY),
	 ivs_vfu_mig_read},
	{IVS_VFU_MIG_WRITE, IVS_VFU_MIG_LEN, IVS_VFU_MIG_LEN + IVS_VFU_DATA_MAX, 0,
	 IN(IVS_VFU_RESUMING), ivs_vfu_mig_write},
};

static const struct ivs_vfu_entry *find_command(uint16_t command)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (commands[i].command == command)
			return &commands[i];
	}
	return NULL;
}

int ivs_vfu_handle(struct ivs_vfio_user *session)
{
	struct ivs_vfu_connection *connection = &session->connection;
	const struct ivs_vfu_entry *entry = find_command(connection->header.command);
	bool fits = entry && connection->in.len >= entry->body_min &&
		    connection->in.len <= entry->body_max;

	/* Close fds that the command does not take. */
	ivs_vfu_connection_drop_fds(connection, entry ? entry->fds_max : 0);
	if (!session->greeted && (connection->header.command != IVS_VFU_VERSION || !fits))
		return ivs_error_set(
			&session->why, IVS_VFU_HANGUP,
			"the client did not begin with VERSION but with command %u of %u bytes",
			connection->header.command, connection->header.size);
	if (connection->lost_fds)
		return EMFILE;
	/* VFIO fails an unknown ioctl(2) with the same error. */
	if (!entry)
		return ENOTTY;
	if (!fits || !(entry->states & IN(session->migration.state)))
		return EINVAL;
	return entry->handle(session);
}
