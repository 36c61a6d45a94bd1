/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/bar0.h"

#include <endian.h>
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/error.h"

int ivs_bar0_map(struct ivs_bar0 *bar0, int fd, uint64_t offset)
{
	size_t len = (size_t)sysconf(_SC_PAGESIZE);
	void *base = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);

	if (base == MAP_FAILED)
		return -errno;
	bar0->base = base;
	bar0->len = len;
	return 0;
}

void ivs_bar0_unmap(struct ivs_bar0 *bar0)
{
	if (bar0->base)
		munmap((void *)bar0->base, bar0->len);
	bar0->base = NULL;
}

uint32_t ivs_bar0_id(const struct ivs_bar0 *bar0)
{
	return le32toh(bar0->base[IVS_REG_IV_POSITION / sizeof(uint32_t)]);
}

static int bar0_ring(const struct ivs_doorbell *doorbell)
{
	*doorbell->reg = doorbell->value;
	return 0;
}

void ivs_bar0_doorbell(const struct ivs_bar0 *bar0, struct ivs_doorbell *doorbell)
{
	doorbell->reg = bar0->base + IVS_REG_DOORBELL / sizeof(uint32_t);
	doorbell->value = htole32(IVS_DOORBELL(doorbell->id, doorbell->vector));
	doorbell->ring = bar0_ring;
}

int ivs_bar0_allow(struct ivs_peer *peer, const char *bdf, bool has_doorbell, uint32_t position,
		   struct ivs_error *err)
{
	ivs_peer_deny(
		peer, IVS_CAP_ROSTER,
		"the device does not report joins and leaves to a guest: start the server with "
		"--roster");
	if (!has_doorbell) {
		const char *why = "ivshmem-plain has neither ids nor doorbells: give the VM "
				  "ivshmem-doorbell and a server";

		ivs_peer_deny(peer, IVS_CAP_ID, why);
		ivs_peer_deny(peer, IVS_CAP_RING, why);
		ivs_peer_deny(peer, IVS_CAP_WAIT, why);
		return 0;
	}
	if (position > IVS_ID_MAX)
		return ivs_error_set(err, IVS_PEER_E_TIMEOUT,
				     "the device at %s has no id yet: its memory is not attached",
				     bdf);
	peer->id = (int)position;
	ivs_peer_allow(peer, IVS_CAP_ID);
	ivs_peer_allow(peer, IVS_CAP_RING);
	return 0;
}
