/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device: the PCI function, the socket to which a VMM connects, and the memory behind BAR 2. The
 * memory is a plain region or the region of an ivshmem-server. In the latter case the device is a
 * client of the server, and sends and receives doorbells.
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
	IVS_DEVICE_E_OPTIONS = 1, /* the options are invalid, or do not fit the region */
	IVS_DEVICE_E_SOCKET,	  /* the path is not usable, or another process listens there */
	IVS_DEVICE_E_REGION,	  /* the region cannot be opened or created */
	IVS_DEVICE_E_SERVER,	  /* the server is absent, or the device cannot join it */
	IVS_DEVICE_E_AGAIN,	  /* internal: the server has sent nothing more */
	IVS_DEVICE_E_LOST,	  /* internal: the connection to the server is lost */
};

/**
 * enum ivs_device_role - whether a VMM may migrate the device
 * @IVS_DEVICE_AUTO: as in QEMU before 4.0: master if the device has id 0 or no server
 */
enum ivs_device_role {
	IVS_DEVICE_PEER,
	IVS_DEVICE_MASTER,
	IVS_DEVICE_AUTO,
};

/**
 * enum ivs_device_access - what a VM may do with the memory
 * @IVS_DEVICE_READS:         read the memory in a read-only mapping; a write may make the VMM exit
 * @IVS_DEVICE_READS_TRAPPED: read the memory through messages instead of a mapping; writes have no
 *                            effect
 */
enum ivs_device_access {
	IVS_DEVICE_WRITES,
	IVS_DEVICE_READS,
	IVS_DEVICE_READS_TRAPPED,
};

/**
 * struct ivs_device_options - options of a device; strings must outlive the device
 * @socket:      the socket on which to listen; if the path is NULL, @socket_fd is used instead
 * @socket_fd:   an inherited socket that is listening or is connected to a VMM
 * @function:    options of the PCI function. If memory_len is 0, BAR 2 has the length of the window
 *               or the region, which may change when a server is restarted. Revision 0 requires
 *               memory_len, because its server may be started later.
 * @doorbells_n: number of the device's own vectors, at most IVS_MSIX_VECTORS_MAX. With MSI-X it is
 *               also the number of interrupts; without MSI-X each of the vectors raises the pin.
 * @remote_fds_limit: maximum number of other peers' doorbells to store; 0: no limit
 * @server:      path of an ivshmem-server's socket; NULL: use @region
 * @region:      address of a region; NULL: use @server
 * @region_opts: options for opening @region
 * @late:        if the server is absent, start without it instead of failing (revision 0)
 * @window:      the part of the region that BAR 2 shows; all 0: the whole region
 * @access:      what the VM may do with the window
 * @any_file_system: accept a server's region even if it can make this process wait; see
 *                   region/received.h
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
	bool any_file_system;
};

struct ivs_device;

/*
 * A device is set up in four steps: ivs_device_open() opens its socket, ivs_device_open_closer()
 * starts its helper processes, ivs_device_open_region() opens its region, and ivs_device_loop_add()
 * joins its server and creates the PCI function. With several devices, complete each step for all
 * of them before the next step. This way, a socket that cannot be opened is reported before any
 * region is created, and a region that cannot be opened is reported before any server announces a
 * peer.
 */

/** ivs_device_open() - create a device with its socket. Return: 0, IVS_DEVICE_E_SOCKET, -errno. */
IVS_MUST_USE int ivs_device_open(const struct ivs_device_options *opts, struct ivs_device **out,
				 struct ivs_error *err);

/**
 * ivs_device_open_closer() - start the helper processes that close the fds of its VMMs
 * @confine, @context: see ivs_closer_open()
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_device_open_closer(struct ivs_device *device,
					int (*confine)(const void *context), const void *context,
					struct ivs_error *err);

/**
 * ivs_device_open_region() - open or create the region of @device; no-op if @device has a server
 *
 * Return: 0, IVS_DEVICE_E_REGION, IVS_DEVICE_E_OPTIONS, -errno.
 */
IVS_MUST_USE int ivs_device_open_region(struct ivs_device *device, struct ivs_error *err);

/** ivs_device_close() - disconnect the VMM and free @device; NULL is ignored */
void ivs_device_close(struct ivs_device *device);

/**
 * ivs_device_discard() - close a device that no VMM has used, and remove the region that the device
 * created
 */
void ivs_device_discard(struct ivs_device *device);

/** ivs_device_region() - the region that the device opened by its address; NULL: none */
const struct ivs_region *ivs_device_region(const struct ivs_device *device);

/** ivs_device_name() - the device's name in the log: the path of its socket, or "fd N" */
const char *ivs_device_name(const struct ivs_device *device);

#endif
