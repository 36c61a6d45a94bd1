/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: the PCI function, the socket where a VMM connects to it, and the memory and doorbells
 * behind it: a plain region, or those of an ivshmem-server of which the device is a client.
 *
 * Only ivs_device_open_region() and ivs_device_loop_add() may block. device/loop.h runs devices.
 */
#ifndef IVS_DEVICE_DEVICE_H
#define IVS_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "daemon/listener.h"
#include "ivshmem/region.h"
#include "pci/function.h"
#include "vfio_user/session.h"

enum ivs_device_error {
	IVS_DEVICE_E_OPTIONS = 1, /* no such device exists, or they do not fit the region */
	IVS_DEVICE_E_SOCKET,	  /* cannot be at that path, or another process listens there */
	IVS_DEVICE_E_REGION,	  /* cannot be opened or created */
	IVS_DEVICE_E_SERVER,	  /* absent, or not as expected */
	IVS_DEVICE_E_AGAIN,	  /* internal: the server has sent nothing more */
	IVS_DEVICE_E_LOST,	  /* internal: the connection to the server is lost */
};

/**
 * enum ivs_device_role - whether a VMM may migrate the device
 * @IVS_DEVICE_AUTO: as in QEMU before 4.0: master if its id is 0, or without a server
 */
enum ivs_device_role {
	IVS_DEVICE_PEER,
	IVS_DEVICE_MASTER,
	IVS_DEVICE_AUTO,
};

/**
 * enum ivs_device_access - what a VM may do with the memory
 * @IVS_DEVICE_READS:         it maps the memory read-only; its VMM may end if the guest writes
 * @IVS_DEVICE_READS_TRAPPED: each access is a message; a write has no effect
 */
enum ivs_device_access {
	IVS_DEVICE_WRITES,
	IVS_DEVICE_READS,
	IVS_DEVICE_READS_TRAPPED,
};

/**
 * struct ivs_device_options - strings must outlive the device
 * @socket:      where to listen; path NULL: at @socket_fd
 * @socket_fd:   an inherited socket, listening or connected to a VMM
 * @function:    memory_len 0: BAR 2 is as long as the window or the region, also if a server comes
 *               back with another one; else its length (revision 0, whose server may come later)
 * @doorbells_n: own vectors: with MSI-X as many as interrupts, without it all of them raise the
 *               pin; at most IVS_MSIX_VECTORS_MAX
 * @remote_fds_limit: doorbells of other peers to store at most; 0: any number
 * @server:      path of an ivshmem-server's socket; NULL: none, but a region
 * @region:      address of a region; NULL with a server
 * @region_opts: for @region
 * @late:        start without the server if it is absent (revision 0), instead of failing
 * @window:      the part of the region that the VM gets; all 0: the whole region
 * @access:      what the VM may do with it
 */
struct ivs_device_options {
	struct ivs_listener_options socket;
	int socket_fd;
	struct ivs_pci_function_options function;
	unsigned int doorbells_n;
	unsigned int remote_fds_limit;
	const char *server;
	const char *region;
	struct ivs_region_options region_opts;
	bool late;
	struct {
		uint64_t offset;
		uint64_t len;
	} window;
	enum ivs_device_access access;
	enum ivs_device_role role;
};

struct ivs_device;

/*
 * Three steps make a device: its socket, its region if it has one, and its server if it has one
 * together with the PCI function (ivs_device_loop_add()). With several devices take each step for
 * all of them before the next one: an error in one is then found before files of another are
 * touched, and before servers announce a peer.
 */

/** ivs_device_open() - open its socket. Return: 0, IVS_DEVICE_E_SOCKET, -errno. */
IVS_MUST_USE int ivs_device_open(const struct ivs_device_options *opts, struct ivs_device **out,
				 struct ivs_error *err);

/**
 * ivs_device_open_region() - open or create its region
 *
 * Return: 0, IVS_DEVICE_E_REGION, IVS_DEVICE_E_OPTIONS, -errno.
 */
IVS_MUST_USE int ivs_device_open_region(struct ivs_device *device, struct ivs_error *err);

/** ivs_device_close() - leave the loop and disconnect the VMM; @device may be NULL */
void ivs_device_close(struct ivs_device *device);

/** ivs_device_discard() - close a device that never served; remove the region that it created */
void ivs_device_discard(struct ivs_device *device);

/** ivs_device_name() - its name in the log: the path of its socket */
const char *ivs_device_name(const struct ivs_device *device);

#endif
