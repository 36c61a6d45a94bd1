/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: the PCI function that a VMM plugs in at a socket, and what is behind it: a plain region, or
 * an ivshmem-server of which the device is a client.
 *
 * Only ivs_device_open_region() and ivs_device_loop_add() may wait. device/loop.h runs the device.
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
	IVS_DEVICE_E_OPTIONS = 1,  /* the options make no device, or do not fit the region */
	IVS_DEVICE_E_SOCKET,	   /* the socket cannot be used */
	IVS_DEVICE_E_REGION,	   /* the region cannot be opened */
	IVS_DEVICE_E_SERVER,	   /* the server is absent, or not what was expected */
	IVS_DEVICE_E_OTHER_REGION, /* inside: the server has another region than the VM */
	IVS_DEVICE_E_AGAIN,	   /* inside: the server has sent nothing more */
};

/**
 * enum ivs_device_role - may a VMM migrate the device
 * @IVS_DEVICE_AUTO: as QEMU before 4.0: master if it has id 0, or no server
 */
enum ivs_device_role {
	IVS_DEVICE_PEER,
	IVS_DEVICE_MASTER,
	IVS_DEVICE_AUTO,
};

/**
 * enum ivs_device_access - what a VM may do with the memory
 * @IVS_DEVICE_READS:         mapped read-only; the VMM may terminate if its guest writes
 * @IVS_DEVICE_READS_TRAPPED: each access is a message; a write has no effect
 */
enum ivs_device_access {
	IVS_DEVICE_WRITES,
	IVS_DEVICE_READS,
	IVS_DEVICE_READS_TRAPPED,
};

/**
 * struct ivs_device_options - which device, and where; the strings must outlive the device
 * @socket:      where it listens; path NULL: at @socket_fd
 * @socket_fd:   an inherited socket: it listens, or is connected to a VMM
 * @function:    the PCI function. memory_len 0: BAR 2 is as long as the window or the region, also
 *               when a server returns with another region; else it has that many bytes (revision 0
 *               with a server that may come later)
 * @doorbells_n: vectors it can be rung on: with MSI-X as many as it has interrupts, without
 *               they all raise the pin; at most IVS_MSIX_VECTORS_MAX
 * @remote_fds_limit: how many doorbells of other peers to store; 0: any number
 * @server:      path of an ivshmem-server's socket; NULL: none, but a region
 * @region:      address of a region; NULL with a server
 * @region_opts: for @region
 * @late:        start without the server if it is absent (revision 0)
 * @window:      the part of the region that the VM gets; all 0: the whole
 * @access:      what the VM may do with it
 * @role:        whether the device may be migrated
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
 * A device is made in three steps: its socket, its region if it has one, and its server if it has one
 * (ivs_device_loop_add()). A program with several devices takes each step for all of them before the
 * next one: so a mistake is found before files of another device are touched, and that before a server
 * announces a new peer.
 */

/** ivs_device_open() - Return: 0, IVS_DEVICE_E_SOCKET, -errno; @err names the subject. */
IVS_MUST_USE int ivs_device_open(const struct ivs_device_options *opts, struct ivs_device **out,
				 struct ivs_error *err);

/** ivs_device_open_region() - Return: 0, IVS_DEVICE_E_OPTIONS, _REGION, -errno; likewise. */
IVS_MUST_USE int ivs_device_open_region(struct ivs_device *device, struct ivs_error *err);

/** ivs_device_close() - the VMM loses its device. NULL is fine. */
void ivs_device_close(struct ivs_device *device);

/** ivs_device_discard() - close a device that has served no VMM; remove the region if it made it */
void ivs_device_discard(struct ivs_device *device);

/** ivs_device_name() - its name in the log: the path of its socket */
const char *ivs_device_name(const struct ivs_device *device);

/** ivs_device_options() - those that it was made with */
const struct ivs_device_options *ivs_device_options(const struct ivs_device *device);

#endif
