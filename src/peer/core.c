/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Functions shared by all transports: capabilities, mapping the region, own vectors, and the epoll
 * instance.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/fd.h"
#include "peer/private.h"

static unsigned int cap_bit(enum ivs_peer_cap cap)
{
	return (unsigned int)__builtin_ctz((unsigned int)cap);
}

int ivs_peer_set_transport(struct ivs_peer *peer, const struct ivs_transport_ops *ops,
			   struct ivs_error *err)
{
	peer->state = calloc(1, ops->state_len ? ops->state_len : 1);
	if (!peer->state)
		return ivs_error_errno(err, ENOMEM, "cannot use the transport %s", ops->name);
	peer->transport = ops;
	return 0;
}

void ivs_peer_allow(struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	__atomic_fetch_or(&peer->caps, (unsigned int)cap, __ATOMIC_RELEASE);
	__atomic_store_n(&peer->why_not[cap_bit(cap)], NULL, __ATOMIC_RELEASE);
}

void ivs_peer_deny(struct ivs_peer *peer, enum ivs_peer_cap cap, const char *why)
{
	__atomic_store_n(&peer->why_not[cap_bit(cap)], why, __ATOMIC_RELEASE);
	__atomic_fetch_and(&peer->caps, ~(unsigned int)cap, __ATOMIC_RELEASE);
}

unsigned int ivs_peer_caps(const struct ivs_peer *peer)
{
	return __atomic_load_n(&peer->caps, __ATOMIC_ACQUIRE);
}

const char *ivs_peer_cap_reason(const struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	unsigned int bit = cap ? cap_bit(cap) : IVS_CAPS_N;

	return bit < IVS_CAPS_N ? __atomic_load_n(&peer->why_not[bit], __ATOMIC_ACQUIRE) : NULL;
}

int ivs_peer_map(struct ivs_peer *peer, int fd, uint64_t offset, uint64_t len,
		 struct ivs_error *err)
{
	int access = peer->read_only ? PROT_READ : PROT_READ | PROT_WRITE;
	void *memory;

	if (!len || len > SIZE_MAX / 2)
		return ivs_error_errno(err, EFBIG, "cannot map a region of %llu bytes",
				       (unsigned long long)len);
	memory = mmap(NULL, len, access, MAP_SHARED, fd, (off_t)offset);
	if (memory == MAP_FAILED)
		return ivs_error_errno(err, errno, "cannot map the region");
	peer->memory = memory;
	peer->memory_len = len;
	if (peer->read_only)
		ivs_peer_deny(peer, IVS_CAP_WRITE, peer->read_only);
	else
		ivs_peer_allow(peer, IVS_CAP_WRITE);
	return 0;
}

int ivs_peer_watch(struct ivs_peer *peer, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event event = {.events = events, .data.u32 = tag};

	if (peer->epoll_fd < 0)
		peer->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (peer->epoll_fd < 0)
		return -errno;
	return epoll_ctl(peer->epoll_fd, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

void ivs_peer_mute(struct ivs_peer *peer, int fd, uint32_t tag)
{
	/* The kernel always reports a hang-up; with EPOLLET, it does so only once. */
	struct epoll_event event = {.events = EPOLLET, .data.u32 = tag};

	(void)epoll_ctl(peer->epoll_fd, EPOLL_CTL_MOD, fd, &event);
}

void ivs_peer_unwatch(struct ivs_peer *peer, int fd)
{
	if (peer->epoll_fd >= 0 && fd >= 0)
		(void)epoll_ctl(peer->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

int ivs_peer_watch_changes(struct ivs_peer *peer)
{
	peer->pending_fd = eventfd(1, EFD_NONBLOCK | EFD_CLOEXEC);
	if (peer->pending_fd < 0)
		return -errno;
	return ivs_peer_watch(peer, peer->pending_fd, EPOLLIN, IVS_TAG_PENDING);
}

int ivs_peer_keep_vector(struct ivs_peer *peer, int *fd)
{
	unsigned int max = peer->vectors_max ? peer->vectors_max * 2 : 4;
	int *more;

	/*
	 * Ignore vectors above 65535: no peer can ring them, and the epoll instance uses their
	 * numbers for other tags.
	 */
	if (peer->vectors_n > IVS_VECTOR_MAX)
		return 0;
	if (peer->vectors_n == peer->vectors_max) {
		more = reallocarray(peer->vectors, max, sizeof(*more));
		if (!more)
			return -ENOMEM;
		peer->vectors = more;
		peer->vectors_max = max;
	}
	peer->vectors[peer->vectors_n] = ivs_fd_take(fd);
	__atomic_store_n(&peer->vectors_n, peer->vectors_n + 1, __ATOMIC_RELEASE);
	return 0;
}

int ivs_peer_add_vector(struct ivs_peer *peer, int *fd)
{
	unsigned int vector = peer->vectors_n;
	int result = ivs_peer_keep_vector(peer, fd);

	if (result || vector == peer->vectors_n)
		return result;
	return ivs_peer_watch(peer, peer->vectors[vector], EPOLLIN, vector);
}

unsigned int ivs_peer_vectors(const struct ivs_peer *peer)
{
	return __atomic_load_n(&peer->vectors_n, __ATOMIC_ACQUIRE);
}

int ivs_peer_vector_fd(const struct ivs_peer *peer, unsigned int vector)
{
	struct ivs_peer *locked = (struct ivs_peer *)peer; /* drop const, but only for locking */
	int fd;

	pthread_mutex_lock(&locked->lock);
	fd = vector < peer->vectors_n ? peer->vectors[vector] : -1;
	pthread_mutex_unlock(&locked->lock);
	return fd;
}

bool ivs_peer_is_gone(const struct ivs_peer *peer)
{
	return __atomic_load_n(&peer->gone, __ATOMIC_ACQUIRE) ||
	       (peer->transport->is_gone && peer->transport->is_gone(peer));
}
