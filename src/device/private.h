/* SPDX-License-Identifier: BSD-3-Clause */
/* The inside of a device, for the files that make it: device.c, vmm.c, memory.c, upstream.c, loop.c, status.c. */
#ifndef IVS_DEVICE_PRIVATE_H
#define IVS_DEVICE_PRIVATE_H

#include <sys/epoll.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "client/greeting.h"
#include "daemon/log.h"
#include "device/device.h"
#include "protocol/v0.h"

/* What an epoll event is about: the device's first tag, and one of these. */
enum ivs_device_tag {
	DEVICE_LISTENER,
	DEVICE_SESSION,
	DEVICE_LINK,
	DEVICE_VECTOR, /* + number */
	DEVICE_TAGS = 4096,
};

/**
 * enum ivs_device_server_state - the device and its server
 * @SERVER_NONE:    there is none: a plain region
 * @SERVER_LOST:    it is tried again and again
 * @SERVER_CONNECTED: connected; the region has not come yet
 * @SERVER_JOINED:  a peer among peers
 * @SERVER_OTHER_REGION: it has another region than the one that the VM has; tried again when the VM has gone
 */
enum ivs_device_server_state {
	SERVER_NONE,
	SERVER_LOST,
	SERVER_CONNECTED,
	SERVER_JOINED,
	SERVER_OTHER_REGION,
};

/**
 * struct ivs_device_server - the server of which the device is a client
 * @connection:        the present connection, or the last one
 * @fresh:       GREETED: the one that may follow it
 * @vectors:     one's own, in order
 * @retry_ns:    when to try again, or to give up waiting; ivs_clock_ns() time
 * @pause_ms:    before the next try
 * @has_hurried: a VMM that came has been one try more since the last other one
 * @useful_ns:   JOINED: a server that is there for so long is of use
 * @greeting:    of @fresh, and then of @connection
 * @since_ms:    when the state was entered, ms since 1970
 * @joins:       how often it became a peer
 * @last_id:     the id that it had last; -1: none yet
 * @problem:     why it is not a peer
 * @limit:       a server that comes and goes must not fill the log
 */
struct ivs_device_server {
	enum ivs_device_server_state state;
	struct ivs_connection connection;
	struct ivs_connection fresh;
	struct ivs_greeting greeting;
	int vectors[IVS_MSIX_VECTORS_MAX];
	unsigned int vectors_n;
	int64_t retry_ns;
	unsigned int pause_ms;
	bool has_hurried;
	int64_t useful_ns;
	int64_t since_ms;
	uint64_t joins;
	int last_id;
	struct ivs_error problem;
	struct ivs_log_limit limit;
};

/**
 * struct ivs_device_bar2 - what BAR 2 shows
 * @len:    of BAR 2; 0: not known yet
 * @fd:     of the region, read-only if the VM may only read; -1: none yet
 * @region: if it is ours to have opened
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
 * @lost:    doorbells of the guest for whom nobody was there
 * @turned:  away, because a VMM was there already
 */
struct ivs_device_totals {
	uint64_t rung;
	uint64_t lost;
	uint64_t turned;
};

/**
 * struct ivs_device - one
 * @epoll_fd:     the loop's; -1: not in one yet
 * @tag:       the first of its DEVICE_TAGS tags there
 * @limit:     of warnings, and @news: of what goes on: strangers must not fill the log
 * @accept_ns: when to accept again; IVS_CLOCK_NEVER: accepting
 * @greet_ns:  until when the VMM has to say something; IVS_CLOCK_NEVER: it has, or there is none
 * @judged:    the log says what there is to say of the VMM that is there, and @counted: of its vectors
 * @ended:     the VMM on an inherited connection is gone: nobody can come any more
 */
struct ivs_device {
	struct ivs_device_options opts;
	char name[sizeof(((struct ivs_listener *)0)->path)];
	int epoll_fd;
	uint32_t tag;
	struct ivs_listener listener;
	struct ivs_pci_function function;
	struct ivs_vfio_user *session;
	struct ivs_device_bar2 memory;
	struct ivs_device_server server;
	struct ivs_device_totals totals;
	struct ivs_log_limit limit;
	struct ivs_log_limit news;
	int64_t accept_ns;
	int64_t greet_ns;
	bool judged;
	bool counted;
	bool ended;
};

extern const struct ivs_syscall ivs_device_syscalls[];
extern const struct ivs_syscall ivs_device_bar2_syscalls[];
extern const struct ivs_syscall ivs_device_bar2_ro_syscalls[];
extern const struct ivs_syscall ivs_device_server_syscalls[];

/** ivs_device_watch() - have the loop's epoll watch @fd. Return: 0 or -errno. */
IVS_MUST_USE int ivs_device_watch(struct ivs_device *device, int fd, uint32_t tag);

/**
 * ivs_device_start() - be in a loop: its @epoll, and the first of the device's tags; and be a peer
 *
 * Return: as ivs_device_loop_add().
 */
IVS_MUST_USE int ivs_device_start(struct ivs_device *device, int epoll, uint32_t tag,
				  struct ivs_error *err);

/** ivs_device_is_master() - whether a VMM may migrate the device */
bool ivs_device_is_master(const struct ivs_device *device);

/** ivs_device_handle() - an event with one of the device's tags, less the first */
void ivs_device_handle(struct ivs_device *device, uint32_t tag);

/** ivs_device_deadline() - when ivs_device_tick() is due, ivs_clock_ns() time; IVS_CLOCK_NEVER */
int64_t ivs_device_deadline(const struct ivs_device *device);

/** ivs_device_tick() - what is due by now */
void ivs_device_tick(struct ivs_device *device);

/* vmm.c */

/** ivs_device_vmm_accept() - somebody wants to connect */
void ivs_device_vmm_accept(struct ivs_device *device);

/** ivs_device_vmm_serve() - what the VMM has sent */
void ivs_device_vmm_serve(struct ivs_device *device);

/** ivs_device_vmm_set_migration() - what a VMM is told from now on of whether the device can be migrated */
void ivs_device_vmm_set_migration(struct ivs_device *device);

/** ivs_device_vmm_deadline() - when ivs_device_vmm_tick() is due; IVS_CLOCK_NEVER */
int64_t ivs_device_vmm_deadline(const struct ivs_device *device);

/** ivs_device_vmm_tick() - what is due by now */
void ivs_device_vmm_tick(struct ivs_device *device);

/** ivs_device_vmm_may_come() - whoever had to wait for the region of a server need not any more */
void ivs_device_vmm_may_come(struct ivs_device *device);

/*
 * memory.c. Return: 0, IVS_DEVICE_E_OPTIONS, IVS_REGION_E_*, -errno.
 */

/** ivs_device_bar2_open() - the region of the options, for good */
IVS_MUST_USE int ivs_device_bar2_open(struct ivs_device *device, struct ivs_error *err);

/** ivs_device_bar2_take() - that of a server instead of any that there was; @fd is set to -1 */
IVS_MUST_USE int ivs_device_bar2_take(struct ivs_device *device, int *fd, struct ivs_error *err);

/** ivs_device_bar2_is() - whether @fd is the file that is there already */
bool ivs_device_bar2_is(const struct ivs_device *device, int fd);

void ivs_device_bar2_close(struct ivs_device *device);

/** ivs_device_bar2_of() - for the session */
struct ivs_vfio_user_memory ivs_device_bar2_of(const struct ivs_device *device);

/* upstream.c */

/** ivs_device_server_init() - nothing yet */
void ivs_device_server_init(struct ivs_device *device);

/** ivs_device_server_open() - be a peer, within 5 s. Return: 0, IVS_DEVICE_E_SERVER, or as memory.c. */
IVS_MUST_USE int ivs_device_server_open(struct ivs_device *device, struct ivs_error *err);

/** ivs_device_server_receive() - the server has said something */
void ivs_device_server_receive(struct ivs_device *device);

/** ivs_device_server_doorbell() - so is vector @vector */
void ivs_device_server_doorbell(struct ivs_device *device, unsigned int vector);

/** ivs_device_server_ring() - the guest rings */
void ivs_device_server_ring(struct ivs_device *device, unsigned int peer, unsigned int vector);

/** ivs_device_server_deadline() - when ivs_device_server_retry() is due; IVS_CLOCK_NEVER */
int64_t ivs_device_server_deadline(const struct ivs_device *device);

/** ivs_device_server_retry() - try to be a peer again */
void ivs_device_server_retry(struct ivs_device *device);

/** ivs_device_server_vmm_gone() - nobody has the memory mapped any more */
void ivs_device_server_vmm_gone(struct ivs_device *device);

/** ivs_device_server_has_vectors() - it is a peer, and its own vectors have come */
bool ivs_device_server_has_vectors(const struct ivs_device *device);

/**
 * ivs_device_server_region_due_ms() - a VMM is about to be given the memory
 *
 * Return: for how long it should wait, at most 2000 ms: a server is about to say which region it has; 0: for
 * none.
 */
int ivs_device_server_region_due_ms(struct ivs_device *device);

/** ivs_device_server_is_greeted() - a server is about to say which region it has */
bool ivs_device_server_is_greeted(const struct ivs_device *device);

void ivs_device_server_close(struct ivs_device *device);

#endif
