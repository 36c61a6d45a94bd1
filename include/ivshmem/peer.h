/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer: a process or guest that maps the region, has an id, and can send and receive doorbells.
 * The same program runs on the host and in a guest; only the address differs:
 *
 *   unix:PATH      host process: the socket of an ivshmem-server
 *   shm:NAME       host process: a plain region (also file:PATH); no ids, no doorbells
 *   pci:BDF        guest: the device at that PCI address ("pci:0000:00:03.0")
 *   pci:name=NAME  guest: the device whose region is called NAME (ivshmem-device --name)
 *   pci:           guest: the only device
 *   /dev/ivshmemN  guest: the device node of our driver, ivshmem(4)
 *
 * With pci:, the transport depends on the driver that is bound to the device: with our driver it is
 * "driver"; with vfio-pci, "vfio" (interrupts, but uncached memory, and only one process at a
 * time); otherwise "sysfs" (root only: uncached memory, and the peer can ring but not wait).
 *
 * Results: see ivshmem/api.h; ivs_peer_strerror() describes them. Nothing that another peer does
 * causes a negative result.
 *
 * Thread safety: ivs_peer_ring(), ivs_doorbell_ring(), ivs_peer_wait() on different vectors,
 * ivs_peer_next(), ivs_peer_read_roster() and the getters may run at the same time in different
 * threads. ivs_peer_stop() may run at any time, even in a signal handler, but no call may run
 * concurrently with ivs_peer_open() or ivs_peer_close() for the same peer: if threads are waiting,
 * stop the peer and join them before you close it. After fork() only one of the two processes may
 * use a peer.
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
	IVS_PEER_E_AMBIGUOUS,	/* several devices match the address */
	IVS_PEER_E_VECTOR,	/* the peer has no such vector */
	IVS_PEER_E_TIMEOUT,	/* the time limit expired */
	IVS_PEER_E_UNSUPPORTED, /* the transport lacks a capability: see ivs_peer_cap_reason() */
	IVS_PEER_E_PROTOCOL,	/* the server violates the protocol, or uses another version */
	IVS_PEER_E_SERVER_LOST, /* the server closed the connection */
	IVS_PEER_E_BUSY,	/* the roster page changes too often, or is half-written */
	IVS_PEER_E_DEVICE_GONE, /* the device was unplugged or unbound: close the peer */
	IVS_PEER_E_STOPPED,	/* ivs_peer_stop() was called */
};

/**
 * enum ivs_peer_cap - capabilities: what a transport can do
 * @IVS_CAP_ID:     the peer has an id
 * @IVS_CAP_RING:   the peer can ring other peers
 * @IVS_CAP_WAIT:   the peer has vectors of its own, so it can be rung
 * @IVS_CAP_ROSTER: joins and leaves of other peers are reported
 * @IVS_CAP_CACHED: the region is mapped write-back cached, like ordinary memory
 * @IVS_CAP_WRITE:  the region is also mapped for writing; without this capability, a store raises
 *                  SIGSEGV
 *
 * Every transport maps the region. With unix:, ROSTER comes from the server; otherwise it is set if
 * a server publishes a roster page in the region (ivshmem-server --roster) when the peer is opened.
 */
enum ivs_peer_cap {
	IVS_CAP_ID = 1 << 0,
	IVS_CAP_RING = 1 << 1,
	IVS_CAP_WAIT = 1 << 2,
	IVS_CAP_ROSTER = 1 << 3,
	IVS_CAP_CACHED = 1 << 4,
	IVS_CAP_WRITE = 1 << 5,
};

/**
 * struct ivs_peer_options - options of ivs_peer_open(); if all are zero, the defaults apply
 * @vectors_n:  number of vectors the peer needs; 0: use all that the server or device provides. A
 *              server does not announce their number: the vectors are assumed to be complete when
 *              there are as many as another peer has, or when the server has sent nothing for
 *              100 ms. If there are more than @vectors_n, the surplus is ignored; if there are
 *              fewer, the result is IVS_PEER_E_TIMEOUT with a server, IVS_PEER_E_VECTOR with a
 *              device or plain region.
 * @timeout_ms: time limit of ivs_peer_open(), and time that ivs_peer_close() may take to close and
 *              unmap what a server has sent; 0: 5000
 * @doorbells_max: maximum number of doorbells from the server to keep, counting the peer's own
 *              vectors and those of all other peers; each is a file descriptor. Any further
 *              doorbells are closed: they are not reported and cannot be rung. 0: half of the
 *              soft limit RLIMIT_NOFILE
 * @any_file_system: also accept a region that is neither memory nor a file on a local disk: see
 *              ivs_peer_open()
 */
struct ivs_peer_options {
	unsigned int vectors_n;
	unsigned int timeout_ms;
	unsigned int doorbells_max;
	bool any_file_system;
};

/**
 * ivs_peer_open() - join a region as a peer
 * @address: see the top of this file
 * @opts:    NULL: the defaults
 * @out:     the peer; unchanged unless 0 is returned
 * @err:     set to an error message, or to "" if 0 is returned; may be NULL
 *
 * With unix:, the server's region must be memory (memfd, tmpfs, hugetlbfs) or a file on ext2, ext3,
 * ext4, xfs, btrfs or f2fs, in a file system that /proc/self/mountinfo shows. Any other file system
 * (FUSE, NFS, overlay) can make every access wait for as long as the server wants; such a region is
 * refused (IVS_PEER_E_PROTOCOL), unless @opts->any_file_system is set. A region whose size is not a
 * whole number of pages is also refused.
 *
 * A thread of the library closes and unmaps what a server has sent. The thread receives no signals,
 * and ends when it is done. So ivs_peer_open() and ivs_peer_close() keep their time limit (an
 * ivs_peer_open() that fails can exceed it by 0.1 s). Other calls wait for the thread for at most
 * 0.1 s. While more fds than half of @opts->doorbells_max are waiting to be closed, nothing is
 * received from the server, so joins, leaves and the loss of the server are reported later. The
 * thread also adds vectors that arrive late to an epoll instance: see ivs_peer_fd(). The process
 * does not end until the thread's system calls have returned. If the thread cannot be created, the
 * calling thread makes these system calls.
 *
 * The peer has no IVS_CAP_WRITE if this process may only read the file of shm: or file:, if the
 * server's fd of the region is open for reading only, or if that region is sealed against writing.
 * Check IVS_CAP_WRITE before you write.
 *
 * Return: 0, IVS_PEER_E_ADDRESS, _ABSENT, _AMBIGUOUS, _VECTOR, _TIMEOUT, _PROTOCOL, _SERVER_LOST,
 * _DEVICE_GONE; -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_open(const char *address, const struct ivs_peer_options *opts,
					  struct ivs_peer **out, struct ivs_error *err);

/**
 * ivs_peer_open_read_only() - like ivs_peer_open(), but map the region for reading only
 *
 * With shm: and file:, permission to read the file suffices. The peer has no IVS_CAP_WRITE; with a
 * server or a device it can still ring other peers.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_open_read_only(const char *address,
						    const struct ivs_peer_options *opts,
						    struct ivs_peer **out, struct ivs_error *err);

/**
 * ivs_peer_close() - leave: unmap the region, close all fds, free the peer. NULL is ignored.
 *
 * If closing or unmapping what a server has sent takes longer than the time limit, it continues in
 * a thread, and the region stays mapped until that thread has unmapped it.
 */
IVS_PUBLIC void ivs_peer_close(struct ivs_peer *peer);

/**
 * ivs_peer_caps() - the peer's capabilities: enum ivs_peer_cap values, ORed together
 *
 * Capabilities can change: WAIT is set when the peer receives its first vector; ROSTER is cleared
 * when the server exits. If ROSTER comes from a roster page, it is set again when another server
 * publishes a roster page. It is not cleared if the server is killed: a killed server cannot mark
 * the page.
 */
IVS_PUBLIC unsigned int ivs_peer_caps(const struct ivs_peer *peer);

/**
 * ivs_peer_cap_reason() - why the peer does not have @cap, and how to get it: a message for users
 * @cap: a single capability
 *
 * Return: a string that is valid until ivs_peer_close(); NULL if the peer has @cap.
 */
IVS_PUBLIC const char *ivs_peer_cap_reason(const struct ivs_peer *peer, enum ivs_peer_cap cap);

/**
 * ivs_peer_strerror() - describe a result of this API in a few words, for a message to users
 * @result: 0, a value of enum ivs_peer_error, or -errno
 *
 * The string names no address, peer or vector, so add them to the message. For
 * IVS_PEER_E_UNSUPPORTED, ivs_peer_cap_reason() returns the reason and how to get the capability.
 *
 * Return: a static string, never NULL.
 */
IVS_PUBLIC const char *ivs_peer_strerror(int result);

/** ivs_peer_transport() - the transport: "unix", "shm", "file", "driver", "vfio" or "sysfs" */
IVS_PUBLIC const char *ivs_peer_transport(const struct ivs_peer *peer);

/**
 * ivs_peer_describe() - describe transport, memory and vectors in a message for users
 *
 * The result is, for example, "sysfs: uncached memory, no interrupts" or "driver: cached memory, 2
 * vectors, region demo", where the region's name appears if the device has it. The function
 * describes the peer as it was when it was opened.
 *
 * Return: a string that is valid until ivs_peer_close().
 */
IVS_PUBLIC const char *ivs_peer_describe(const struct ivs_peer *peer);

/** ivs_peer_id() - the peer's id, 0 to 65535; -1 without IVS_CAP_ID */
IVS_PUBLIC int ivs_peer_id(const struct ivs_peer *peer);

/**
 * ivs_peer_memory() - the region, mapped for reading and, with IVS_CAP_WRITE, for writing
 * @len: set to the size of the region in bytes; may be NULL
 *
 * Other peers may change any word at any time: read each word once, check it, then use it.
 * The end of the region may be reserved for a roster page: see ivs_peer_usable_len().
 *
 * Once the device has been unplugged: with our driver, every page is replaced by one page of
 * zeroes, which all processes that had the device open share; with vfio the memory stays until the
 * peer is closed; with sysfs the removal cannot be detected, and another device may reuse the
 * addresses.
 */
IVS_PUBLIC void *ivs_peer_memory(const struct ivs_peer *peer, size_t *len);

/**
 * ivs_peer_usable_len() - number of bytes at the start of the region that applications may use
 *
 * The rest is reserved for the roster page (ivshmem-server --roster); without a roster page, the
 * whole region is usable. The length does not change while the peer is open.
 */
IVS_PUBLIC size_t ivs_peer_usable_len(const struct ivs_peer *peer);

/**
 * enum ivs_region_change - how the region's file differs from the file that the peer opened
 * @IVS_REGION_NAME_LOST: the file's name was removed, renamed or replaced; processes that open the
 *                        name now get a different region, or none
 * @IVS_REGION_SHRUNK:    the file is shorter than the mapping: accesses to lost pages raise SIGBUS
 * @IVS_REGION_GROWN:     the file is longer than the mapping
 */
enum ivs_region_change {
	IVS_REGION_NAME_LOST = 1 << 0,
	IVS_REGION_SHRUNK = 1 << 1,
	IVS_REGION_GROWN = 1 << 2,
};

/**
 * ivs_peer_region_changes() - how the region's file has changed since the peer was opened
 *
 * The memory stays mapped, and peers that have the same file open continue to share it; but
 * processes that open the region by its name do not get the same memory. This function queries the
 * kernel, and never waits for another process.
 *
 * Return: enum ivs_region_change values, ORed together. Always 0 in a guest, for a server's region
 * that is sealed, and for one on a file system that is accepted only with any_file_system.
 */
IVS_PUBLIC unsigned int ivs_peer_region_changes(const struct ivs_peer *peer);

/** ivs_peer_vectors() - number of the peer's own vectors, which are numbered from 0 */
IVS_PUBLIC unsigned int ivs_peer_vectors(const struct ivs_peer *peer);

/**
 * ivs_peer_ring() - ring @vector of peer @id
 * @id: may be the id of @peer itself
 *
 * Data written to the region before the call is visible to the peer once it is rung. Doorbells
 * coalesce: a doorbell is a hint to look at the region, and carries neither sender nor count. If
 * the eventfd's counter is full, a doorbell is already pending, and the call returns 0 without
 * waiting. (On the host, a peer that clears O_NONBLOCK and fills the counter between the library's
 * poll(2) and write(2) can make this call wait, in this thread only, until the counter is read;
 * with eventfds this cannot be avoided.)
 *
 * Joins and leaves that the server has sent are received first, so that the new owner of an id is
 * not mistaken for its previous owner; ivs_peer_next() still reports them. In a guest the device
 * ignores ids and vectors that do not exist, and the result is 0. If the region has a roster page,
 * the doorbell is rung in any case, but the result is IVS_PEER_E_ABSENT or _VECTOR if the page
 * shows that the peer or its vector does not exist.
 *
 * Return: 0, IVS_PEER_E_ABSENT, _VECTOR, _UNSUPPORTED, _DEVICE_GONE; -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_ring(struct ivs_peer *peer, unsigned int id,
					  unsigned int vector);

/**
 * ivs_doorbell_new() - look up @vector of peer @id once, to ring it often
 * @id:  may be the id of @peer itself
 * @out: the doorbell; unchanged unless 0 is returned
 *
 * On the host a doorbell is bound to the peer that has @id now. Until the peer's leave has been
 * received, the doorbell can ring the next peer that is assigned @id, because that peer can have
 * the same eventfds; after that it rings no peer. In a guest it is bound to @id and @vector,
 * without a check that they exist. Free all doorbells of a peer before you close the peer.
 *
 * Return: 0, IVS_PEER_E_ABSENT, _VECTOR, _UNSUPPORTED, _DEVICE_GONE; -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_doorbell_new(struct ivs_peer *peer, unsigned int id,
					     unsigned int vector, struct ivs_doorbell **out);

/**
 * ivs_doorbell_ring() - ring a doorbell
 *
 * Like ivs_peer_ring(), with the same guarantees for memory, coalescing and full counters, but this
 * function takes no lock and receives nothing from the server: it returns IVS_PEER_E_ABSENT once
 * ivs_peer_next() or ivs_peer_ring() has received the peer's leave. A program that only rings has
 * to call ivs_peer_next() now and then. Several threads may ring the same doorbell.
 *
 * On the host a ring costs one poll(2), which detects a full counter, and one write(2); in a guest
 * it costs one store to a register, or one ioctl(2) if the registers cannot be mapped.
 *
 * Return: 0, IVS_PEER_E_ABSENT, _DEVICE_GONE; -errno.
 */
IVS_PUBLIC IVS_MUST_USE int ivs_doorbell_ring(const struct ivs_doorbell *doorbell);

/** ivs_doorbell_free() - free a doorbell; the peer must still be open. NULL is ignored. */
IVS_PUBLIC void ivs_doorbell_free(struct ivs_doorbell *doorbell);

/**
 * ivs_peer_wait() - wait until the peer's own @vector is rung, and consume the doorbell
 * @timeout_ms: 0: do not wait; -1: no limit
 *
 * A doorbell that arrived before the call counts. Joins and leaves are not processed: use
 * ivs_peer_next(), which also consumes doorbells of all vectors.
 *
 * Return: 0, IVS_PEER_E_TIMEOUT, _VECTOR, _UNSUPPORTED, _DEVICE_GONE, _STOPPED; -errno (-EINTR: a
 * signal arrived, or the process was stopped and continued).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_wait(struct ivs_peer *peer, unsigned int vector,
					  int timeout_ms);

/**
 * ivs_peer_stop() - wake all waiters and make further waits fail
 *
 * After this call, ivs_peer_wait() and ivs_peer_next() return IVS_PEER_E_STOPPED, including in
 * threads that are already waiting, and ivs_peer_fd() is readable. All other functions continue to
 * work.
 */
IVS_PUBLIC void ivs_peer_stop(struct ivs_peer *peer);

/**
 * enum ivs_event_type - what ivs_peer_next() reports
 * @IVS_EVENT_DOORBELL:    the peer's own @vector was rung, once or more
 * @IVS_EVENT_JOIN:        peer @id has @vectors_n vectors and can be rung. Peers that joined before
 *                         this peer are reported after ivs_peer_open(). The event is repeated for
 *                         the same id, with a larger number, if more of its vectors become known
 *                         later.
 * @IVS_EVENT_LEAVE:       peer @id has left
 * @IVS_EVENT_SERVER_LOST: the connection to the server was lost, or the server exited: no more
 *                         joins and leaves are reported. The memory and the known doorbells
 *                         continue to work. The event is reported once or, with a roster page, once
 *                         for each server that exits.
 * @IVS_EVENT_REGION:      the value of ivs_peer_region_changes() has changed
 */
enum ivs_event_type {
	IVS_EVENT_DOORBELL = 1,
	IVS_EVENT_JOIN,
	IVS_EVENT_LEAVE,
	IVS_EVENT_SERVER_LOST,
	IVS_EVENT_REGION,
};

struct ivs_event {
	enum ivs_event_type type;
	unsigned int id;	/* JOIN, LEAVE */
	unsigned int vectors_n; /* JOIN */
	unsigned int vector;	/* DOORBELL */
};

/**
 * ivs_peer_next() - wait for the next event of any kind
 * @timeout_ms: 0: do not wait; -1: no limit
 * @event:      set when 0 is returned
 *
 * A leave is reported before the join of the next peer with the same id. A peer that joins and
 * leaves between two calls is not reported.
 *
 * Without a connection to a server (pci:, shm:, file:), joins and leaves come from the roster page,
 * if the region has one. Changes to the page ring no doorbell, so this function reads the page when
 * it is called and every 100 ms while it waits. The page also lists peers without vectors, which
 * are reported with @vectors_n 0; a server does not announce such peers to its clients.
 *
 * With unix:, shm: and file:, a change to the region's file is noticed within a second.
 *
 * Return: 0, IVS_PEER_E_TIMEOUT, _UNSUPPORTED (the transport has neither vectors nor joins, nor a
 * region or device that can change), _DEVICE_GONE, _STOPPED; -errno (-EINTR: a signal arrived).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_next(struct ivs_peer *peer, int timeout_ms,
					  struct ivs_event *event);

/**
 * ivs_peer_fd() - an fd for poll(2) and the like: readable when ivs_peer_next() has an event
 *
 * The fd is owned by @peer. When it is readable, call ivs_peer_next() with timeout 0 until it
 * returns IVS_PEER_E_TIMEOUT, which may be the first result. If joins and leaves come from a roster
 * page, the fd becomes readable every 100 ms; if the region's file can change, every second.
 *
 * The fd is itself an epoll instance. If untrusted processes run on the machine, use poll(2)
 * instead of adding the fd to another epoll instance: EPOLL_CTL_ADD of an epoll instance takes a
 * mutex that is global to the kernel. Any process can hold this mutex for as long as it likes, and
 * no signal ends the wait for it, not even SIGKILL. Peers can also make EPOLL_CTL_ADD fail
 * (EINVAL), by having hundreds of nested epoll instances watch the peer's eventfds. If an epoll
 * instance does watch the fd, remove the fd from it before ivs_peer_close(), which may keep the fd
 * open for a while. EPOLL_CTL_DEL does not block.
 *
 * The library itself takes the mutex only in its thread, for vectors that arrive after
 * ivs_peer_open() has returned. While another process holds the mutex, only ivs_peer_wait() reports
 * the doorbells of these vectors.
 *
 * Return: the fd; -1 if ivs_peer_next() would return IVS_PEER_E_UNSUPPORTED.
 */
IVS_PUBLIC int ivs_peer_fd(const struct ivs_peer *peer);

/**
 * ivs_peer_vector_fd() - the eventfd of one of the peer's own vectors
 *
 * The fd is owned by @peer. It is readable when the vector has been rung; reading consumes the
 * doorbell. Use preadv2(2) with RWF_NOWAIT: an untrusted peer may have consumed the doorbell and
 * made the fd blocking.
 *
 * Return: the fd; -1 if there is no such vector.
 */
IVS_PUBLIC int ivs_peer_vector_fd(const struct ivs_peer *peer, unsigned int vector);

/**
 * ivs_peer_roster() - the other peers, according to the joins and leaves that ivs_peer_next() has
 * reported
 * @ids:   set to their ids, ascending
 * @ids_n: number of ids for which @ids has room
 *
 * Return: the number of peers, which may exceed @ids_n; 0 without IVS_CAP_ROSTER.
 */
IVS_PUBLIC unsigned int ivs_peer_roster(struct ivs_peer *peer, unsigned int *ids,
					unsigned int ids_n);

/** ivs_peer_vectors_of() - the known number of vectors of peer @id; 0: no such peer */
IVS_PUBLIC unsigned int ivs_peer_vectors_of(struct ivs_peer *peer, unsigned int id);

/**
 * struct ivs_roster_info - the roster page at the end of the region
 * @generation: counts joins and leaves
 * @peers_n:    number of connected peers
 * @listed_n:   number of peers with an entry: fewer than @peers_n if the page has too little room
 * @maintained: true while a server maintains the page; false after the server has exited, when the
 *              page shows the last state. It remains true if the server was killed.
 */
struct ivs_roster_info {
	uint64_t generation;
	unsigned int peers_n;
	unsigned int listed_n;
	bool maintained;
};

/**
 * struct ivs_roster_entry - a peer in the roster page, which also lists the caller
 * @vectors_n: number of the peer's vectors, 0 to 65536
 * @since:     the generation at which the peer joined, above 0. The same id with a different
 *             @since belongs to another peer.
 */
struct ivs_roster_entry {
	unsigned int id;
	unsigned int vectors_n;
	uint64_t since;
};

/**
 * ivs_peer_read_roster() - read the roster page; works with every transport
 * @peers:   set to the entries, ascending by id; may be NULL if @peers_n is 0
 * @peers_n: number of entries for which @peers has room
 *
 * The result is a consistent snapshot, with all values within range; but any peer can write
 * anything to the page, so treat the result as a hint. The call consumes no events, and takes about
 * 50 ms at most.
 *
 * Return: 0, IVS_PEER_E_ABSENT (there is no page, or it is damaged), _BUSY (it changed during every
 * attempt, or the server was killed while writing it); -errno (-ENOMEM).
 */
IVS_PUBLIC IVS_MUST_USE int ivs_peer_read_roster(struct ivs_peer *peer, struct ivs_roster_info *out,
						 struct ivs_roster_entry *peers,
						 unsigned int peers_n);

#ifdef __cplusplus
}
#endif

#endif
