/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: one device, the socket at which a VMM plugs it in, and what is behind it: a plain region, or
 * an ivshmem-server of which the device is a client.
 *
 * Nothing here waits but ivs_device_open_region() and ivs_device_loop_add(). The loop (device/loop.h) runs it.
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
	IVS_DEVICE_E_OPTIONS = 1, /* they make no device; or they do not fit the region */
	IVS_DEVICE_E_SERVER,	  /* the server is not there, or not what was expected */
	IVS_DEVICE_E_AGAIN,	  /* inside: the server has nothing more for now */
	IVS_DEVICE_E_LOST,	  /* inside: its connection is lost */
};

/**
 * enum ivs_device_role - may a VMM migrate the device
 * @IVS_DEVICE_AUTO: as QEMU before 4.0: the master is who has id 0, or no server
 */
enum ivs_device_role {
	IVS_DEVICE_PEER,
	IVS_DEVICE_MASTER,
	IVS_DEVICE_AUTO,
};

/**
 * enum ivs_device_access - what a VM may do with the memory
 * @IVS_DEVICE_READS:         it has it mapped, to be read; the VMM may end if its guest writes
 * @IVS_DEVICE_READS_TRAPPED: each access comes as a message; a write has no effect
 */
enum ivs_device_access {
	IVS_DEVICE_WRITES,
	IVS_DEVICE_READS,
	IVS_DEVICE_READS_TRAPPED,
};

/**
 * struct ivs_device_options - which device, and where; the strings must outlive the device
 * @socket:      where it listens; path NULL: at @socket_fd
 * @socket_fd:   a socket that was inherited: one that listens, or is connected to a VMM
 * @device:      memory_len: 0: BAR 2 is as long as the window, or the region, also when a server comes back with
 *               another one; else it has so many bytes (revision 0 with a server, which may be late)
 * @doorbells_n: how many vectors it can be rung on: with MSI-X as many as it has interrupts, without
 *               they all raise the pin; at most IVS_MSIX_VECTORS_MAX
 * @remote_fds_limit: how many doorbells of other peers are kept; 0: any number
 * @server:      path of an ivshmem-server's socket; NULL: none, but a region
 * @region:      address of a region; NULL with a server
 * @region_opts: for @region
 * @late:        go on without the server until it is there (revision 0); else it must be there
 * @window:      the part of the region that the VM gets; all 0: the whole
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
 * A device is made in three steps: its socket, its region or none, and its server or none, with the device
 * (ivs_device_loop_add()). Who has several takes each step with all of them before the next: what is wrong
 * with one is found before files of another are touched, and that before servers tell others of a peer.
 */

/** ivs_device_open() - Return: 0, IVS_LISTENER_E_*, -errno; what it is about is in @err. */
IVS_MUST_USE int ivs_device_open(const struct ivs_device_options *opts, struct ivs_device **out,
				 struct ivs_error *err);

/** ivs_device_open_region() - Return: 0, IVS_DEVICE_E_OPTIONS, IVS_REGION_E_*, -errno; the same. */
IVS_MUST_USE int ivs_device_open_region(struct ivs_device *device, struct ivs_error *err);

/** ivs_device_close() - the VMM loses its device. NULL is fine. */
void ivs_device_close(struct ivs_device *device);

/** ivs_device_discard() - close it, and remove the region if it was made for it: nobody has been served */
void ivs_device_discard(struct ivs_device *device);

/** ivs_device_name() - how it is called in the log: the path of its socket */
const char *ivs_device_name(const struct ivs_device *device);

/** ivs_device_options() - as they were given */
const struct ivs_device_options *ivs_device_options(const struct ivs_device *device);

#endif
