/* SPDX-License-Identifier: BSD-3-Clause */
/* The transports for a host process that maps a plain region, without ids or doorbells. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/error.h"
#include "base/fd.h"
#include "ivshmem/region.h"
#include "peer/private.h"

#define WHY_NOT                                                                                    \
	"a plain region has neither ids nor doorbells: use a server (unix:PATH, and "              \
	"ivshmem-doorbell in QEMU)"

static int plain_result(int result)
{
	switch (result) {
	case IVS_REGION_E_ABSENT:
		return IVS_PEER_E_ABSENT;
	case IVS_REGION_E_FULL:
		return -ENOMEM;
	default:
		return result > 0 ? IVS_PEER_E_ADDRESS : result;
	}
}

static void plain_close(struct ivs_peer *peer)
{
	(void)peer; /* ivs_peer_close() unmaps the memory */
}

static const struct ivs_transport_ops shm_ops = {.name = "shm", .close = plain_close};
static const struct ivs_transport_ops file_ops = {.name = "file", .close = plain_close};

#define WHY_MAY_NOT_WRITE                                                                          \
	"this user may only read the region's file: to write, change its owner, group or "         \
	"mode"

/* Open the region read-only if that is requested, or if nothing else is permitted. */
static int plain_open_region(struct ivs_peer *peer, const char *address, struct ivs_region **out,
			     struct ivs_error *err)
{
	int result;

	if (peer->read_only)
		return ivs_region_open_read_only(address, out, err);
	result = ivs_region_open(address, NULL, out, err);
	if (result != -EACCES && result != -EPERM && result != -EROFS)
		return result;
	if (ivs_region_open_read_only(address, out, NULL))
		return result; /* report that writing is not permitted */
	peer->read_only = WHY_MAY_NOT_WRITE;
	if (err)
		*err->text = 0;
	return 0;
}

static int plain_watch(struct ivs_peer *peer, const struct ivs_region *region,
		       struct ivs_error *err)
{
	IVS_OWNED_FD fd = fcntl(ivs_region_fd(region), F_DUPFD_CLOEXEC, 0);
	int result = fd < 0 ? -errno : 0;

	if (!result)
		result = ivs_peer_region_open(peer, &fd, ivs_region_path(region));
	return result ? ivs_error_errno(err, -result, "cannot watch the region") : 0;
}

static int plain_open(struct ivs_peer *peer, const struct ivs_transport_ops *ops, const char *name,
		      const struct ivs_peer_options *opts, struct ivs_error *err)
{
	struct ivs_region *region = NULL;
	char address[4096 + 8];
	int result;

	result = ivs_peer_set_transport(peer, ops, err);
	if (result)
		return result;
	if (opts->vectors_n)
		return ivs_error_set(err, IVS_PEER_E_VECTOR, WHY_NOT "; %u vectors were requested",
				     opts->vectors_n);
	snprintf(address, sizeof(address), "%s:%s", ops->name, name);
	result = plain_open_region(peer, address, &region, err);
	if (result == IVS_REGION_E_ABSENT)
		return ivs_error_set(
			err, IVS_PEER_E_ABSENT,
			"there is no region %s: first start the program that creates it", address);
	if (result)
		return plain_result(result);
	result = ivs_peer_map(peer, ivs_region_fd(region), 0, ivs_region_size(region), err);
	if (!result)
		result = plain_watch(peer, region, err);
	ivs_region_close(region);
	ivs_peer_allow(peer, IVS_CAP_CACHED);
	ivs_peer_deny(peer, IVS_CAP_ID, WHY_NOT);
	ivs_peer_deny(peer, IVS_CAP_RING, WHY_NOT);
	ivs_peer_deny(peer, IVS_CAP_WAIT, WHY_NOT);
	ivs_peer_deny(peer, IVS_CAP_ROSTER, WHY_NOT);
	return result;
}

int ivs_shm_open(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		 struct ivs_error *err)
{
	return plain_open(peer, &shm_ops, name, opts, err);
}

int ivs_file_open(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		  struct ivs_error *err)
{
	return plain_open(peer, &file_ops, name, opts, err);
}
