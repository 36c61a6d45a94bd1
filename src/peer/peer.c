/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is the same for every way in: opening by address, what it can do, own vectors, ringing, and
 * who is there.
 */
#include "ivshmem/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/fd.h"
#include "peer/private.h"

#define DEFAULT_TIMEOUT_MS 5000

static const struct {
	const char *prefix;
	const struct ivs_transport_ops *transport;
} transports[] = {
	{"unix:", &ivs_transport_unix},		 {"shm:", &ivs_transport_shm},
	{"file:", &ivs_transport_file},		 {"pci:", &ivs_transport_pci},
	{"/dev/ivshmem", &ivs_transport_driver},
};

static unsigned int cap_number(enum ivs_peer_cap cap)
{
	return (unsigned int)__builtin_ctz((unsigned int)cap);
}

void ivs_peer_allow(struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	__atomic_fetch_or(&peer->caps, (unsigned int)cap, __ATOMIC_RELEASE);
	__atomic_store_n(&peer->why_not[cap_number(cap)], NULL, __ATOMIC_RELEASE);
}

void ivs_peer_deny(struct ivs_peer *peer, enum ivs_peer_cap cap, const char *why)
{
	__atomic_store_n(&peer->why_not[cap_number(cap)], why, __ATOMIC_RELEASE);
	__atomic_fetch_and(&peer->caps, ~(unsigned int)cap, __ATOMIC_RELEASE);
}

int ivs_peer_map(struct ivs_peer *peer, int fd, uint64_t offset, uint64_t len,
		 struct ivs_error *err)
{
	void *memory;

	if (!len || len > SIZE_MAX / 2)
		return ivs_error_errno(err, EFBIG, "cannot map a region of %llu bytes",
				       (unsigned long long)len);
	memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
	if (memory == MAP_FAILED)
		return ivs_error_errno(err, errno, "cannot map the region");
	peer->memory = memory;
	peer->memory_len = len;
	return 0;
}

int ivs_peer_watch(struct ivs_peer *peer, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event event = {.events = events, .data.u32 = tag};

	if (peer->epoll < 0)
		peer->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (peer->epoll < 0)
		return -errno;
	return epoll_ctl(peer->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

int ivs_peer_add_vector(struct ivs_peer *peer, int *fd)
{
	unsigned int max = peer->vectors_max ? peer->vectors_max * 2 : 4;
	int *more;
	int result;

	if (peer->vectors_n == peer->vectors_max) {
		more = reallocarray(peer->vectors, max, sizeof(*more));
		if (!more)
			return -ENOMEM;
		peer->vectors = more;
		peer->vectors_max = max;
	}
	result = ivs_peer_watch(peer, *fd, EPOLLIN, peer->vectors_n);
	if (result)
		return result;
	peer->vectors[peer->vectors_n] = ivs_fd_take(fd);
	__atomic_store_n(&peer->vectors_n, peer->vectors_n + 1, __ATOMIC_RELEASE);
	return 0;
}

static struct ivs_peer *new_peer(void)
{
	struct ivs_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->id = -1;
	peer->epoll = -1;
	peer->pending = -1;
	peer->stop = -1;
	peer->gone_fd = -1;
	peer->connection = (struct ivs_connection)IVS_CONNECTION_INIT;
	peer->driver.fd = -1;
	peer->roster.timer = -1;
	peer->roster.reader.own_id = -1;
	peer->vfio.container = peer->vfio.group = peer->vfio.device = peer->vfio.request = -1;
	pthread_mutex_init(&peer->lock, NULL);
	return peer;
}

static void describe(struct ivs_peer *peer)
{
	const char *memory = ivs_peer_caps(peer) & IVS_CAP_CACHED ? "cached" : "uncached";
	char interrupts[32] = "no interrupts";

	if (ivs_peer_caps(peer) & IVS_CAP_WAIT)
		snprintf(interrupts, sizeof(interrupts), "%u vectors", peer->vectors_n);
	snprintf(peer->description, sizeof(peer->description), "%s: %s memory, %s%s%s", peer->name,
		 memory, interrupts, *peer->region ? ", region " : "", peer->region);
}

int ivs_peer_open(const char *address, const struct ivs_peer_options *opts, struct ivs_peer **out,
		  struct ivs_error *err)
{
	struct ivs_peer_options used = opts ? *opts : (struct ivs_peer_options){0};
	struct ivs_peer *peer;
	size_t len = 0;
	size_t i;
	int result;

	if (err)
		*err->text = 0;
	for (i = 0; i < sizeof(transports) / sizeof(*transports); i++) {
		len = strlen(transports[i].prefix);
		if (!strncmp(address, transports[i].prefix, len))
			break;
	}
	if (i == sizeof(transports) / sizeof(*transports))
		return ivs_error_set(err, IVS_PEER_E_ADDRESS,
				     "\"%s\" is no address of a way in: use unix:PATH, shm:NAME, "
				     "file:PATH, pci:BDF or /dev/ivshmemN",
				     address);
	if (!used.timeout_ms)
		used.timeout_ms = DEFAULT_TIMEOUT_MS;
	peer = new_peer();
	if (!peer)
		return ivs_error_errno(err, ENOMEM, "cannot open %s", address);
	peer->transport = transports[i].transport;
	result = peer->transport->open(peer, address + len, &used, err);
	if (!result && !(ivs_peer_caps(peer) & IVS_CAP_ROSTER))
		result = ivs_peer_roster_open(peer, err);
	if (!result) {
		result = ivs_peer_open_wait(peer);
		if (result)
			ivs_error_errno(err, -result, "cannot wait at %s", address);
	}
	if (result) {
		ivs_peer_close(peer);
		return result;
	}
	describe(peer);
	*out = peer;
	return 0;
}

void ivs_peer_close(struct ivs_peer *peer)
{
	if (!peer)
		return;
	peer->transport->close(peer);
	ivs_peer_roster_close(peer);
	if (peer->memory)
		munmap(peer->memory, peer->memory_len);
	for (unsigned int i = 0; i < peer->vectors_n; i++)
		ivs_fd_close(&peer->vectors[i]);
	free(peer->vectors);
	ivs_fd_close(&peer->stop);
	ivs_fd_close(&peer->epoll);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
}

unsigned int ivs_peer_caps(const struct ivs_peer *peer)
{
	return __atomic_load_n(&peer->caps, __ATOMIC_ACQUIRE);
}

const char *ivs_peer_cap_reason(const struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	unsigned int number = cap ? cap_number(cap) : IVS_CAPS_N;

	return number < IVS_CAPS_N ? __atomic_load_n(&peer->why_not[number], __ATOMIC_ACQUIRE)
				   : NULL;
}

const char *ivs_peer_transport(const struct ivs_peer *peer)
{
	return peer->name;
}

const char *ivs_peer_describe(const struct ivs_peer *peer)
{
	return peer->description;
}

int ivs_peer_id(const struct ivs_peer *peer)
{
	return peer->id;
}

void *ivs_peer_memory(const struct ivs_peer *peer, size_t *len)
{
	if (len)
		*len = peer->memory_len;
	return peer->memory;
}

unsigned int ivs_peer_vectors(const struct ivs_peer *peer)
{
	return __atomic_load_n(&peer->vectors_n, __ATOMIC_ACQUIRE);
}

int ivs_peer_vector_fd(const struct ivs_peer *peer, unsigned int vector)
{
	struct ivs_peer *locked = (struct ivs_peer *)peer; /* the lock is not part of its state */
	int fd;

	pthread_mutex_lock(&locked->lock);
	fd = vector < peer->vectors_n ? peer->vectors[vector] : -1;
	pthread_mutex_unlock(&locked->lock);
	return fd;
}

int ivs_peer_fd(const struct ivs_peer *peer)
{
	return peer->epoll;
}

int ivs_peer_ring(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	if (!(ivs_peer_caps(peer) & IVS_CAP_RING))
		return IVS_PEER_E_UNSUPPORTED;
	if (ivs_peer_is_gone(peer))
		return IVS_PEER_E_DEVICE_GONE;
	if (id > IVS_ID_MAX)
		return IVS_PEER_E_ABSENT;
	if (vector > IVS_VECTOR_MAX)
		return IVS_PEER_E_VECTOR;
	/* The region's contents must be there before the doorbell is. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return peer->transport->ring(peer, id, vector);
}

/* Whether it has been reported that peer @id is there. Called with the lock held. */
static bool is_reported(const struct ivs_peer *peer, unsigned int id)
{
	if (peer->roster.watched)
		return id < peer->roster.reader.ids_n &&
		       peer->roster.reader.peers[id].reported_since;
	return id < peer->connection.doorbells.ids_n &&
	       peer->connection.doorbells.entries[id].reported_n;
}

unsigned int ivs_peer_roster(struct ivs_peer *peer, unsigned int *ids, unsigned int ids_n)
{
	unsigned int n = 0;

	pthread_mutex_lock(&peer->lock);
	for (unsigned int id = 0; id <= IVS_ID_MAX; id++) {
		if (!is_reported(peer, id))
			continue;
		if (n < ids_n)
			ids[n] = id;
		n++;
	}
	pthread_mutex_unlock(&peer->lock);
	return n;
}

/* Called with the lock held. */
static unsigned int vectors_of(const struct ivs_peer *peer, unsigned int id)
{
	const struct ivs_roster_page_peer *member = ivs_roster_page_reader_get(&peer->roster.reader,
									       id);

	if (peer->id >= 0 && id == (unsigned int)peer->id)
		return peer->vectors_n;
	return member ? member->vectors_n : ivs_doorbells_vectors(&peer->connection.doorbells, id);
}

unsigned int ivs_peer_vectors_of(struct ivs_peer *peer, unsigned int id)
{
	unsigned int n;

	pthread_mutex_lock(&peer->lock);
	n = vectors_of(peer, id);
	pthread_mutex_unlock(&peer->lock);
	return n;
}
