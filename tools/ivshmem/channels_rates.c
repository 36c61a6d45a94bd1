/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/channels_rates.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"

#define RATE_MAX 1e9 /* messages per second: no peer writes one in a nanosecond */

/**
 * struct channels_mark - what an endpoint was at a point in time
 * @life:  life of its section; 0: the endpoint had no position
 * @ns:    when its position was read
 */
struct channels_mark {
	uint64_t life;
	enum ivs_endpoint_role role;
	uint32_t incarnation;
	uint64_t position;
	int64_t ns;
};

static struct channels_mark *mark_of(const struct channels_rates *rates, unsigned int section,
				     unsigned int index)
{
	return &rates->marks[(size_t)section * IVS_SECTION_ENDPOINTS_N + index];
}

static struct channels_mark read_mark(const struct channels_region *region, unsigned int section,
				      unsigned int index)
{
	struct channels_mark mark = {0};
	struct endpoint_position now;

	if (!channels_read_position(region, section, index, &now))
		return mark;
	mark.ns = ivs_clock_ns();
	mark.life = now.life;
	mark.role = now.state.role;
	mark.incarnation = now.state.incarnation;
	mark.position = now.position;
	return mark;
}

int channels_rates_init(struct channels_rates *rates, const struct channels_region *region)
{
	rates->marks = calloc((size_t)region->layout.sections_n * IVS_SECTION_ENDPOINTS_N,
			      sizeof(*rates->marks));
	if (!rates->marks)
		return -ENOMEM;
	for (unsigned int i = 0; i < region->layout.sections_n; i++) {
		for (unsigned int j = 1; j < IVS_SECTION_ENDPOINTS_N; j++)
			*mark_of(rates, i, j) = read_mark(region, i, j);
	}
	return 0;
}

double channels_rates_next(struct channels_rates *rates, const struct channels_region *region,
			   unsigned int section, unsigned int index)
{
	struct channels_mark *mark = mark_of(rates, section, index);
	struct channels_mark before = *mark;
	double rate;

	*mark = read_mark(region, section, index);
	if (!mark->life || mark->life != before.life || mark->role != before.role ||
	    mark->incarnation != before.incarnation || mark->position < before.position ||
	    mark->ns <= before.ns)
		return -1;
	rate = (double)(mark->position - before.position) * (double)IVS_NS_PER_S /
	       (double)(mark->ns - before.ns);
	return rate <= RATE_MAX ? rate : -1;
}

void channels_rates_deinit(struct channels_rates *rates)
{
	free(rates->marks);
	rates->marks = NULL;
}

void channels_rates_wait(struct ivs_peer *peer, unsigned int interval_s)
{
	int64_t deadline_ns = ivs_clock_deadline((int)interval_s * 1000);
	struct ivs_event event;
	int result = 0;
	int left_ms;

	while ((left_ms = ivs_clock_left_ms(deadline_ns))) {
		const struct timespec pause = {left_ms / 1000, left_ms % 1000 * IVS_NS_PER_MS};

		/* Otherwise a server would have messages for this peer that it does not take. */
		if (!result || result == -EINTR)
			result = ivs_peer_next(peer, left_ms, &event);
		else
			(void)nanosleep(&pause, NULL);
	}
}
