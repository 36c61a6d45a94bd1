/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/migration.h"

#include <string.h>

#include "base/error.h"
#include "vfio_user/private.h"

static void end_transfer(struct ivs_vfu_migration *migration)
{
	ivs_vfu_save_end(&migration->saving);
	ivs_vfu_load_end(&migration->loading);
}

void ivs_vfu_migration_reset(struct ivs_vfu_migration *migration)
{
	end_transfer(migration);
	migration->state = IVS_VFU_RUNNING;
}

static uint64_t memory_len(const struct ivs_vfio_user *session)
{
	return session->migration.mode == IVS_VFIO_USER_MIGRATE_MEMORY ? session->memory.len : 0;
}

/* Transitions of VFIO's state machine to and from STOP. Return: 0 or an errno. */

static int to_stop(struct ivs_vfio_user *session)
{
	struct ivs_vfu_migration *migration = &session->migration;
	bool good = true;

	if (migration->state == IVS_VFU_RESUMING)
		good = ivs_vfu_load_finish(&migration->loading, session->function, &session->why);
	end_transfer(migration);
	migration->state = good ? IVS_VFU_STOP : IVS_VFU_ERROR_STATE;
	return good ? 0 : EINVAL;
}

static int from_stop(struct ivs_vfio_user *session, enum ivs_vfu_migration_state to)
{
	struct ivs_vfu_migration *migration = &session->migration;
	uint64_t len = memory_len(session);

	if (migration->mode == IVS_VFIO_USER_MIGRATE_NOT && to != IVS_VFU_RUNNING)
		return ENOTTY;
	if (len && session->memory.file.fd < 0 && to != IVS_VFU_RUNNING) {
		ivs_error_set(&session->why, 0,
			      "the device has no memory yet that could be migrated");
		return ENODEV;
	}
	if (to == IVS_VFU_STOP_COPY &&
	    !ivs_vfu_save_begin(&migration->saving, session->function, len))
		return ENOMEM;
	if (to == IVS_VFU_RESUMING &&
	    !ivs_vfu_load_begin(&migration->loading, session->function, len))
		return ENOMEM;
	migration->state = to;
	return 0;
}

/* All paths lead through STOP, so at most two transitions are needed. */
static int change_state(struct ivs_vfio_user *session, uint32_t to)
{
	const struct ivs_vfu_migration *migration = &session->migration;
	int error = 0;

	if (migration->state == IVS_VFU_ERROR_STATE || to < IVS_VFU_STOP || to > IVS_VFU_RESUMING)
		return EINVAL;
	if (to == migration->state)
		return 0;
	if (migration->state != IVS_VFU_STOP)
		error = to_stop(session);
	if (!error && to != IVS_VFU_STOP)
		error = from_stop(session, (enum ivs_vfu_migration_state)to);
	return error;
}

static int reply_feature(struct ivs_vfio_user *session, size_t data_len, uint64_t data)
{
	uint8_t *out = ivs_vfu_reply(session, IVS_VFU_FEATURE_LEN + data_len);

	if (!out)
		return ENOMEM;
	memcpy(out, session->connection.in.bytes, IVS_VFU_FEATURE_LEN);
	ivs_put_le32(out, (uint32_t)(IVS_VFU_FEATURE_LEN + data_len));
	if (data_len)
		ivs_put_le64(out + IVS_VFU_FEATURE_LEN, data);
	return 0;
}

/* The reply to PROBE and SET repeats the body of the request. */
static int reply_body(struct ivs_vfio_user *session)
{
	const struct ivs_vfu_body *in = &session->connection.in;
	uint8_t *out = ivs_vfu_reply(session, in->len);

	if (!out)
		return ENOMEM;
	memcpy(out, in->bytes, in->len);
	return 0;
}

static int get_feature(struct ivs_vfio_user *session, uint32_t feature)
{
	if (ivs_get_le32(session->connection.in.bytes) <
	    IVS_VFU_FEATURE_LEN + IVS_VFU_FEATURE_MIGRATION_LEN)
		return EINVAL;
	return reply_feature(session, IVS_VFU_FEATURE_MIGRATION_LEN,
			     feature == IVS_VFU_FEATURE_MIGRATION ? IVS_VFU_MIGRATION_STOP_COPY
								  : session->migration.state);
}

static int set_state(struct ivs_vfio_user *session)
{
	const struct ivs_vfu_body *in = &session->connection.in;
	int error;

	if (in->len != IVS_VFU_FEATURE_LEN + IVS_VFU_FEATURE_MIG_STATE_LEN)
		return EINVAL;
	error = change_state(session, ivs_get_le32(in->bytes + IVS_VFU_FEATURE_LEN));
	return error ? error : reply_body(session);
}

/* The checks are in the same order as in Linux's vfio_check_feature(), so that the errors match. */
int ivs_vfu_feature(struct ivs_vfio_user *session)
{
	const uint8_t *in = session->connection.in.bytes;
	uint32_t flags = ivs_get_le32(in + 4);
	uint32_t feature = flags & IVS_VFU_FEATURE_INDEX;
	uint32_t methods = flags & (IVS_VFU_FEATURE_GET | IVS_VFU_FEATURE_SET);
	bool is_known = feature == IVS_VFU_FEATURE_MIGRATION ||
			feature == IVS_VFU_FEATURE_MIG_STATE;

	if (ivs_get_le32(in) < IVS_VFU_FEATURE_LEN ||
	    flags != (feature | methods | (flags & IVS_VFU_FEATURE_PROBE)))
		return EINVAL;
	if (is_known)
		session->counts.asked_migration = true;
	/* A migration in progress can be ended (-> RUNNING) even if it has since been forbidden. */
	if (!is_known || (session->migration.mode == IVS_VFIO_USER_MIGRATE_NOT &&
			  session->migration.state == IVS_VFU_RUNNING))
		return ENOTTY;
	if (methods & IVS_VFU_FEATURE_SET && feature == IVS_VFU_FEATURE_MIGRATION)
		return EINVAL;
	if (flags & IVS_VFU_FEATURE_PROBE)
		return reply_body(session);
	if (methods == IVS_VFU_FEATURE_GET)
		return get_feature(session, feature);
	return methods == IVS_VFU_FEATURE_SET ? set_state(session) : EINVAL;
}

int ivs_vfu_mig_read(struct ivs_vfio_user *session)
{
	struct ivs_vfu_save *save = &session->migration.saving;
	const uint8_t *in = session->connection.in.bytes;
	uint32_t argsz = ivs_get_le32(in), len = ivs_get_le32(in + 4);
	uint8_t *out;

	if (len > IVS_VFU_DATA_MAX || argsz < IVS_VFU_MIG_LEN + len)
		return EINVAL;
	if (len > ivs_vfu_save_left(save))
		len = (uint32_t)ivs_vfu_save_left(save);
	out = ivs_vfu_reply(session, IVS_VFU_MIG_LEN + len);
	if (!out)
		return ENOMEM;
	ivs_put_le32(out, IVS_VFU_MIG_LEN + len);
	ivs_put_le32(out + 4, len);
	if (ivs_vfu_save_read(save, &session->memory, out + IVS_VFU_MIG_LEN, len))
		return 0;
	ivs_error_set(&session->why, 0, "cannot read the memory: has its file been truncated?");
	return EIO;
}

int ivs_vfu_mig_write(struct ivs_vfio_user *session)
{
	const struct ivs_vfu_body *in = &session->connection.in;
	uint32_t argsz = ivs_get_le32(in->bytes), len = ivs_get_le32(in->bytes + 4);

	if (argsz < IVS_VFU_MIG_LEN || len != in->len - IVS_VFU_MIG_LEN || len > IVS_VFU_DATA_MAX)
		return EINVAL;
	if (!ivs_vfu_load_write(&session->migration.loading, &session->memory,
				in->bytes + IVS_VFU_MIG_LEN, len, &session->why))
		return EINVAL;
	return ivs_vfu_reply_empty(session);
}
