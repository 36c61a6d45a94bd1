/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/roster.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/eventfd.h"
#include "base/fd.h"
#include "peer/private.h"
#include "region/received.h"

#define LOOK_NS (100 * (long)IVS_NS_PER_MS) /* interval of P-8 */

/* The server's update of the page takes microseconds, unless the server is preempted. */
#define TRIES_AT_ONCE 16
#define ROUNDS 3 /* an untrusted peer may make the table of entries grow at any time */
#define TRIES 50
#define PAUSE_NS IVS_NS_PER_MS

#define WHY_ENDED "the server that maintained the roster page in the region has exited"

/*
 * Reading a file on a disk can block on the lock of its inode, which another process may hold; a
 * page fault does not take that lock. In both cases the kernel makes the access, so that a lost
 * page causes an error instead of SIGBUS.
 */
static bool roster_copy_bytes(const struct ivs_peer *peer, int fd, size_t at, void *out, size_t len)
{
	struct iovec from = {(uint8_t *)peer->memory + at, len};
	struct iovec to = {out, len};

	if (ivs_received_is_memory(fd))
		return pread(fd, out, len, (off_t)at) == (ssize_t)len;
	return process_vm_readv(getpid(), &to, 1, &from, 1, 0) == (ssize_t)len;
}

void ivs_peer_roster_note(struct ivs_peer *peer, int fd)
{
	uint8_t bytes[IVS_ROSTER_PAGE_HEADER_LEN];
	struct ivs_roster_page_header header;
	size_t len = peer->memory_len;

	if (len < IVS_ROSTER_PAGE_LEN ||
	    !roster_copy_bytes(peer, fd, len - IVS_ROSTER_PAGE_LEN, bytes, sizeof(bytes)))
		return;
	if (!ivs_roster_page_get_header(bytes, len, &header))
		peer->roster.reserved_len = header.reserved_len;
}

/* Copy the page to the buffer in @peer, enlarging it if necessary. Called with the lock held. */
static int roster_take_snapshot(struct ivs_peer *peer, struct ivs_roster_page_snapshot *out)
{
	struct ivs_peer_roster *roster = &peer->roster;
	struct ivs_roster_page_entry *more;
	uint32_t room_n;
	int result = IVS_ROSTER_PAGE_E_BUSY;

	for (int i = 0; i < ROUNDS; i++) {
		*out = (struct ivs_roster_page_snapshot){
			.entries = roster->entries,
			.entries_max = roster->entries_max,
		};
		result = ivs_roster_page_read(peer->memory, peer->memory_len, TRIES_AT_ONCE, out);
		if (result || out->used_n <= roster->entries_max)
			break;
		room_n = out->header.entries_n; /* this is at most IVS_ID_MAX + 1 */
		more = reallocarray(roster->entries, room_n, sizeof(*more));
		if (!more)
			return -ENOMEM;
		roster->entries = more;
		roster->entries_max = room_n;
		result = IVS_ROSTER_PAGE_E_BUSY;
	}
	if (!result)
		out->used_n = ivs_roster_page_reader_sort(out->entries, out->used_n);
	return result;
}

/* P-7: without a server, the other peers remain known, and their doorbells continue to work. */
static void roster_set_maintained(struct ivs_peer *peer, bool maintained)
{
	struct ivs_peer_roster *roster = &peer->roster;

	if (roster->maintained && !maintained) {
		peer->server_lost = true;
		ivs_peer_deny(peer, IVS_CAP_ROSTER, WHY_ENDED);
	} else if (maintained && !roster->maintained) {
		peer->server_lost = false;
		ivs_peer_allow(peer, IVS_CAP_ROSTER);
	}
	roster->maintained = maintained;
}

/* Called with the lock held. */
static int roster_look(struct ivs_peer *peer)
{
	struct ivs_roster_page_snapshot snapshot;
	struct ivs_peer_roster *roster = &peer->roster;
	int result;

	if (roster->taken &&
	    ivs_roster_page_read_sequence(peer->memory, peer->memory_len) == roster->sequence)
		return 0;
	result = roster_take_snapshot(peer, &snapshot);
	if (result)
		return result < 0 ? result : 0; /* try again later */
	if (snapshot.header.maintained) {
		result = ivs_roster_page_reader_set(&roster->reader, snapshot.entries,
						    snapshot.used_n);
		if (result)
			return result;
		roster->complete = snapshot.header.peers_n <= snapshot.used_n;
	}
	roster_set_maintained(peer, snapshot.header.maintained);
	roster->sequence = snapshot.header.sequence;
	roster->taken = true;
	return ivs_eventfd_signal(peer->pending_fd);
}

int ivs_peer_roster_update(struct ivs_peer *peer)
{
	int result;

	if (!peer->roster.watched)
		return 0;
	pthread_mutex_lock(&peer->lock);
	result = roster_look(peer);
	pthread_mutex_unlock(&peer->lock);
	return result;
}

static int roster_watch_timer(struct ivs_peer *peer)
{
	const struct itimerspec every = {{0, LOOK_NS}, {0, LOOK_NS}};

	peer->roster.timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (peer->roster.timer_fd < 0 || timerfd_settime(peer->roster.timer_fd, 0, &every, NULL))
		return -errno;
	return ivs_peer_watch(peer, peer->roster.timer_fd, EPOLLIN, IVS_TAG_TIMER);
}

int ivs_peer_roster_open(struct ivs_peer *peer, struct ivs_error *err)
{
	struct ivs_roster_page_header header;
	int result;

	if (ivs_roster_page_read_header(peer->memory, peer->memory_len, &header))
		return 0;
	peer->roster.reserved_len = header.reserved_len;
	peer->roster.reader.own_id = peer->id;
	ivs_peer_deny(peer, IVS_CAP_ROSTER, WHY_ENDED);
	result = ivs_peer_watch_changes(peer);
	if (!result)
		result = roster_watch_timer(peer);
	if (!result)
		result = roster_look(peer);
	if (result)
		return ivs_error_errno(err, -result, "cannot watch the roster page in the region");
	peer->roster.watched = true;
	return 0;
}

void ivs_peer_roster_close(struct ivs_peer *peer)
{
	ivs_fd_close(&peer->roster.timer_fd);
	ivs_roster_page_reader_deinit(&peer->roster.reader);
	free(peer->roster.entries);
}

/* P-9: a peer without an entry may exist, unless the page lists all peers. */
static int roster_judge(const struct ivs_peer_roster *roster, unsigned int id, unsigned int vector)
{
	const struct ivs_roster_page_peer *member = ivs_roster_page_reader_get(&roster->reader, id);

	if (member)
		return vector < member->vectors_n ? 0 : IVS_PEER_E_VECTOR;
	return roster->maintained && roster->complete ? IVS_PEER_E_ABSENT : 0;
}

int ivs_peer_roster_check(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	int result;

	if (!peer->roster.watched || (int)id == peer->id)
		return 0;
	pthread_mutex_lock(&peer->lock);
	result = roster_look(peer);
	if (!result)
		result = roster_judge(&peer->roster, id, vector);
	pthread_mutex_unlock(&peer->lock);
	return result;
}

/* Read the page once. Return: 0, IVS_ROSTER_PAGE_E_*, -errno. */
static int roster_copy(struct ivs_peer *peer, struct ivs_roster_info *out,
		       struct ivs_roster_entry *peers, unsigned int peers_n)
{
	struct ivs_roster_page_snapshot snapshot;
	int result;

	pthread_mutex_lock(&peer->lock);
	result = roster_take_snapshot(peer, &snapshot);
	if (!result) {
		*out = (struct ivs_roster_info){
			.generation = snapshot.header.generation,
			.peers_n = snapshot.header.peers_n,
			.listed_n = snapshot.used_n,
			.maintained = snapshot.header.maintained,
		};
		for (unsigned int i = 0; i < snapshot.used_n && i < peers_n; i++)
			peers[i] = (struct ivs_roster_entry){
				.id = snapshot.entries[i].id,
				.vectors_n = snapshot.entries[i].vectors_n,
				.since = snapshot.entries[i].since,
			};
	}
	pthread_mutex_unlock(&peer->lock);
	return result;
}

int ivs_peer_read_roster(struct ivs_peer *peer, struct ivs_roster_info *out,
			 struct ivs_roster_entry *peers, unsigned int peers_n)
{
	const struct timespec pause = {.tv_nsec = PAUSE_NS};
	int result = roster_copy(peer, out, peers, peers_n);

	for (int i = 0; i < TRIES && result == IVS_ROSTER_PAGE_E_BUSY; i++) {
		nanosleep(&pause, NULL);
		result = roster_copy(peer, out, peers, peers_n);
	}
	if (result == IVS_ROSTER_PAGE_E_BUSY)
		return IVS_PEER_E_BUSY;
	return result == IVS_ROSTER_PAGE_E_ABSENT ? IVS_PEER_E_ABSENT : result;
}
