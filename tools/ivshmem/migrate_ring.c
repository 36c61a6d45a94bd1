/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_ring.h"

#include <stdio.h>

#include "base/clock.h"
#include "ivshmem/peer.h"
#include "tools/ivshmem/detach_check.h"
#include "tools/shared/usage.h"

#define KNOWN_MS 2000 /* for the server to announce the VM */

/*
 * Ring peer 0, which should have at least @expected_n vectors. Return: how many doorbells it rang.
 */
static unsigned int ring_master(const char *socket, unsigned int expected_n)
{
	int64_t deadline_ns = ivs_clock_deadline(KNOWN_MS);
	char address[IVS_HOST_SOCKET_LEN + 8];
	struct ivs_error err = {0};
	struct ivs_peer *peer;
	struct ivs_event event;
	unsigned int n;

	snprintf(address, sizeof(address), "unix:%s", socket);
	if (ivs_peer_open_read_only(address, NULL, &peer, &err)) {
		usage_failed("note: the doorbells of the VM are not rung: %s", err.text);
		return 0;
	}
	while ((n = ivs_peer_vectors_of(peer, 0)) < expected_n && ivs_clock_left_ms(deadline_ns))
		if (ivs_peer_next(peer, ivs_clock_left_ms(deadline_ns), &event))
			break;
	for (unsigned int vector = 0; vector < n; vector++) {
		if (ivs_peer_ring(peer, 0, vector)) {
			usage_failed("note: vector %u of the VM cannot be rung at %s", vector,
				     socket);
			n = vector;
		}
	}
	if (!n)
		usage_failed("note: the server at %s does not know the VM, so its doorbells are "
			     "not rung",
			     socket);
	ivs_peer_close(peer);
	return n;
}

/* Return: the smallest number of vectors of a doorbell device; 0: there is none. */
static unsigned int vectors_min(const struct side *side)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < side->facts.devices_n; i++) {
		const struct ivs_migration_device *device = &side->facts.devices[i];

		if (device->doorbell && device->vectors && (!n || device->vectors < n))
			n = device->vectors;
	}
	return n;
}

unsigned int ring_devices(const struct side *destination, const struct host_servers *servers,
			  const char *control)
{
	char old[SERVER_OLD_LEN];
	unsigned int expected_n = vectors_min(destination);
	unsigned int n = 0;

	if (!expected_n)
		return 0;
	/* To ring, this command joins the server, and leaves again. */
	if (destination->local && *server_note_old(control, destination->qmp.pid, old))
		usage_failed("note: %s", old);
	for (unsigned int i = 0; i < servers->n; i++)
		n += ring_master(servers->sockets[i], expected_n);
	if (!servers->n)
		usage_failed("note: the server of the destination is not known, so ring each "
			     "vector of the VM once: ivshmem ring SOCKET 0");
	return n;
}
