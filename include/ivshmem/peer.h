/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer: one who has the region mapped, has an id, can ring others and be rung.
 * The same program is a peer on the host and in a guest; only the address differs:
 *
 *   unix:PATH   a host process: the socket of an ivshmem-server
 *   shm:NAME    a host process: a plain region (also file:PATH); no ids, no doorbells
 *   pci:BDF     a guest: the device at that PCI address ("pci:0000:00:03.0"); "pci:" if there is
 *               only one. Through what the device is bound to: our driver (ivshmem(4)), vfio-pci
 *               (interrupts, but uncached memory, and one process at a time), else sysfs (uncached
 *               memory and ringing, no waiting, for root). "pci:name=NAME": the device that says that its
 *               region is NAME (ivshmem-device --name)
 *   /dev/ivshmemN  a guest: our driver's device node
 *
 * Results: see ivshmem/api.h. A peer, whatever it does, never causes a negative result.
 *
 * Thread safety: ivs_peer_ring(), ivs_doorbell_ring(), ivs_peer_wait() on different vectors, ivs_peer_next(),
 * ivs_peer_read_roster() and the getters may run at the same time in different threads.
 * ivs_peer_stop() may run at any time, also in a signal handler. ivs_peer_open() and ivs_peer_close()
 * of one peer exclude everything else: to end threads that wait, stop the peer, join them, close it.
 * After fork() only one of the two processes may use a peer.
 */
#ifndef IVSHMEM_PEER_H
#define IVSHMEM_PEER_H

#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

#ifdef __cplusplus
extern "C" {
#endif

struct ivs_peer;
struct ivs_doorbell;

enum ivs_peer_error {
	IVS_PEER_E_ADDRESS = 1, /* the address cannot be parsed */
	IVS_PEER_E_ABSENT,	/* no such peer, device, server or region */
	IVS_PEER_E_AMBIGUOUS,	/* "pci:" and several devices */
	IVS_PEER_E_VECTOR,	/* that peer has no such vector */
	IVS_PEER_E_TIMEOUT,	/* nothing came in time */
	IVS_PEER_E_UNSUPPORTED, /* this way in cannot do that: ivs_peer_cap_reason() says why */
	IVS_PEER_E_PROTOCOL,	/* the server speaks garbage or another version */
	IVS_PEER_E_SERVER_LOST, /* the server is gone; memory and known doorbells go on working */
	IVS_PEER_E_BUSY,	/* what was to be read changed all the time, or is half-written */
	IVS_PEER_E_DEVICE_GONE, /* the device is unplugged or unbound, for good: close the peer */
	IVS_PEER_E_STOPPED,	/* ivs_peer_stop() was called */
};

/**
 * enum ivs_peer_cap - what a way in can do
 * @IVS_CAP_ID:     has an id
 * @IVS_CAP_RING:   can ring others
 * @IVS_CAP_WAIT:   can be rung: has vectors to wait for
 * @IVS_CAP_ROSTER: sees others join and leave
 * @IVS_CAP_CACHED: the memory is mapped write-back cached, as ordinary memory is
 *
 * Memory is what every way in has. ROSTER comes with a server (unix:). Elsewhere it is there if a
 * server publishes the roster in the region (ivshmem-server --roster) when the peer is opened.
 */
enum ivs_peer_cap {
	IVS_CAP_ID = 1 << 0,
	IVS_CAP_RING = 1 << 1,
	IVS_CAP_WAIT = 1 << 2,
	IVS_CAP_ROSTER = 1 << 3,
	IVS_CAP_CACHED = 1 << 4,
};

/**
 * struct ivs_peer_options - all zero is a good start
 * @vectors_n:  how many vectors to use. 0: all that the server or device has (a server does not
 *              say how many that are: they have all come when it is silent for 100 ms).
 *              Fewer than there are: the surplus is ignored. More: IVS_PEER_E_TIMEOUT from a server,
 *              IVS_PEER_E_VECTOR on a device and a plain region.
 * @timeout_ms: for the whole of ivs_peer_open(); 0: 5000
 */
struct ivs_peer_options {
	unsigned int vectors_n;
	unsigned int timeout_ms;
};

/**
 * ivs_peer_open() - become a peer
 * @address: see the top of this file
 * @opts:    NULL: the defaults
 * @out:     the peer; unchanged unless 0 is returned
 * @err:     the reason in words, or NULL
 *
 * Return: 0, IVS_PEER_E_ADDRESS, _ABSENT, _AMBIGUOUS, _VECTOR, _TIMEOUT, _PROTOCOL, _LOST, _GONE, or
 * -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_open(const char *address, const struct ivs_peer_options *opts,
					  struct ivs_peer **out, struct ivs_error *err);

/** ivs_peer_close() - leave: unmap the memory, close every fd. NULL is fine. */
IVS_PUBLIC void ivs_peer_close(struct ivs_peer *peer);

/**
 * ivs_peer_caps() - enum ivs_peer_cap values, or-ed
 *
 * They can change: WAIT comes with one's first vector, ROSTER goes with the server. Where ROSTER is
 * from the region, it comes back when another server publishes there; and it does not go when the
 * server was killed, because then nobody says so.
 */
IVS_PUBLIC unsigned int ivs_peer_caps(const struct ivs_peer *peer);

/**
 * ivs_peer_cap_reason() - one sentence on why this way in cannot do @cap, and what to do about it
 *
 * Return: a string that lives as long as @peer; NULL if it can.
 */
IVS_PUBLIC const char *ivs_peer_cap_reason(const struct ivs_peer *peer, enum ivs_peer_cap cap);

/** ivs_peer_transport() - the way in, for people: "unix", "shm", "file", "driver", "vfio", "sysfs". */
IVS_PUBLIC const char *ivs_peer_transport(const struct ivs_peer *peer);

/**
 * ivs_peer_describe() - the way in and what it costs, for people: "sysfs: uncached memory, no
 * interrupts", "driver: cached memory, 2 vectors, region demo" (the name only if the device says one)
 *
 * As it was when the peer was opened. Return: a string that lives as long as @peer.
 */
IVS_PUBLIC const char *ivs_peer_describe(const struct ivs_peer *peer);

/** ivs_peer_id() - own id, 0 to 65535; -1 without IVS_CAP_ID. */
IVS_PUBLIC int ivs_peer_id(const struct ivs_peer *peer);

/**
 * ivs_peer_memory() - the region, mapped readable and writable
 * @len: its bytes; NULL is fine
 *
 * Other peers may write anything into it at any time: read each word once, check it, then use it.
 * Not all of it is yours to write if a roster is published there: see ivs_peer_usable_len().
 * When the device has been unplugged: through our driver a page of zeroes is everywhere, which all who
 * had the device open share; through vfio it stays until the peer is closed; through sysfs nobody is
 * told, and what is at its addresses may by then be another device's.
 */
IVS_PUBLIC void *ivs_peer_memory(const struct ivs_peer *peer, size_t *len);

/**
 * ivs_peer_usable_len() - how many bytes at the beginning of the region are the applications'
 *
 * The rest belongs to the roster that a server publishes (ivshmem-server --roster); without one, it
 * is all. As it was when the peer was opened.
 */
IVS_PUBLIC size_t ivs_peer_usable_len(const struct ivs_peer *peer);

/** ivs_peer_vectors() - how many vectors one can be rung on; they are numbered from 0. */
IVS_PUBLIC unsigned int ivs_peer_vectors(const struct ivs_peer *peer);

/**
 * ivs_peer_ring() - ring @vector of peer @id, which may be one's own id
 *
 * Whatever was written to the region before is visible to the peer when it wakes. Doorbells that
 * come faster than they are taken become one: a doorbell says "look", it does not count. A counter
 * that a peer has filled counts as rung and is not waited for. (On the host, a peer that switches
 * O_NONBLOCK off and fills the counter between our looking and our writing can make this call wait,
 * and this thread alone, until somebody reads the counter; eventfds offer no way around it.)
 * Takes in what the server has said about joins and leaves by now; ivs_peer_next() still reports
 * it. In a guest the device ignores ids and vectors that do not exist, and this returns 0; with
 * IVS_CAP_ROSTER it has rung all the same, and returns IVS_PEER_E_ABSENT or _VECTOR if the roster
 * says so.
 *
 * Return: 0, IVS_PEER_E_ABSENT, _VECTOR, _UNABLE, _GONE; -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_ring(struct ivs_peer *peer, unsigned int id,
					  unsigned int vector);

/**
 * ivs_doorbell_new() - look up @vector of peer @id once, to ring it often
 * @out: the doorbell; unchanged unless 0 is returned
 *
 * On the host a doorbell is bound to the peer that has @id now: it never rings another peer that is
 * given the same id later. In a guest it is bound to the id and the vector, and whether these exist
 * is not looked at. Free all doorbells of a peer before you close it.
 *
 * Return: 0, IVS_PEER_E_ABSENT, _VECTOR, _UNSUPPORTED, _DEVICE_GONE; -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_doorbell_new(struct ivs_peer *peer, unsigned int id,
					     unsigned int vector, struct ivs_doorbell **out);

/**
 * ivs_doorbell_ring() - ring it
 *
 * As ivs_peer_ring(), but for these: it takes no lock and does not receive what the server has sent,
 * so that a program that only rings has to call ivs_peer_next() now and then; IVS_PEER_E_ABSENT is
 * returned once ivs_peer_next() or ivs_peer_ring() has seen the peer leave. Costs one write(2) on
 * the host, and a poll(2) before it that keeps a full counter from blocking; in a guest one store to
 * a register.
 *
 * Return: 0, IVS_PEER_E_ABSENT, _DEVICE_GONE; -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_doorbell_ring(const struct ivs_doorbell *doorbell);

/** ivs_doorbell_free() - NULL is fine */
IVS_PUBLIC void ivs_doorbell_free(struct ivs_doorbell *doorbell);

/**
 * ivs_peer_wait() - wait until one's own @vector is rung
 * @timeout_ms: 0: only look; -1: no limit
 *
 * A doorbell that came before the call counts, and is taken. Does not take in joins and leaves:
 * that is ivs_peer_next(), which takes doorbells of all vectors too.
 *
 * Return: 0, IVS_PEER_E_TIMEOUT, _VECTOR, _UNABLE, _GONE, _STOPPED; -errno (-EINTR: a signal came,
 * or the process was stopped and continues).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_wait(struct ivs_peer *peer, unsigned int vector,
					  int timeout_ms);

/**
 * ivs_peer_stop() - have all waiting end, for good
 *
 * From now on ivs_peer_wait() and ivs_peer_next() return IVS_PEER_E_STOPPED, also those that are waiting
 * now, and ivs_peer_fd() is readable. Everything else goes on.
 */
IVS_PUBLIC void ivs_peer_stop(struct ivs_peer *peer);

/**
 * enum ivs_event_type - what ivs_peer_next() reports
 * @IVS_EVENT_DOORBELL: @vector was rung, once or more
 * @IVS_EVENT_JOIN:     peer @id is there and can be rung on @vectors_n vectors. Comes again for the
 *                      same id, with more, when the rest of its vectors became known later.
 *                      Those who were there first are reported after opening.
 * @IVS_EVENT_LEAVE:    peer @id left
 * @IVS_EVENT_SERVER_LOST:     the server is gone: no more joins and leaves; everything else goes on.
 *                      Reported once; in a guest again, if another server came in between.
 */
enum ivs_event_type {
	IVS_EVENT_DOORBELL = 1,
	IVS_EVENT_JOIN,
	IVS_EVENT_LEAVE,
	IVS_EVENT_SERVER_LOST,
};

struct ivs_event {
	enum ivs_event_type type;
	unsigned int id;	/* JOIN, LEAVE */
	unsigned int vectors_n; /* JOIN */
	unsigned int vector;	/* DOORBELL */
};

/**
 * ivs_peer_next() - wait for the next event of any kind
 * @timeout_ms: 0: only look; -1: no limit
 * @event:      valid when 0 is returned
 *
 * Leaves come before the join of the next peer with the same id; one who came and went between two
 * calls is not reported. Without a server to tell of them (pci:, shm:, file:), joins and leaves come
 * from the roster in the region, if there is one. No doorbell says that it has changed: it is looked
 * at when this is called, and every 100 ms while it waits. There a peer without vectors joins with
 * @vectors_n 0; of a server's clients nobody hears of it.
 *
 * Return: 0, IVS_PEER_E_TIMEOUT, _UNABLE (neither doorbells nor joins, nor a device that can be
 * unplugged), _GONE, _STOPPED; -errno (-EINTR: a signal came).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_next(struct ivs_peer *peer, int timeout_ms,
					  struct ivs_event *event);

/**
 * ivs_peer_fd() - an fd for poll(2) and its like: readable when ivs_peer_next() has something
 *
 * Owned by @peer. After it became readable, call ivs_peer_next() with timeout 0 until it returns
 * IVS_PEER_E_TIMEOUT. Where joins and leaves come from the roster in the region, it becomes readable
 * every 100 ms, and there may be nothing.
 *
 * Return: the fd; -1 where ivs_peer_next() returns IVS_PEER_E_UNSUPPORTED.
 */
IVS_PUBLIC int ivs_peer_fd(const struct ivs_peer *peer);

/**
 * ivs_peer_vector_fd() - the eventfd of one of one's own vectors
 *
 * Owned by @peer. Readable when the vector was rung; reading takes the doorbell.
 *
 * Return: the fd; -1 if there is no such vector.
 */
IVS_PUBLIC int ivs_peer_vector_fd(const struct ivs_peer *peer, unsigned int vector);

/**
 * ivs_peer_roster() - who is there, without oneself, as far as ivs_peer_next() has reported it
 * @ids: room for @ids_n ids, ascending
 *
 * Return: how many there are, which may be more than @ids_n. 0 without IVS_CAP_ROSTER.
 */
IVS_PUBLIC unsigned int ivs_peer_roster(struct ivs_peer *peer, unsigned int *ids,
					unsigned int ids_n);

/**
 * ivs_peer_vectors_of() - how many vectors peer @id can be rung on, as far as known; 0 if absent
 */
IVS_PUBLIC unsigned int ivs_peer_vectors_of(struct ivs_peer *peer, unsigned int id);

/**
 * struct ivs_roster_info - the roster that a server publishes in the region
 * @generation: grows by one with each join and leave
 * @peers_n:    how many are connected
 * @listed_n:   of how many there is more to know: not of all, if they are more than the roster has
 *              room for
 * @maintained:a server keeps it; false: that has ended, and it is as it was then. A server that was
 *              killed could not say so.
 */
struct ivs_roster_info {
	uint64_t generation;
	unsigned int peers_n;
	unsigned int listed_n;
	bool maintained;
};

/**
 * struct ivs_roster_entry - one of them, oneself too
 * @vectors_n: how many it can be rung on, 0 to 65536
 * @since:     the generation at which it joined, above 0: the same id with another one is another
 *             peer
 */
struct ivs_roster_entry {
	unsigned int id;
	unsigned int vectors_n;
	uint64_t since;
};

/**
 * ivs_peer_read_roster() - read the roster in the region as it is now, on any way in
 * @peers: room for @peers_n, ascending by id; NULL is fine if that is 0
 *
 * A consistent copy of one moment, within bounds. But any peer can write anything there: it is a
 * hint. Takes no events; some 50 ms at most.
 *
 * Return: 0, IVS_PEER_E_ABSENT (there is none, or it is damaged), IVS_PEER_E_BUSY (the server
 * writes all the time, or ended in the middle); -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_read_roster(struct ivs_peer *peer, struct ivs_roster_info *out,
						 struct ivs_roster_entry *peers,
						 unsigned int peers_n);

#ifdef __cplusplus
}
#endif

#endif
