/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Internals of a peer. A file calls only files below it:
 *
 *   peer.c doorbell.c wait.c                 the public API: opening and getters, ringing, waiting
 *   pci.c                                    selects the transport for a guest's device
 *   unix.c plain.c driver.c vfio.c sysfs.c   the transports, with their private data
 *   pci_choice.c pci_advice.c node_advice.c  which device is meant, and what to do about it
 *   region.c                                 changes to the region's file
 *   roster.c                                 joins and leaves from the roster page
 *   bar0.c pci_device.c                      access to a guest's device
 *   worker.c                                 system calls that may block, in a thread
 *   core.c                                   functions shared by all files above
 */
#ifndef IVS_PEER_PRIVATE_H
#define IVS_PEER_PRIVATE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/peer_change.h"
#include "ivshmem/driver.h"
#include "ivshmem/peer.h"
#include "ivshmem/registers.h"
#include "peer/region.h"
#include "peer/roster.h"

#define IVS_CAPS_N 6
#define IVS_DESCRIPTION_LEN 160

/*
 * Tags of the fds in the peer's epoll instance. A smaller tag is the number of one of the peer's
 * own vectors. The event loop in daemon/ is not used, because the application waits and takes one
 * event at a time.
 */
enum ivs_peer_tag {
	IVS_TAG_SERVER = IVS_VECTOR_MAX + 1,
	IVS_TAG_PENDING,
	IVS_TAG_TIMER,
	IVS_TAG_REGION,
	IVS_TAG_STOP,
	IVS_TAG_GONE,
};

/**
 * struct ivs_transport_ops - a transport
 * @name:        name of the transport, for messages
 * @state_len:   length of the transport's private data, which is zeroed when the transport is set
 * @close:       release everything that opening has acquired, even if opening failed half-way
 * @doorbell:    set @out->ring and the fields it uses; NULL without IVS_CAP_RING.
 *               Return: 0, IVS_PEER_E_ABSENT, _VECTOR; -errno.
 * @release:     release what @doorbell has acquired; NULL if it acquires nothing
 * @receive:     handle all pending messages from the server; NULL without a connection to a server.
 *               Called with the lock held. Return: 0 or -errno.
 * @next_change: get the next join or leave to report; NULL if the roster page is their source.
 *               Called with the lock held, as are @is_reported and @vectors_of.
 * @is_reported: whether the last event reported for peer @id is a join
 * @vectors_of:  number of vectors of peer @id
 * @is_gone:     whether the device has been removed; makes no system call. NULL if only the peer's
 *               @gone_fd reports the removal
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
 * struct ivs_peer - a peer
 * @transport:   NULL until ivs_peer_set_transport()
 * @state:       private data of the transport
 * @why_not:     why a capability is missing, a static string; NULL if the peer has the capability.
 *               Indexed by the bit number of enum ivs_peer_cap
 * @read_only:   why the region is mapped for reading only, a static string; NULL: it is also mapped
 *               for writing
 * @id:          the peer's own id; -1: none
 * @vectors:     eventfds of the peer's own vectors, to which vectors are added, but never removed
 * @file:        the file of @memory, on the host
 * @epoll_fd:    watches the fds for which enum ivs_peer_tag has tags; -1: nothing to watch
 * @pending_fd:  an eventfd, readable while joins or leaves remain to be reported; -1 if the peer
 *               does not report any
 * @stop_fd:     an eventfd, readable once @stopped is set; -1 if @epoll_fd is -1
 * @gone_fd:     has one of @gone_events when the device has been removed; -1: unsupported. Owned by
 *               the transport.
 * @gone:        the device has been removed
 * @stopped:     ivs_peer_stop() was called
 * @lock:        guards @vectors, the transport's connection, @roster, @server_lost
 * @region:      name of the region (R-9); "": none
 * @server_lost: the loss of the server has not been reported yet
 */
struct ivs_peer {
	const struct ivs_transport_ops *transport;
	void *state;
	unsigned int caps;
	const char *why_not[IVS_CAPS_N];
	const char *read_only;
	int id;
	void *memory;
	size_t memory_len;
	struct ivs_peer_region file;
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
 * @peer:  the peer that rings
 * @ring:  ring the vector. Return: like ivs_doorbell_ring()
 * @set:   unix: a reference to the doorbells of the peer that is rung; NULL if the vector is one of
 *         @peer's own
 * @fd:    unix: the eventfd; driver, if BAR 0 is not mapped: the device node
 * @reg:   in a guest, if BAR 0 is mapped: the register Doorbell
 * @value: the value to write to @reg
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

/** ivs_peer_set_transport() - set @ops and allocate its private data. Return: 0 or -ENOMEM. */
IVS_MUST_USE int ivs_peer_set_transport(struct ivs_peer *peer, const struct ivs_transport_ops *ops,
					struct ivs_error *err);

/** ivs_peer_allow() - set @cap. ivs_peer_deny() - clear @cap; @why is a static string */
void ivs_peer_allow(struct ivs_peer *peer, enum ivs_peer_cap cap);
void ivs_peer_deny(struct ivs_peer *peer, enum ivs_peer_cap cap, const char *why);

/**
 * ivs_peer_map() - map @len bytes of @fd from @offset as the region, for writing unless @read_only
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_peer_map(struct ivs_peer *peer, int fd, uint64_t offset, uint64_t len,
			      struct ivs_error *err);

/** ivs_peer_keep_vector() - add one of the peer's own vectors; take @fd. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_keep_vector(struct ivs_peer *peer, int *fd);

/**
 * ivs_peer_add_vector() - keep a vector and watch it; use this only while opening. Return: 0,
 * -errno.
 */
IVS_MUST_USE int ivs_peer_add_vector(struct ivs_peer *peer, int *fd);

/**
 * ivs_peer_watch() - add @fd to the epoll instance, which the first call creates
 *
 * Use this only while the peer is being opened. Afterwards an epoll instance of the application may
 * watch the peer's instance, and adding an fd can block forever: see worker.h.
 *
 * Return: 0, -errno.
 */
IVS_MUST_USE int ivs_peer_watch(struct ivs_peer *peer, int fd, uint32_t events, uint32_t tag);

/** ivs_peer_mute() - have the epoll instance report no input on @fd, and a hang-up at most once */
void ivs_peer_mute(struct ivs_peer *peer, int fd, uint32_t tag);

/** ivs_peer_unwatch() - remove @fd, if any, from the epoll instance; see unix_lose_server() */
void ivs_peer_unwatch(struct ivs_peer *peer, int fd);

/** ivs_peer_watch_changes() - create a readable @pending_fd and watch it. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_watch_changes(struct ivs_peer *peer);

/** ivs_peer_is_gone() - whether the device is known to have been removed; no system call */
bool ivs_peer_is_gone(const struct ivs_peer *peer);

/* wait.c */

/** ivs_peer_open_wait() - last step of opening: watch @stop_fd and @gone_fd. Return: 0, -errno. */
IVS_MUST_USE int ivs_peer_open_wait(struct ivs_peer *peer);

/*
 * Each of these functions sets the transport of @peer and opens the peer. Return: like
 * ivs_peer_open().
 */

typedef int ivs_transport_open(struct ivs_peer *peer, const char *name,
			       const struct ivs_peer_options *opts, struct ivs_error *err);

ivs_transport_open ivs_unix_open;
ivs_transport_open ivs_shm_open;
ivs_transport_open ivs_file_open;
ivs_transport_open ivs_pci_open;
ivs_transport_open ivs_node_open;

struct ivs_pci_device;

/** ivs_driver_open() - open our driver's node @path, which must be that of @bdf (NULL: any) */
IVS_MUST_USE int ivs_driver_open(struct ivs_peer *peer, const char *path, const char *bdf,
				 const struct ivs_peer_options *opts, struct ivs_error *err);

/** ivs_vfio_open() - open a device that is bound to vfio-pci */
IVS_MUST_USE int ivs_vfio_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
			       const struct ivs_peer_options *opts, struct ivs_error *err);

/** ivs_sysfs_open() - open a device with any driver or none, through its resource files in sysfs */
IVS_MUST_USE int ivs_sysfs_open(struct ivs_peer *peer, const struct ivs_pci_device *device,
				const struct ivs_peer_options *opts, struct ivs_error *err);

#endif
