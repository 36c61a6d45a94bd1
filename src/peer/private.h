/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of a peer. Calls go one way:
 *
 *   peer.c (opening, getters), doorbell.c (ringing), wait.c (waiting)
 *   pci.c                      chooses one of the transports of a guest
 *   unix.c plain.c driver.c vfio.c sysfs.c   one transport each, with a state of its own
 *   roster.c                   joins and leaves from the roster page
 *   bar0.c                BAR 0 of a guest's device
 *   core.c                     what all of these share
 */
#ifndef IVS_PEER_PRIVATE_H
#define IVS_PEER_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/peer_change.h"
#include "ivshmem/driver.h"
#include "ivshmem/peer.h"
#include "ivshmem/registers.h"
#include "peer/roster.h"

#define IVS_CAPS_N 5
#define IVS_DESCRIPTION_LEN 160

/*
 * What an event of the peer's epoll is about: an own vector, or one of these. It is not a loop of
 * daemon/: the application owns the waiting, and takes one event at a time.
 */
enum ivs_peer_tag {
	IVS_TAG_SERVER = IVS_VECTOR_MAX + 1,
	IVS_TAG_PENDING,
	IVS_TAG_TIMER,
	IVS_TAG_STOP,
	IVS_TAG_GONE,
};

/**
 * struct ivs_transport_ops - one transport
 * @name:        for people
 * @state_len:   bytes of its state; zeroed when the transport is chosen
 * @close:       gives back what opening took, also if that failed half-way
 * @doorbell:    set @out->ring and what it needs; NULL without IVS_CAP_RING
 * @release:     give back what @doorbell took; NULL: nothing
 * @receive:     take in what the server has sent, if anything; NULL without a server. Called with
 *               the lock held. Return: 0 or -errno.
 * @next_change: the next join or leave to report. Called with the lock held, as the next two.
 *               NULL: these come from the roster page.
 * @is_reported: whether it has been reported that peer @id is there
 * @vectors_of:  how many vectors peer @id has
 * @is_gone:     whether the device is gone, without a system call; NULL: only @gone_fd says so
 */
struct ivs_transport_ops {
	const char *name;
	size_t state_len;
	void (*close)(struct ivs_peer *peer);
	int (*doorbell)(struct ivs_peer *peer, struct ivs_doorbell *out);
	void (*release)(struct ivs_peer *peer, struct ivs_doorbell *doorbell);
	int (*receive)(struct ivs_peer *peer);
	bool (*next_change)(struct ivs_peer *peer, struct ivs_peer_change *change);
	bool (*is_reported)(const struct ivs_peer *peer, unsigned int id);
	unsigned int (*vectors_of)(const struct ivs_peer *peer, unsigned int id);
	bool (*is_gone)(const struct ivs_peer *peer);
};

/**
 * struct ivs_peer - one peer
 * @transport:   NULL until it is chosen
 * @state:       the transport's own
 * @why_not:     by bit number of enum ivs_peer_cap: a static string, NULL if it can
 * @id:          own id or -1
 * @vectors:     own doorbells: eventfds, closed by peer.c; only ever grows
 * @epoll_fd:    watches what enum ivs_peer_tag says; -1: nothing
 * @pending_fd:  an eventfd, readable while there are joins and leaves to report; -1: there are none
 * @stop_fd:     an eventfd, readable when @stopped; -1 without @epoll_fd
 * @gone_fd:     has one of @gone_events when the device is gone; -1: it cannot go. The transport's.
 * @gone:        it has been seen to be gone
 * @stopped:     ivs_peer_stop() was called
 * @region:      name of the region, "" without (R-9)
 * @lock:        guards vectors, the transport's connection, roster, server_lost
 * @roster:      the others, as the roster page shows them
 * @server_lost: that is still to be reported
 */
struct ivs_peer {
	const struct ivs_transport_ops *transport;
	void *state;
	unsigned int caps;
	const char *why_not[IVS_CAPS_N];
	int id;
	void *memory;
	size_t memory_len;
	int *vectors;
	unsigned int vectors_n;
	unsigned int vectors_max;
	int epoll_fd;
	int pending_fd;
	int stop_fd;
	int gone_fd;
	uint32_t gone_events;
	bool gone;
	bool stopped;
	pthread_mutex_t lock;
	char description[IVS_DESCRIPTION_LEN];
	char region[IVS_NAME_LEN];
	struct ivs_peer_roster roster;
	bool server_lost;
};

/**
 * struct ivs_doorbell - a vector of a peer, ready to be rung
 * @ring:  Return: as ivs_doorbell_ring()
 * @set:   unix: the doorbells of its peer, referenced; NULL: an own one
 * @fd:    unix: one of these; driver without bar0: the device file
 * @value: in a guest: for the register Doorbell
 */
struct ivs_doorbell {
	struct ivs_peer *peer;
	unsigned int id;
	unsigned int vector;
	int (*ring)(const struct ivs_doorbell *doorbell);
	struct ivs_doorbell_set *set;
	int fd;
	volatile uint32_t *reg;
	uint32_t value;
};

/* core.c */

/** ivs_peer_set_transport() - choose it, and allocate its state. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_peer_set_transport(struct ivs_peer *peer, const struct ivs_transport_ops *ops,
					struct ivs_error *err);

/** ivs_peer_allow() - @peer can do @cap; ivs_peer_deny() - it cannot, and why */
void ivs_peer_allow(struct ivs_peer *peer, enum ivs_peer_cap cap);
void ivs_peer_deny(struct ivs_peer *peer, enum ivs_peer_cap cap, const char *why);

/** ivs_peer_map() - map @len bytes of @fd from @offset as the region. Return: 0 or -errno. */
IVS_MUST_USE int ivs_peer_map(struct ivs_peer *peer, int fd, uint64_t offset, uint64_t len,
			      struct ivs_error *err);

/** ivs_peer_add_vector() - one more own doorbell; @fd is set to -1 if taken. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_add_vector(struct ivs_peer *peer, int *fd);

/** ivs_peer_watch() - watch @fd; makes the epoll with the first one. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_watch(struct ivs_peer *peer, int fd, uint32_t events, uint32_t tag);

/** ivs_peer_watch_changes() - make and watch @pending_fd, which is readable at first. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_watch_changes(struct ivs_peer *peer);

/** ivs_peer_is_gone() - whether the device is known to be gone; without a system call */
bool ivs_peer_is_gone(const struct ivs_peer *peer);

/* wait.c */

/** ivs_peer_open_wait() - at the end of opening: what ends all waiting. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_open_wait(struct ivs_peer *peer);

/* The transports: each chooses itself and opens. Return: as ivs_peer_open(). */

typedef int ivs_transport_open(struct ivs_peer *peer, const char *name,
			       const struct ivs_peer_options *opts, struct ivs_error *err);

ivs_transport_open ivs_unix_open;
ivs_transport_open ivs_shm_open;
ivs_transport_open ivs_file_open;
ivs_transport_open ivs_pci_open;
ivs_transport_open ivs_node_open;

struct ivs_pci_device;

/** ivs_driver_open() - through our driver's node at @path, of the device at @bdf or (NULL) of any */
IVS_MUST_USE int ivs_driver_open(struct ivs_peer *peer, const char *path, const char *bdf,
				 const struct ivs_peer_options *opts, struct ivs_error *err);

/** ivs_vfio_open() - through vfio-pci, to which the device is bound */
IVS_MUST_USE int ivs_vfio_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
			       const struct ivs_peer_options *opts, struct ivs_error *err);

/** ivs_sysfs_open() - through the resource files, which need no driver */
IVS_MUST_USE int ivs_sysfs_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
				const struct ivs_peer_options *opts, struct ivs_error *err);

#endif
