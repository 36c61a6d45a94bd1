/* SPDX-License-Identifier: BSD-3-Clause */
/* The ways in for a host process beside a VM with ivshmem-plain: the memory and nothing else. */
#include <errno.h>
#include <stdio.h>

#include "base/error.h"
#include "ivshmem/region.h"
#include "peer/private.h"

#define WHY_NOT                                                                                    \
	"a plain region has neither ids nor doorbells: use a server (unix:PATH, and "              \
	"ivshmem-doorbell in QEMU)"

static int region_result(int result)
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

static int open_plain(struct ivs_peer *peer, const char *kind, const char *name,
		      const struct ivs_peer_options *opts, struct ivs_error *err)
{
	struct ivs_region *region = NULL;
	char address[4096 + 8];
	int result;

	peer->name = kind;
	if (opts->vectors_n)
		return ivs_error_set(err, IVS_PEER_E_VECTOR, WHY_NOT "; %u vectors are wanted",
				     opts->vectors_n);
	snprintf(address, sizeof(address), "%s:%s", kind, name);
	result = ivs_region_open(address, NULL, &region, err);
	if (result)
		return region_result(result);
	result = ivs_peer_map(peer, ivs_region_fd(region), 0, ivs_region_size(region), err);
	ivs_region_close(region);
	ivs_peer_allow(peer, IVS_CAP_CACHED);
	ivs_peer_deny(peer, IVS_CAP_ID, WHY_NOT);
	ivs_peer_deny(peer, IVS_CAP_RING, WHY_NOT);
	ivs_peer_deny(peer, IVS_CAP_WAIT, WHY_NOT);
	ivs_peer_deny(peer, IVS_CAP_ROSTER, WHY_NOT);
	return result;
}

static int open_shm(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		    struct ivs_error *err)
{
	return open_plain(peer, "shm", name, opts, err);
}

static int open_file(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		     struct ivs_error *err)
{
	return open_plain(peer, "file", name, opts, err);
}

static void close_plain(struct ivs_peer *peer)
{
	(void)peer; /* the mapping is closed for every way */
}

const struct ivs_transport_ops ivs_transport_shm = {.open = open_shm, .close = close_plain};
const struct ivs_transport_ops ivs_transport_file = {.open = open_file, .close = close_plain};
