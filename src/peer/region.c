/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/region.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>

#include "base/eventfd.h"
#include "base/fd.h"
#include "peer/private.h"

#define LOOK_S 1

static int region_watch_timer(struct ivs_peer *peer)
{
	const struct itimerspec every = {{LOOK_S, 0}, {LOOK_S, 0}};
	struct ivs_peer_region *file = &peer->file;

	file->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
	if (file->timer_fd < 0 || timerfd_settime(file->timer_fd, 0, &every, NULL))
		return -errno;
	return ivs_peer_watch(peer, file->timer_fd, EPOLLIN, IVS_TAG_REGION);
}

int ivs_peer_region_open(struct ivs_peer *peer, int *fd, const char *path)
{
	struct ivs_peer_region *file = &peer->file;

	ivs_region_watch_init(&file->watch, *fd, peer->memory_len, path, -1);
	if (!ivs_region_watch_can_change(&file->watch)) {
		ivs_region_watch_deinit(&file->watch);
		return 0;
	}
	file->fd = ivs_fd_take(fd);
	return region_watch_timer(peer);
}

void ivs_peer_region_close(struct ivs_peer *peer)
{
	ivs_region_watch_deinit(&peer->file.watch);
	ivs_fd_close(&peer->file.timer_fd);
	ivs_fd_close(&peer->file.fd);
}

int ivs_peer_region_report(struct ivs_peer *peer, struct ivs_event *event)
{
	struct ivs_peer_region *file = &peer->file;
	unsigned int changes;
	bool news;
	int result;

	/* Read from the timerfd, so that it is no longer readable. */
	result = ivs_eventfd_take(file->timer_fd);
	if (result < 0)
		return result;
	changes = ivs_region_watch_look(&file->watch);
	pthread_mutex_lock(&peer->lock);
	news = changes != file->reported;
	file->reported = changes;
	pthread_mutex_unlock(&peer->lock);
	if (news)
		*event = (struct ivs_event){.type = IVS_EVENT_REGION};
	return news;
}

unsigned int ivs_peer_region_changes(const struct ivs_peer *peer)
{
	return ivs_region_watch_look(&peer->file.watch);
}
