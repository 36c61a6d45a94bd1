/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Shared by the files of a device. Calls go one way: loop.c -> device.c -> vmm.c -> server.c ->
 * bar2.c; status.c reads only.
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
 * @SERVER_NONE:         no server: a plain region
 * @SERVER_LOST:         not connected; connecting is retried
 * @SERVER_CONNECTED:    connected; the region has not been received yet
 * @SERVER_JOINED:       the device is a peer
 * @SERVER_OTHER_REGION: the server has another region than the VM; retried when the VMM has left
 */
enum ivs_device_server_state {
	SERVER_NONE,
	SERVER_LOST,
	SERVER_CONNECTED,
	SERVER_JOINED,
	SERVER_OTHER_REGION,
};

/** struct ivs_device_vector - one of the device's own vectors: its eventfd */
struct ivs_device_vector {
	struct ivs_device *device;
	struct ivs_loop_source source;
	int fd;
};

/**
 * struct ivs_device_server - the server of which the device is a client
 * @connection:    the present connection, or the last one, whose doorbells continue to work
 * @pending:       CONNECTED: the connection that may replace it
 * @source:        the socket of the connection that is open; only one is
 * @greeting:      of @pending, and then of @connection
 * @vectors:       own, in order
 * @retry_timer:   when to connect again, or to stop waiting for the region
 * @pause_ms:      before the next attempt
 * @retried_early: one attempt was made for a VMM since the last attempt by @retry_timer
 * @stable_ns:     JOINED: a connection that lasts until then counts as successful
 * @since_ms:      when the state was entered, ms since 1970
 * @joins:         how often the device became a peer
 * @last_id:       the last id that it was assigned; -1: none yet
 * @problem:       why it is not a peer
 * @limit:         of log lines: a server that restarts all the time must not fill the log
 */
struct ivs_device_server {
	enum ivs_device_server_state state;
	struct ivs_connection connection;
	struct ivs_connection pending;
	struct ivs_loop_source source;
	struct ivs_greeting greeting;
	struct ivs_device_vector vectors[IVS_MSIX_VECTORS_MAX];
	unsigned int vectors_n;
	struct ivs_loop_timer retry_timer;
	unsigned int pause_ms;
	bool retried_early;
	int64_t stable_ns;
	int64_t since_ms;
	uint64_t joins;
	int last_id;
	struct ivs_error problem;
	struct ivs_log_limit limit;
};

/**
 * struct ivs_device_bar2 - the memory that BAR 2 shows
 * @len:    bytes of BAR 2; 0: not known yet
 * @fd:     the region, read-only if the VM may only read it; -1: none yet
 * @region: if the device opened the region itself
 * @st:     identifies the file
 */
struct ivs_device_bar2 {
	uint64_t len;
	int fd;
	struct ivs_region *region;
	struct stat st;
};

/**
 * struct ivs_device_totals - since the device was opened
 * @rung:        doorbells received
 * @lost:        doorbells of the guest to peers or vectors that do not exist
 * @turned_away: connections refused because a VMM was connected already
 */
struct ivs_device_totals {
	uint64_t rung;
	uint64_t lost;
	uint64_t turned_away;
};

/**
 * struct ivs_device - one device
 * @loop:            NULL: not in one yet
 * @listener_source: not in the loop while accepting is paused
 * @accept_timer:    set: when to accept again
 * @greet_timer:     set: until when the VMM has to send its first message
 * @limit:           of warnings, and @info_limit of other lines: untrusted processes cause them
 * @vmm_checked:     the log has what there is to warn about the connected VMM
 * @vectors_checked: the log has what there is to warn about the number of vectors
 * @ended:           the VMM on an inherited connection has left: no other can come
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
	struct ivs_device_bar2 bar2;
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

/* device.c */

/**
 * ivs_device_start() - join the server, make the PCI function and serve it in @loop
 *
 * Return: 0, IVS_DEVICE_E_SERVER, IVS_DEVICE_E_OPTIONS, -errno.
 */
IVS_MUST_USE int ivs_device_start(struct ivs_device *device, struct ivs_loop *loop,
				  struct ivs_error *err);

/* vmm.c */

/** ivs_device_vmm_init() - nothing is watched yet */
void ivs_device_vmm_init(struct ivs_device *device);

/** ivs_device_vmm_start() - accept VMMs, or serve the inherited one. Return: 0 or -errno. */
IVS_MUST_USE int ivs_device_vmm_start(struct ivs_device *device);

/** ivs_device_vmm_update_migration() - decide again whether the device can be migrated */
void ivs_device_vmm_update_migration(struct ivs_device *device);

/** ivs_device_vmm_resume_accepting() - unless a server is about to send its region */
void ivs_device_vmm_resume_accepting(struct ivs_device *device);

void ivs_device_vmm_close(struct ivs_device *device);

/* server.c */

/** ivs_device_is_master() - whether a VMM may migrate the device */
bool ivs_device_is_master(const struct ivs_device *device);

/** ivs_device_server_init() - @handle: the handler of server.source */
void ivs_device_server_init(struct ivs_device *device,
			    void (*handle)(struct ivs_loop_source *source, uint32_t events));

/**
 * ivs_device_server_open() - join the server, within 5 s
 *
 * Return: 0, also if options.late and there is no server yet; IVS_DEVICE_E_SERVER;
 * IVS_DEVICE_E_OPTIONS; -errno.
 */
IVS_MUST_USE int ivs_device_server_open(struct ivs_device *device, struct ivs_error *err);

/**
 * ivs_device_server_receive() - process a bounded number of messages of the server
 *
 * Return: whether the device joined the server.
 */
bool ivs_device_server_receive(struct ivs_device *device);

/** ivs_device_server_ring() - the guest rings */
void ivs_device_server_ring(struct ivs_device *device, unsigned int peer, unsigned int vector);

/** ivs_device_server_vmm_gone() - no VMM has the memory mapped any more */
void ivs_device_server_vmm_gone(struct ivs_device *device);

/** ivs_device_server_has_vectors() - whether the device is a peer and has all its own vectors */
bool ivs_device_server_has_vectors(const struct ivs_device *device);

/**
 * ivs_device_server_region_due_ms() - a VMM is about to get the memory; connect once if necessary
 *
 * Return: how long the VMM should wait for the server's region, at most 2000 ms; 0: not at all.
 */
int ivs_device_server_region_due_ms(struct ivs_device *device);

/** ivs_device_server_is_connected() - whether the server is about to send its region */
bool ivs_device_server_is_connected(const struct ivs_device *device);

void ivs_device_server_close(struct ivs_device *device);

/* bar2.c */

/** ivs_device_bar2_open() - the region of the options. Return: 0, IVS_DEVICE_E_*, -errno. */
IVS_MUST_USE int ivs_device_bar2_open(struct ivs_device *device, struct ivs_error *err);

/**
 * ivs_device_bar2_replace() - show the region of a server from now on
 * @fd: set to -1 if taken
 *
 * Return: 0; IVS_DEVICE_E_OPTIONS: it does not fit the options; -errno.
 */
IVS_MUST_USE int ivs_device_bar2_replace(struct ivs_device *device, int *fd, struct ivs_error *err);

/** ivs_device_bar2_shows() - whether @fd is the file that BAR 2 shows */
bool ivs_device_bar2_shows(const struct ivs_device *device, int fd);

void ivs_device_bar2_close(struct ivs_device *device);

/** ivs_device_bar2_memory() - BAR 2 in the form that the session takes */
struct ivs_vfio_user_memory ivs_device_bar2_memory(const struct ivs_device *device);

#endif
