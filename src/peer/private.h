/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a peer: what all ways in share, and what one must be able to do. One file per way,
 * one table in peer.c.
 */
#ifndef IVS_PEER_PRIVATE_H
#define IVS_PEER_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>

#include "client/connection.h"
#include "ivshmem/driver.h"
#include "ivshmem/peer.h"
#include "ivshmem/registers.h"
#include "peer/roster.h"

#define IVS_CAPS_N 5
#define IVS_DESCRIPTION_LEN 160

/* What an event of the peer's epoll is about: an own vector, or one of these. */
#define IVS_TAG_SERVER UINT32_MAX
#define IVS_TAG_PENDING (UINT32_MAX - 1)
#define IVS_TAG_TIMER (UINT32_MAX - 2)
#define IVS_TAG_STOP (UINT32_MAX - 3)
#define IVS_TAG_GONE (UINT32_MAX - 4)

/**
 * struct ivs_transport_ops - one way in
 * @open:  sets memory and the capabilities, adds the vectors; the deadline is ivs_clock_ns() time
 * @close: gives back what @open took, also when @open failed half-way
 * @ring:  NULL without IVS_CAP_RING
 * @hear:  take in what the server has to say; NULL if there is none. Called with the lock held.
 * @gone:  whether the device is gone, without a system call; NULL: only @gone_fd tells
 */
struct ivs_transport_ops {
	int (*open)(struct ivs_peer *peer, const char *name, const struct ivs_peer_options *opts,
		    struct ivs_error *err);
	void (*close)(struct ivs_peer *peer);
	int (*ring)(struct ivs_peer *peer, unsigned int id, unsigned int vector);
	int (*hear)(struct ivs_peer *peer);
	bool (*gone)(const struct ivs_peer *peer);
};

extern const struct ivs_transport_ops ivs_transport_unix;
extern const struct ivs_transport_ops ivs_transport_shm;
extern const struct ivs_transport_ops ivs_transport_file;
extern const struct ivs_transport_ops ivs_transport_driver;
extern const struct ivs_transport_ops ivs_transport_pci;

/**
 * struct ivs_peer - one peer
 * @name:       of the way in, for people
 * @why_not:    by bit number of enum ivs_peer_cap: a static string, NULL if it can
 * @id:         own id or -1
 * @vectors:    own doorbells: eventfds, closed by peer.c; only ever grows
 * @epoll:      own vectors, the server's socket, @pending, the view's timer, and then also @stop and
 *              @gone_fd; -1 if there are none
 * @pending:    an eventfd, readable while there are joins and leaves to report
 * @stop:       an eventfd, readable when @stopped; -1 without @epoll
 * @gone_fd:    has one of @gone_events when the device is gone; -1: it cannot go
 * @gone:       it has been seen to be gone
 * @stopped:    ivs_peer_stop() was called
 * @region:     name of the region, "" without (R-9)
 * @lock:       guards vectors, connection, roster, lost
 * @connection:       to the server, with the others as it tells of them
 * @roster:       the others, as the region shows them
 * @wanted_n:   how many own vectors to take; 0: all
 * @lost:       the loss of the server is still to be reported
 * @registers:  BAR 0 in a guest; NULL: not mapped
 * @vfio:       the fds of vfio-pci
 * @driver:     the fd of our driver, and its status page
 */
struct ivs_peer {
	const struct ivs_transport_ops *transport;
	const char *name;
	unsigned int caps;
	const char *why_not[IVS_CAPS_N];
	int id;
	void *memory;
	size_t memory_len;
	int *vectors;
	unsigned int vectors_n;
	unsigned int vectors_max;
	int epoll;
	int pending;
	int stop;
	int gone_fd;
	uint32_t gone_events;
	bool gone;
	bool stopped;
	pthread_mutex_t lock;
	char description[IVS_DESCRIPTION_LEN];
	char region[IVS_NAME_LEN];

	struct ivs_connection connection;
	struct ivs_peer_roster roster;
	unsigned int wanted_n;
	bool lost;

	volatile uint32_t *registers;
	size_t registers_len;
	struct {
		int container;
		int group;
		int device;
		int request;
	} vfio;
	struct {
		int fd;
		const volatile struct ivs_driver_status *status;
	} driver;
};

/** ivs_peer_allow() - @peer can do @cap; ivs_peer_deny() - it cannot, and why */
void ivs_peer_allow(struct ivs_peer *peer, enum ivs_peer_cap cap);
void ivs_peer_deny(struct ivs_peer *peer, enum ivs_peer_cap cap, const char *why);

/** ivs_peer_map() - map @len bytes of @fd from @offset as the region. Return: 0 or -errno. */
IVS_MUST_USE int ivs_peer_map(struct ivs_peer *peer, int fd, uint64_t offset, uint64_t len,
			      struct ivs_error *err);

/** ivs_peer_add_vector() - one more own doorbell; @fd is set to -1 if taken. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_add_vector(struct ivs_peer *peer, int *fd);

/** ivs_peer_watch() - have the peer's epoll watch @fd, making it at first. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_watch(struct ivs_peer *peer, int fd, uint32_t events, uint32_t tag);

/** ivs_peer_is_gone() - whether the device is known to be gone; without a system call */
bool ivs_peer_is_gone(const struct ivs_peer *peer);

/** ivs_peer_open_wait() - at the end of opening: what makes waiting end. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_open_wait(struct ivs_peer *peer);

#endif
