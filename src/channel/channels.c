/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/channels.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "channel/shared.h"

#define PAUSE_MAX_NS (10 * IVS_NS_PER_MS)
/* Without an event for so long, look at the region, in case a doorbell was lost. */
#define SLEEP_MAX_MS 10000
#define EVENTS_MAX 128 /* processed in one turn */

int ivs_channels_pause(int64_t ns)
{
	const struct timespec time = {ns / IVS_NS_PER_S, ns % IVS_NS_PER_S};

	return nanosleep(&time, NULL) ? -errno : 0;
}

bool ivs_channels_holds_section(const struct ivs_channels *channels)
{
	return !channels->lost && ivs_section_life(ivs_channels_own(channels)) == channels->life;
}

/* Other sections */

bool ivs_channels_is_ringer(const struct ivs_channels *channels, unsigned int section)
{
	return ivs_section_get_holder(ivs_channels_at(channels, section)).id >= 0;
}

void ivs_channels_ring(struct ivs_channels *channels, unsigned int section)
{
	const void *memory = ivs_channels_at(channels, section);
	struct ivs_section_holder holder = ivs_section_get_holder(memory);
	int result;

	if (!ivs_section_life(memory) || holder.vector < 0)
		return;
	result = ivs_peer_ring(channels->peer, (unsigned int)holder.id,
			       (unsigned int)holder.vector);
	if (result == IVS_PEER_E_ABSENT || result == IVS_PEER_E_VECTOR)
		channels->presence.others[section].unrung = true;
}

/*
 * A server announces a peer to the others after that peer has its own vectors: a peer can find
 * another one in the region before it can ring it.
 */
static void ring_late(struct ivs_channels *channels, unsigned int id)
{
	for (unsigned int i = 0; i < channels->layout.sections_n; i++) {
		struct ivs_presence_other *other = &channels->presence.others[i];

		if (!other->unrung ||
		    ivs_section_get_holder(ivs_channels_at(channels, i)).id != (int)id)
			continue;
		other->unrung = false;
		ivs_channels_ring(channels, i);
	}
}

uint64_t ivs_channels_fingerprint(const struct ivs_channels *channels)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < channels->layout.sections_n; i++) {
		const uint64_t *header = ivs_section_foreign(ivs_channels_at(channels, i), 0);

		sum = sum * channels->key + ivs_shared_load(&header[IVS_SECTION_LIFE]) +
		      ivs_shared_load(&header[IVS_SECTION_CHANGES]) +
		      channels->presence.others[i].ended_life;
	}
	return sum;
}

/* Return: whether an endpoint of @section matches; then it is copied. */
static bool matches(const struct ivs_channels *channels, unsigned int section, unsigned int index,
		    enum ivs_endpoint_role role, const char *name, struct ivs_endpoint_view *out)
{
	const void *memory = ivs_channels_at(channels, section);

	return ivs_endpoint_get_state(memory, index).role == role &&
	       ivs_endpoint_get(memory, channels->layout.section_len, index, out) &&
	       out->state.role == role && (!name || !strcmp(out->name, name));
}

bool ivs_channels_find(const struct ivs_channels *channels, enum ivs_endpoint_role role,
		       const char *name, bool gone, struct ivs_endpoint_ref *at, uint64_t *life,
		       struct ivs_endpoint_view *out)
{
	unsigned int index = at->index ? at->index : 1;

	for (unsigned int section = at->section; section < channels->layout.sections_n;
	     section++, index = 1) {
		*life = ivs_section_life(ivs_channels_at(channels, section));
		if (!*life ||
		    (!gone && !ivs_presence_is_active(&channels->presence, section, *life)))
			continue;
		for (; index < IVS_SECTION_ENDPOINTS_N; index++) {
			if (!matches(channels, section, index, role, name, out) ||
			    (!gone && out->state.closed))
				continue;
			/* Do not take an endpoint of the next life for one of this life. */
			if (ivs_section_life(ivs_channels_at(channels, section)) != *life)
				break;
			*at = (struct ivs_endpoint_ref){(uint16_t)section, (uint16_t)index,
							out->state.incarnation};
			return true;
		}
	}
	return false;
}

void ivs_channels_ring_name(struct ivs_channels *channels, enum ivs_endpoint_role role,
			    const char *name)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	while (ivs_channels_find(channels, role, name, false, &at, &life, &view)) {
		ivs_channels_ring(channels, at.section);
		at = (struct ivs_endpoint_ref){.section = (uint16_t)(at.section + 1)};
	}
}

/* Waiting */

/* Return: 0, or IVS_CHANNEL_E_SECTION if another peer has taken this peer's section. */
static int check_own(struct ivs_channels *channels)
{
	uint64_t *word = ivs_section_endpoint(ivs_channels_own(channels), 0) + IVS_SECTION_LIFE;

	if (channels->lost)
		return IVS_CHANNEL_E_SECTION;
	if (ivs_shared_load(word) == channels->life)
		return 0;
	ivs_shared_publish(word,
			   IVS_SECTION_LIFE_DISPUTED); /* so that the other peer notices it, too */
	channels->lost = true;
	return IVS_CHANNEL_E_SECTION;
}

/* Return: 0, IVS_CHANNEL_E_TIMEOUT (no event), _PEER, -errno. */
static int next_event(struct ivs_channels *channels, int timeout_ms, bool *is_doorbell)
{
	struct ivs_event event;
	int result = ivs_peer_next(channels->peer, timeout_ms, &event);

	*is_doorbell = !result && event.type == IVS_EVENT_DOORBELL;

	switch (result) {
	case 0:
		ivs_presence_handle(&channels->presence, &event);
		if (event.type == IVS_EVENT_JOIN)
			ring_late(channels, event.id);
		return 0;
	case IVS_PEER_E_TIMEOUT:
	case IVS_PEER_E_UNSUPPORTED:
		return IVS_CHANNEL_E_TIMEOUT;
	default:
		return result < 0 ? result : IVS_CHANNEL_E_PEER;
	}
}

int ivs_channels_poll(struct ivs_channels *channels)
{
	int result = check_own(channels);
	bool is_doorbell;

	/* A peer can ring all the time. */
	for (unsigned int i = 0; i < EVENTS_MAX && !result; i++)
		result = next_event(channels, 0, &is_doorbell);
	if (result != IVS_CHANNEL_E_TIMEOUT)
		return result;
	channels->presence.turns++;
	return 0;
}

/* The coarse clock suffices, and costs a tenth of the exact one. */
int ivs_channels_poll_sometimes(struct ivs_channels *channels)
{
	struct timespec now;
	int64_t now_ns;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	now_ns = now.tv_sec * IVS_NS_PER_S + now.tv_nsec;
	if (now_ns - channels->polled_ns < IVS_NS_PER_MS)
		return IVS_CHANNEL_E_TIMEOUT;
	channels->polled_ns = now_ns;
	return ivs_channels_poll(channels);
}

static bool can_be_rung(const struct ivs_channels *channels)
{
	return channels->holder.vector >= 0 && ivs_peer_caps(channels->peer) & IVS_CAP_WAIT;
}

/* Return: the length of the next pause; the one after it is twice as long. */
static int64_t next_pause_ns(struct ivs_channels *channels)
{
	int64_t ns = channels->pause_ns;

	channels->pause_ns = ns * 2 < PAUSE_MAX_NS ? ns * 2 : PAUSE_MAX_NS;
	return ns;
}

int ivs_channels_patience(struct ivs_channels *channels, bool rings)
{
	if (check_own(channels))
		return 0; /* the call after the wait says so */
	if (rings && can_be_rung(channels))
		return SLEEP_MAX_MS;
	return (int)((next_pause_ns(channels) + IVS_NS_PER_MS - 1) / IVS_NS_PER_MS);
}

int ivs_channels_sleep(struct ivs_channels *channels, int64_t deadline_ns, bool rings)
{
	int64_t left_ns = deadline_ns == IVS_CLOCK_NEVER ? INT64_MAX : deadline_ns - ivs_clock_ns();
	int64_t max_ns;
	bool is_doorbell;
	int result = check_own(channels);

	if (result)
		return result;
	if (left_ns <= 0)
		return IVS_CHANNEL_E_TIMEOUT;
	if (!can_be_rung(channels)) {
		max_ns = next_pause_ns(channels);
		result = ivs_channels_pause(max_ns < left_ns ? max_ns : left_ns);
		return result ? result : ivs_channels_poll(channels);
	}
	max_ns = ivs_channels_patience(channels, rings) * (int64_t)IVS_NS_PER_MS;
	result = next_event(channels,
			    left_ns > max_ns ? (int)(max_ns / IVS_NS_PER_MS)
					     : ivs_clock_left_ms(deadline_ns),
			    &is_doorbell);
	if (result && result != IVS_CHANNEL_E_TIMEOUT)
		return result;
	if (!is_doorbell)
		return ivs_channels_poll(channels);
	/* Looking for more events after each doorbell would make a round trip longer. */
	result = ivs_channels_poll_sometimes(channels);
	return result == IVS_CHANNEL_E_TIMEOUT ? 0 : result;
}
