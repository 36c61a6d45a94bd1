/* SPDX-License-Identifier: BSD-3-Clause */
/* The way in for a guest: through whatever the device is bound to. */
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "peer/pci_drivers.h"

static int open_pci(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		    struct ivs_error *err)
{
	struct ivs_pci_device device;
	char path[64];
	int result;

	result = ivs_pci_device_find(name, &device, err);
	if (result)
		return result;
	strcpy(peer->region, device.name);
	snprintf(path, sizeof(path), "/dev/%s", device.node);
	if (*device.node)
		return ivs_driver_open(peer, path, device.bdf, opts, err);
	if (!strcmp(device.driver, "vfio-pci"))
		return ivs_vfio_open(peer, &device, opts, err);
	return ivs_sysfs_open(peer, &device, opts, err);
}

static void close_pci(struct ivs_peer *peer)
{
	ivs_driver_close(peer);
	if (peer->registers)
		munmap((void *)peer->registers, peer->registers_len);
	ivs_fd_close(&peer->vfio.device);
	ivs_fd_close(&peer->vfio.group);
	ivs_fd_close(&peer->vfio.container);
	ivs_fd_close(&peer->vfio.request);
}

/*
 * The device ignores ids and vectors that do not exist. Whether they do is
 * for the roster in the region to say, if there is one. It may be wrong, so it does not keep us from
 * ringing (P-9).
 */
static int ring_pci(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	int result;

	if (peer->driver.fd >= 0)
		return ivs_driver_ring(peer, id, vector);
	result = ivs_peer_roster_check(peer, id, vector);
	ivs_pci_registers_ring(peer, id, vector);
	return result;
}

const struct ivs_transport_ops ivs_transport_pci = {
	.open = open_pci,
	.close = close_pci,
	.ring = ring_pci,
	.gone = ivs_driver_gone,
};
