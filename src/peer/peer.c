/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is the same for every way in: opening by address, own vectors, waiting, and the order in
 * which events are reported.
 */
#include "ivshmem/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "peer/way.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/fd.h"

#define DEFAULT_TIMEOUT_MS 5000

/*
 * How often ivs_peer_next() looks on when its time is over but the epoll shows something that turns
 * out to be no event: hearing the server takes a round of its own, and a stranger may take back
 * each doorbell before we do.
 */
#define LATE_ROUNDS_MAX 8

static const struct {
	const char *prefix;
	const struct ivs_way *way;
} ways[] = {
	{"unix:", &ivs_way_unix},
	{"shm:", &ivs_way_shm},
	{"file:", &ivs_way_file},
	{"pci:", &ivs_way_pci},
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

int ivs_peer_watch(struct ivs_peer *peer, int fd, uint32_t tag)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = tag};

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
	result = ivs_peer_watch(peer, *fd, peer->vectors_n);
	if (result)
		return result;
	peer->vectors[peer->vectors_n] = ivs_fd_take(fd);
	__atomic_store_n(&peer->vectors_n, peer->vectors_n + 1, __ATOMIC_RELEASE);
	return 0;
}

/*
 * The eventfd is shared with strangers: one may have cleared O_NONBLOCK, which belongs to the open
 * file, and filled the counter. A full counter is a doorbell that was rung already.
 */
int ivs_doorbell_ring(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLOUT};
	const uint64_t one = 1;

	if (poll(&pfd, 1, 0) < 0)
		return -errno;
	if (fd < 0 || pfd.revents & POLLNVAL)
		return -EBADF;
	if (!(pfd.revents & POLLOUT)) /* POLLERR too is a full counter, filled by the kernel */
		return 0;
	if (write(fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
		return -errno;
	return 0;
}

/* RWF_NOWAIT: a stranger may have emptied it since it was seen readable, and cleared O_NONBLOCK. */
int ivs_doorbell_take(int fd)
{
	uint64_t count;
	struct iovec iov = {&count, sizeof(count)};

	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);

	/* Linux before 5.8 cannot do that with an eventfd: then asking first has to do. */
	if (n < 0 && errno == EOPNOTSUPP) {
		if (poll(&pfd, 1, 0) != 1)
			return 0;
		n = read(fd, &count, sizeof(count));
	}
	if (n == sizeof(count))
		return 1;
	if (n < 0)
		return errno == EAGAIN ? 0 : -errno;
	return -EIO; /* no eventfd */
}

static struct ivs_peer *new_peer(void)
{
	struct ivs_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->id = -1;
	peer->epoll = -1;
	peer->pending = -1;
	peer->server = -1;
	peer->view.timer = -1;
	peer->view.members.own_id = -1;
	peer->decoder = (struct ivs_wire_decoder)IVS_WIRE_DECODER_INIT;
	peer->vfio.container = peer->vfio.group = peer->vfio.device = -1;
	pthread_mutex_init(&peer->lock, NULL);
	return peer;
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
	for (i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		len = strlen(ways[i].prefix);
		if (!strncmp(address, ways[i].prefix, len))
			break;
	}
	if (i == sizeof(ways) / sizeof(*ways))
		return ivs_error_set(err, IVS_PEER_E_ADDRESS,
				     "\"%s\" is no address of a way in: use unix:PATH, shm:NAME, "
				     "file:PATH or pci:BDF",
				     address);
	if (!used.timeout_ms)
		used.timeout_ms = DEFAULT_TIMEOUT_MS;
	peer = new_peer();
	if (!peer)
		return ivs_error_errno(err, ENOMEM, "cannot open %s", address);
	peer->way = ways[i].way;
	result = peer->way->open(peer, address + len, &used, err);
	if (!result && !(ivs_peer_caps(peer) & IVS_CAP_ROSTER))
		result = ivs_view_open(peer, err);
	if (result) {
		ivs_peer_close(peer);
		return result;
	}
	*out = peer;
	return 0;
}

void ivs_peer_close(struct ivs_peer *peer)
{
	if (!peer)
		return;
	peer->way->close(peer);
	ivs_view_close(peer);
	if (peer->memory)
		munmap(peer->memory, peer->memory_len);
	for (unsigned int i = 0; i < peer->vectors_n; i++)
		ivs_fd_close(&peer->vectors[i]);
	free(peer->vectors);
	ivs_fd_close(&peer->epoll);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
}

unsigned int ivs_peer_caps(const struct ivs_peer *peer)
{
	return __atomic_load_n(&peer->caps, __ATOMIC_ACQUIRE);
}

const char *ivs_peer_why_not(const struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	unsigned int number = cap ? cap_number(cap) : IVS_CAPS_N;

	return number < IVS_CAPS_N ? __atomic_load_n(&peer->why_not[number], __ATOMIC_ACQUIRE)
				   : NULL;
}

const char *ivs_peer_way(const struct ivs_peer *peer)
{
	return peer->name;
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
		return IVS_PEER_E_UNABLE;
	if (id > IVS_WIRE_ID_MAX)
		return IVS_PEER_E_ABSENT;
	if (vector > IVS_WIRE_ID_MAX)
		return IVS_PEER_E_VECTOR;
	/* The region's contents must be there before the doorbell is. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return peer->way->ring(peer, id, vector);
}

int ivs_peer_wait(struct ivs_peer *peer, unsigned int vector, int timeout_ms)
{
	int64_t deadline = ivs_clock_deadline(timeout_ms);
	struct pollfd pfd = {.events = POLLIN};
	int left_ms = 1;
	int result;

	if (!(ivs_peer_caps(peer) & IVS_CAP_WAIT))
		return IVS_PEER_E_UNABLE;
	pfd.fd = ivs_peer_vector_fd(peer, vector);
	if (pfd.fd < 0)
		return IVS_PEER_E_VECTOR;
	for (;;) {
		result = ivs_doorbell_take(pfd.fd);
		if (result)
			return result < 0 ? result : 0;
		/* A stranger who empties it all the time must not keep us beyond our time. */
		if (!left_ms)
			return IVS_PEER_E_TIMEOUT;
		left_ms = ivs_clock_left_ms(deadline);
		result = poll(&pfd, 1, left_ms);
		if (result < 0)
			return -errno;
		if (!result)
			return IVS_PEER_E_TIMEOUT;
	}
}

/* Joins, leaves, and in the end the loss of the server. Called with the lock held. */
static bool report(struct ivs_peer *peer, struct ivs_event *event)
{
	if (ivs_remotes_report(&peer->remotes, event) ||
	    ivs_members_report(&peer->view.members, event))
		return true;
	if (!peer->lost)
		return false;
	peer->lost = false;
	*event = (struct ivs_event){.type = IVS_EVENT_LOST};
	return true;
}

/* What the epoll has shown. Return: 1 with an event, 0 without, -errno. */
static int handle(struct ivs_peer *peer, uint32_t tag, struct ivs_event *event)
{
	int result = 0;

	if (tag == IVS_TAG_TIMER) {
		/* Its count is read only so that it is no longer readable. */
		result = ivs_doorbell_take(peer->view.timer);
		return result < 0 ? result : ivs_view_look(peer);
	}
	if (tag != IVS_TAG_SERVER && tag != IVS_TAG_PENDING) {
		*event = (struct ivs_event){.type = IVS_EVENT_DOORBELL, .vector = tag};
		return ivs_doorbell_take(ivs_peer_vector_fd(peer, tag));
	}
	pthread_mutex_lock(&peer->lock);
	if (tag == IVS_TAG_SERVER && peer->server >= 0)
		result = peer->way->hear(peer);
	if (!result && tag == IVS_TAG_PENDING) {
		result = report(peer, event);
		if (!result)
			result = ivs_doorbell_take(peer->pending) < 0 ? -EIO : 0;
	}
	pthread_mutex_unlock(&peer->lock);
	return result;
}

int ivs_peer_next(struct ivs_peer *peer, int timeout_ms, struct ivs_event *event)
{
	int64_t deadline = ivs_clock_deadline(timeout_ms);
	unsigned int late_rounds = 0;
	struct epoll_event ready;
	int left_ms;
	int result;

	if (peer->epoll < 0)
		return IVS_PEER_E_UNABLE;
	result = ivs_view_look(peer);
	if (result)
		return result;
	do {
		/* One at a time: then the kernel takes turns among those that are ready. */
		left_ms = ivs_clock_left_ms(deadline);
		result = epoll_wait(peer->epoll, &ready, 1, left_ms);
		if (result < 0)
			return -errno;
		if (!result)
			return IVS_PEER_E_TIMEOUT;
		result = handle(peer, ready.data.u32, event);
		if (result)
			return result < 0 ? result : 0;
		late_rounds += !left_ms;
	} while (late_rounds < LATE_ROUNDS_MAX);
	return IVS_PEER_E_TIMEOUT;
}

/* Whether it has been reported that peer @id is there. Called with the lock held. */
static bool is_reported(const struct ivs_peer *peer, unsigned int id)
{
	if (peer->view.watched)
		return id < peer->view.members.ids_n &&
		       peer->view.members.members[id].reported_since;
	return id < peer->remotes.ids_n && peer->remotes.remotes[id].reported_n;
}

unsigned int ivs_peer_roster(struct ivs_peer *peer, unsigned int *ids, unsigned int ids_n)
{
	unsigned int n = 0;

	pthread_mutex_lock(&peer->lock);
	for (unsigned int id = 0; id <= IVS_WIRE_ID_MAX; id++) {
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
	const struct ivs_member *member = ivs_members_get(&peer->view.members, id);

	if (peer->id >= 0 && id == (unsigned int)peer->id)
		return peer->vectors_n;
	return member ? member->vectors_n : ivs_remotes_vectors(&peer->remotes, id);
}

unsigned int ivs_peer_vectors_of(struct ivs_peer *peer, unsigned int id)
{
	unsigned int n;

	pthread_mutex_lock(&peer->lock);
	n = vectors_of(peer, id);
	pthread_mutex_unlock(&peer->lock);
	return n;
}
