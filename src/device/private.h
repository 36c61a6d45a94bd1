/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a device. Calls go one way:
 *
 *   loop.c     several devices and a control socket on one event loop
 *   device.c   making a device of all that follows
 *   vmm.c      the VMM: accept it, serve it
 *   server.c   being the client of an ivshmem-server, again and again
 *   bar2.c     the memory that BAR 2 shows
 *
 * What server.c finds out and others have to act on, they see afterwards: a new region in
 * ivs_device_server_receive()'s result, a region to come in ivs_device_server_is_greeted().
 */
#ifndef IVS_DEVICE_PRIVATE_H
#define IVS_DEVICE_PRIVATE_H

#include <sys/stat.h>

#include "base/clock.h"
#include "client/greeting.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "device/device.h"

/**
 * enum ivs_device_server_state - the device and its server
 * @SERVER_NONE:         there is no server: a plain region
 * @SERVER_LOST:         not connected; retried
 * @SERVER_CONNECTED:    connected; the region has not come yet
 * @SERVER_JOINED:       a peer of this server
 * @SERVER_OTHER_REGION: the server has another region than the VM; retried when the VMM has left
 */
enum ivs_device_server_state {
	SERVER_NONE,
	SERVER_LOST,
	SERVER_CONNECTED,
	SERVER_JOINED,
	SERVER_OTHER_REGION,
};

/** struct ivs_device_vector - an own vector, as the server has assigned it */
struct ivs_device_vector {
	struct ivs_loop_source source;
	struct ivs_device *device;
	int fd;
};

/**
 * struct ivs_device_server - the server of which the device is a client
 * @connection:    the present connection, or the last one
 * @pending:       CONNECTED: the connection that may replace it
 * @greeting:      of @pending, and then of @connection
 * @source:        the socket of @connection or @pending; its handler is set by device.c
 * @vectors:       own vectors, in order
 * @retry:         connect again, or give up a silent server
 * @pause_ms:      before the next try
 * @retried_early: a VMM has caused one more try since the last scheduled one
 * @useful_ns:     JOINED: a connection that lasts until then counts as successful
 * @since_ms:      when the state was entered, ms since 1970
 * @joins_n:       how often the device has joined
 * @last_id:       its id after the last join; -1: none yet
 * @problem:       why it is not a peer
 * @limit:         of log lines: a server can come and go in a loop
 */
struct ivs_device_server {
	enum ivs_device_server_state state;
	struct ivs_connection connection;
	struct ivs_connection pending;
	struct ivs_greeting greeting;
	struct ivs_loop_source source;
	struct ivs_device_vector vectors[IVS_MSIX_VECTORS_MAX];
	unsigned int vectors_n;
	struct ivs_loop_timer retry;
	unsigned int pause_ms;
	bool retried_early;
	int64_t useful_ns;
	int64_t since_ms;
	uint64_t joins_n;
	int last_id;
	struct ivs_error problem;
	struct ivs_log_limit limit;
};

/**
 * struct ivs_device_bar2 - what BAR 2 shows
 * @len:    of BAR 2; 0: not known yet
 * @fd:     of the region, read-only if the VM may only read; -1: none yet
 * @region: the region, if this process opened it
 * @st:     which file it is
 */
struct ivs_device_bar2 {
	uint64_t len;
	int fd;
	struct ivs_region *region;
	struct stat st;
};

/**
 * struct ivs_device_totals - since the device was opened
 * @rung:    doorbells that peers rang here
 * @lost:    doorbells of the guest to a peer or vector that does not exist
 * @turned:  VMMs turned away, because one was connected already
 */
struct ivs_device_totals {
	uint64_t rung;
	uint64_t lost;
	uint64_t turned;
};

/**
 * struct ivs_device - one device
 * @loop:            NULL: not started
 * @listener_source: @listener, while VMMs are accepted
 * @session_source:  @session
 * @accept_timer:    set: accept again then
 * @greet_timer:     set: disconnect a VMM that has sent nothing until then
 * @limit:           of warnings, and @info_limit of progress messages: VMMs must not fill the log
 * @vmm_checked:     the log says what has to be said about the VMM
 * @vectors_checked: likewise about its vectors
 * @ended:           the VMM on an inherited connection has left, and no other can come
 */
struct ivs_device {
	struct ivs_device_options opts;
	char name[sizeof(((struct ivs_listener *)0)->path)];
	struct ivs_loop *loop;
	struct ivs_listener listener;
	struct ivs_loop_source listener_source;
	struct ivs_loop_source session_source;
	struct ivs_loop_timer accept_timer;
	struct ivs_loop_timer greet_timer;
	struct ivs_pci_function function;
	struct ivs_vfio_user *session;
	struct ivs_device_bar2 memory;
	struct ivs_device_server server;
	struct ivs_device_totals totals;
	struct ivs_log_limit limit;
	struct ivs_log_limit info_limit;
	bool vmm_checked;
	bool vectors_checked;
	bool ended;
};

extern const struct ivs_syscall ivs_device_syscalls[];
extern const struct ivs_syscall ivs_device_bar2_syscalls[];
extern const struct ivs_syscall ivs_device_bar2_ro_syscalls[];
extern const struct ivs_syscall ivs_device_server_syscalls[];

/**
 * ivs_device_is_master() - whether a VMM may migrate the device with its memory
 *
 * After migration the guest expects id 0 on the destination.
 */
static inline bool ivs_device_is_master(const struct ivs_device *device)
{
	int id = device->server.last_id;

	if (device->opts.role == IVS_DEVICE_PEER || id > 0 ||
	    device->opts.access != IVS_DEVICE_WRITES)
		return false;
	return device->opts.role == IVS_DEVICE_MASTER || !device->opts.server || id == 0;
}

/* device.c */

/** ivs_device_start() - join the server, if there is one, and wait for a VMM in @loop */
IVS_MUST_USE int ivs_device_start(struct ivs_device *device, struct ivs_loop *loop,
				  struct ivs_error *err);

/* vmm.c */

/** ivs_device_vmm_init() - before the device is started */
void ivs_device_vmm_init(struct ivs_device *device);

/** ivs_device_vmm_start() - wait for a VMM, or serve the inherited one. Return: 0 or -errno. */
IVS_MUST_USE int ivs_device_vmm_start(struct ivs_device *device);

/** ivs_device_vmm_set_migration() - tell the VMM from now on whether the device can be migrated */
void ivs_device_vmm_set_migration(struct ivs_device *device);

/** ivs_device_vmm_may_come() - accept a VMM that had to wait for a server's region */
void ivs_device_vmm_may_come(struct ivs_device *device);

/** ivs_device_vmm_stop() - leave the loop */
void ivs_device_vmm_stop(struct ivs_device *device);

/* bar2.c */

/** ivs_device_bar2_open() - the region of the options. Return: 0, IVS_DEVICE_E_*, -errno. */
IVS_MUST_USE int ivs_device_bar2_open(struct ivs_device *device, struct ivs_error *err);

/**
 * ivs_device_bar2_take() - show a server's region in place of any other
 * @fd: set to -1 if taken
 *
 * Return: 0, IVS_DEVICE_E_OPTIONS, -errno.
 */
IVS_MUST_USE int ivs_device_bar2_take(struct ivs_device *device, int *fd, struct ivs_error *err);

/** ivs_device_bar2_is() - whether @fd is the file that BAR 2 shows already */
bool ivs_device_bar2_is(const struct ivs_device *device, int fd);

void ivs_device_bar2_close(struct ivs_device *device);

/** ivs_device_bar2_memory() - for the session */
struct ivs_vfio_user_memory ivs_device_bar2_memory(const struct ivs_device *device);

/* server.c */

/** ivs_device_server_init() - before the device is started */
void ivs_device_server_init(struct ivs_device *device);

/** ivs_device_server_open() - join, within 5 s. Return: 0, IVS_DEVICE_E_*, -errno. */
IVS_MUST_USE int ivs_device_server_open(struct ivs_device *device, struct ivs_error *err);

/** ivs_device_server_receive() - take what the server has sent. Return: whether the device has joined. */
bool ivs_device_server_receive(struct ivs_device *device);

/** ivs_device_server_ring() - the guest rings @vector of @peer */
void ivs_device_server_ring(struct ivs_device *device, unsigned int peer, unsigned int vector);

/** ivs_device_server_vmm_left() - no VMM has the memory mapped */
void ivs_device_server_vmm_left(struct ivs_device *device);

/** ivs_device_server_has_vectors() - whether the device has joined and all own vectors have come */
bool ivs_device_server_has_vectors(const struct ivs_device *device);

/**
 * ivs_device_server_region_due_ms() - a VMM is about to be given the memory: retry, if that is due
 *
 * Return: for how long it should wait for a region that a server is about to send, at most 2000 ms;
 * 0: for none.
 */
int ivs_device_server_region_due_ms(struct ivs_device *device);

/** ivs_device_server_is_greeted() - whether a server is about to send its region */
bool ivs_device_server_is_greeted(const struct ivs_device *device);

/** ivs_device_server_close() - leave the loop and the server */
void ivs_device_server_close(struct ivs_device *device);

#endif
