/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Declarations shared by the files of this room. Calls go one way: loop.c -> device.c -> vmm.c ->
 * server.c -> doorbells.c, bar2.c, discard.c; status.c only reads state.
 */
#ifndef IVS_DEVICE_PRIVATE_H
#define IVS_DEVICE_PRIVATE_H

#include <sys/stat.h>

#include "base/clock.h"
#include "client/greeting.h"
#include "daemon/closer.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "daemon/slow.h"
#include "device/device.h"
#include "region/received.h"
#include "region/watch.h"

/**
 * enum ivs_device_server_state - the connection to the server
 * @SERVER_NONE:         the device has a plain region and no server
 * @SERVER_LOST:         not connected; connecting is retried
 * @SERVER_CONNECTED:    connected, but the region has not been received yet
 * @SERVER_JOINED:       connected; the device is a peer
 * @SERVER_OTHER_REGION: not connected, because the server's region is not the one that the VMM has
 *                       mapped; connecting is retried once the VMM has left
 */
enum ivs_device_server_state {
	SERVER_NONE,
	SERVER_LOST,
	SERVER_CONNECTED,
	SERVER_JOINED,
	SERVER_OTHER_REGION,
};

/** struct ivs_device_vector - the eventfd of one of the device's own vectors */
struct ivs_device_vector {
	struct ivs_device *device;
	struct ivs_loop_source source;
	int fd;
};

/**
 * struct ivs_device_server - the server of which the device is a client
 * @disposal:      closes what the server has sent
 * @mounts:        used to find out what kind of file the region is
 * @kept_n:        number of fds from the server that stay open, because closing them could block
 * @connection:    the current connection, or the last one, whose doorbells continue to work
 * @pending:       in the state CONNECTED, the connection that may replace @connection
 * @source:        watches the socket of @connection or @pending; at most one of them is open
 * @greeting:      progress of the greeting, which begins on @pending and ends on @connection
 * @vectors:       the device's own vectors, by number
 * @retry_timer:   when to connect again; in the state CONNECTED, when to give up on the region
 * @pause_timer:   set while nothing is received, because fds that the server sent stay open
 * @pause_ms:      delay before the next attempt to connect
 * @retried_early: since the last attempt by @retry_timer, a VMM has caused an extra attempt
 * @stable_ns:     in the state JOINED: a connection that lasts until this time counts as stable
 * @since_ms:      when the state was entered, in ms since 1970
 * @slow:          accounts for calls that the server and peers slow down
 * @joins:         how many times the device has joined the server
 * @last_id:       the id that was assigned most recently; -1: none yet
 * @problem:       why the device is not a peer
 * @limit:         limits log lines, because a server that keeps restarting must not fill the log
 */
struct ivs_device_server {
	struct ivs_disposal disposal;
	enum ivs_device_server_state state;
	struct ivs_received_mounts mounts;
	unsigned int kept_n;
	struct ivs_connection connection;
	struct ivs_connection pending;
	struct ivs_loop_source source;
	struct ivs_greeting greeting;
	struct ivs_device_vector vectors[IVS_MSIX_VECTORS_MAX];
	unsigned int vectors_n;
	struct ivs_loop_timer retry_timer;
	struct ivs_loop_timer pause_timer;
	unsigned int pause_ms;
	bool retried_early;
	int64_t stable_ns;
	int64_t since_ms;
	struct ivs_slow slow;
	uint64_t joins;
	int last_id;
	struct ivs_error problem;
	struct ivs_log_limit limit;
};

/**
 * struct ivs_device_bar2 - the memory that BAR 2 shows
 * @len:    length of BAR 2 in bytes; 0: not known yet
 * @fd:     the region's file, open read-only if the VM may only read the region; -1: none yet
 * @region: the region, if the device opened it itself; NULL with a server
 * @watch:  the file of @region, as it was when it was opened
 * @st:     identifies the region's file
 */
struct ivs_device_bar2 {
	uint64_t len;
	int fd;
	struct ivs_region *region;
	struct ivs_region_watch watch;
	struct stat st;
};

/**
 * struct ivs_device_totals - counters since the device was opened
 * @rung:        doorbells received
 * @lost:        doorbells rung by the guest that could not be sent to a peer
 * @turned_away: connections refused because a VMM was already connected
 */
struct ivs_device_totals {
	uint64_t rung;
	uint64_t lost;
	uint64_t turned_away;
};

/**
 * struct ivs_device - one device
 * @loop:            the loop that serves the device; NULL before ivs_device_start()
 * @listener_source: watches the listener; not in the loop while accepting is paused
 * @accept_timer:    if set, accepting is paused until it expires
 * @closer:          the helper processes that close the VMM's fds; fds from the server go to the
 *                   pool of the program
 * @closer_timer:    set while fds of VMMs are kept, because these helper processes are blocked
 * @kept_until_ns:   when to disconnect the VMM if too many fds are still kept; 0: not too many are
 *                   kept
 * @greet_timer:     if set, the VMM has to send a valid first message before it expires
 * @slow:            accounts for calls that VMMs slow down
 * @limit:           rate limit of the warnings; @info_limit limits the other log lines that VMMs
 *                   can cause
 * @vmm_checked:     the connected VMM has been checked, and a warning has been logged if necessary
 * @vectors_checked: the number of vectors has been checked, and a warning has been logged if
 *                   necessary
 * @ended:           the VMM on an inherited connection has left, so no other can connect
 */
struct ivs_device {
	struct ivs_device_options opts;
	char name[sizeof(((struct ivs_listener *)0)->path)];
	struct ivs_loop *loop;
	struct ivs_listener listener;
	struct ivs_loop_source listener_source;
	struct ivs_loop_timer accept_timer;
	struct ivs_loop_timer greet_timer;
	struct ivs_loop_timer closer_timer;
	int64_t kept_until_ns;
	struct ivs_closer closer;
	struct ivs_pci_function function;
	struct ivs_vfio_user *session;
	struct ivs_device_bar2 bar2;
	struct ivs_device_server server;
	struct ivs_device_totals totals;
	struct ivs_slow slow;
	struct ivs_log_limit limit;
	struct ivs_log_limit info_limit;
	bool vmm_checked;
	bool vectors_checked;
	bool ended;
};

extern const struct ivs_syscall ivs_device_syscalls[];
extern const struct ivs_syscall ivs_device_bar2_syscalls[];
extern const struct ivs_syscall ivs_device_bar2_ro_syscalls[];
extern const struct ivs_syscall ivs_device_discard_syscalls[];
extern const struct ivs_syscall ivs_device_server_syscalls[];

/* device.c */

/**
 * ivs_device_start() - join the server, create the PCI function and serve it in @loop
 *
 * Return: 0, IVS_DEVICE_E_SERVER, IVS_DEVICE_E_OPTIONS, -errno.
 */
IVS_MUST_USE int ivs_device_start(struct ivs_device *device, struct ivs_loop *loop,
				  struct ivs_error *err);

/* vmm.c */

/** ivs_device_vmm_init() - set the handlers, without watching an fd yet */
void ivs_device_vmm_init(struct ivs_device *device);

/** ivs_device_vmm_start() - accept VMMs, or serve an inherited connection. Return: 0 or -errno. */
IVS_MUST_USE int ivs_device_vmm_start(struct ivs_device *device);

/** ivs_device_vmm_serve() - process a bounded number of the VMM's messages */
void ivs_device_vmm_serve(struct ivs_device *device);

/** ivs_device_vmm_update_migration() - allow or forbid migration after the id has changed */
void ivs_device_vmm_update_migration(struct ivs_device *device);

/** ivs_device_vmm_resume_accepting() - accept VMMs, unless a server is about to send its region */
void ivs_device_vmm_resume_accepting(struct ivs_device *device);

void ivs_device_vmm_close(struct ivs_device *device);

/* server.c */

/** ivs_device_is_master() - whether a VMM may migrate the device */
bool ivs_device_is_master(const struct ivs_device *device);

/** ivs_device_server_init() - initialise without connecting; @handle handles server.source */
void ivs_device_server_init(struct ivs_device *device,
			    void (*handle)(struct ivs_loop_source *source, uint32_t events));

/**
 * ivs_device_server_open() - join the server, within 5 s
 *
 * If joining fails and options.late is set, joining is retried in the background.
 *
 * Return: 0; IVS_DEVICE_E_SERVER; IVS_DEVICE_E_OPTIONS; -errno.
 */
IVS_MUST_USE int ivs_device_server_open(struct ivs_device *device, struct ivs_error *err);

/**
 * ivs_device_server_receive() - process a bounded number of messages from the server
 *
 * Return: whether the device joined the server.
 */
bool ivs_device_server_receive(struct ivs_device *device);

/** ivs_device_server_ring() - ring @vector of @peer for the guest */
void ivs_device_server_ring(struct ivs_device *device, unsigned int peer, unsigned int vector);

/**
 * ivs_device_server_vmm_gone() - connect to a server whose region is a different one; call this
 * once the VMM has left
 */
void ivs_device_server_vmm_gone(struct ivs_device *device);

/** ivs_device_server_has_vectors() - whether the device is a peer and has all of its own vectors */
bool ivs_device_server_has_vectors(const struct ivs_device *device);

/**
 * ivs_device_server_region_due_ms() - before accepting a VMM, try once to reach a lost server
 *
 * Return: how long the VMM should wait for the server's region, at most 2000 ms; 0: not at all.
 */
int ivs_device_server_region_due_ms(struct ivs_device *device);

/** ivs_device_server_is_connected() - whether the server is about to send its region */
bool ivs_device_server_is_connected(const struct ivs_device *device);

void ivs_device_server_close(struct ivs_device *device);

/* doorbells.c */

/**
 * ivs_device_doorbells_add() - use @fd for the device's next own vector, and watch it
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_device_doorbells_add(struct ivs_device *device, int *fd);

/**
 * ivs_device_doorbells_replace() - deliver pending doorbells, and close the device's own vectors
 */
void ivs_device_doorbells_replace(struct ivs_device *device);

/** ivs_device_doorbells_close() - close the device's own vectors */
void ivs_device_doorbells_close(struct ivs_device *device);

/** ivs_device_doorbells_ring() - ring for the guest. Return: whether peer and vector exist. */
bool ivs_device_doorbells_ring(struct ivs_device *device, unsigned int peer, unsigned int vector);

/* discard.c */

/* Once this many fds of its server have to stay open, a device no longer connects to it. */
#define IVS_DEVICE_KEPT_MAX 16

/** ivs_device_discard_init() - set server.disposal */
void ivs_device_discard_init(struct ivs_device *device);

/* While more fds of its server are waiting to be closed, a device receives nothing from it. */
#define IVS_DEVICE_WAITING_MAX 64

/** ivs_device_discard_waiting_n() - number of fds of the server that are waiting to be closed */
unsigned int ivs_device_discard_waiting_n(const struct ivs_device *device);

/**
 * ivs_device_discard_retry() - retry passing on the fds that are waiting to be closed
 *
 * Return: whether more than IVS_DEVICE_WAITING_MAX fds are still waiting.
 */
bool ivs_device_discard_retry(const struct ivs_device *device);

/** ivs_device_discard_keeps_many() - whether at least IVS_DEVICE_KEPT_MAX fds have to stay open */
bool ivs_device_discard_keeps_many(const struct ivs_device *device);

/* bar2.c */

/** ivs_device_bar2_open() - open and show options.region. Return: 0, IVS_DEVICE_E_*, -errno. */
IVS_MUST_USE int ivs_device_bar2_open(struct ivs_device *device, struct ivs_error *err);

/**
 * ivs_device_bar2_replace() - show a different region from now on
 * @fd: the region's file; set to -1 if it was taken
 *
 * Return: 0; IVS_DEVICE_E_OPTIONS: the region does not fit the options; -errno.
 */
IVS_MUST_USE int ivs_device_bar2_replace(struct ivs_device *device, int *fd, struct ivs_error *err);

/** ivs_device_bar2_shows() - whether @fd is the file that BAR 2 shows */
bool ivs_device_bar2_shows(const struct ivs_device *device, int fd);

void ivs_device_bar2_close(struct ivs_device *device);

/** ivs_device_bar2_memory() - the memory behind BAR 2, for the session */
struct ivs_vfio_user_memory ivs_device_bar2_memory(const struct ivs_device *device);

#endif
