/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/outlet.h"

#include <string.h>

#include "base/clock.h"
#include "channel/shared.h"

/* How often to check whether a reader that does not wake up has died. */
#define LOOK_NS (100 * (int64_t)IVS_NS_PER_MS)
#define NOT_RUNG UINT64_MAX

static uint64_t *own_word(const struct ivs_outlet *outlet, enum ivs_endpoint_word word)
{
	return ivs_channels_own_word(outlet->channels, outlet->index, word);
}

static const uint64_t *reader_word(const struct ivs_outlet *outlet, enum ivs_endpoint_word word)
{
	const void *section = ivs_channels_at(outlet->channels, outlet->reader.section);

	return ivs_section_foreign(section, outlet->reader.index) + word;
}

int ivs_outlet_open(struct ivs_outlet *outlet, struct ivs_channels *channels,
		    const struct ivs_outlet_options *opts)
{
	struct ivs_endpoint_view view = {
		.state = {.role = opts->role},
		.shape = {.slots_n = opts->slots_n,
			  .slot_len = ivs_lane_slot_len(opts->message_len)},
		.pool = opts->pool,
		.target = opts->target,
		.target_life = opts->target_life,
	};
	uint64_t at;

	*outlet = (struct ivs_outlet){
		.channels = channels, .role = opts->role, .rung_at = NOT_RUNG};
	outlet->index = ivs_channels_take_endpoint(channels, &outlet->incarnation);
	if (!outlet->index)
		return IVS_CHANNEL_E_FULL;
	if (!ivs_arena_take(&channels->arena, outlet->index, ivs_endpoint_part_len(&view), &at)) {
		ivs_channels_give_back(channels, outlet->index);
		return IVS_CHANNEL_E_FULL;
	}
	ivs_endpoint_set_part(&view, at);
	outlet->pool_at = view.pool_at;
	/* Far from the bases of the lanes that were in this memory before. */
	view.shape.base = (uint32_t)channels->life + outlet->incarnation * UINT32_C(0x9e3779b9);
	view.state.incarnation = outlet->incarnation;
	memcpy(view.name, opts->name, strlen(opts->name)); /* the caller has checked its length */
	ivs_lane_prepare(&outlet->lane, (uint8_t *)ivs_channels_own(channels) + view.at,
			 &view.shape);
	for (uint64_t i = ivs_lane_len(&view.shape); i < ivs_endpoint_slots_len(&view); i += 8)
		ivs_shared_store((uint64_t *)(void *)(outlet->lane.slots + i), 0);
	ivs_endpoint_put(ivs_channels_own(channels), outlet->index, &view);
	return 0;
}

void ivs_outlet_end(struct ivs_outlet *outlet)
{
	struct ivs_endpoint_state state = {outlet->role, true, outlet->incarnation, true};

	if (outlet->channels->lost)
		return;
	ivs_endpoint_set_state(ivs_channels_own(outlet->channels), outlet->index, &state);
	if (outlet->reader.index)
		ivs_channels_ring(outlet->channels, outlet->reader.section);
}

void ivs_outlet_close(struct ivs_outlet *outlet)
{
	struct ivs_channels *channels = outlet->channels;

	(void)!ivs_outlet_update(outlet);
	if (!outlet->reader.index || outlet->result) {
		ivs_channels_give_back(channels, outlet->index);
		return;
	}
	ivs_channels_linger(channels, outlet->index, outlet->role, outlet->incarnation);
	ivs_channels_ring(channels, outlet->reader.section);
}

void ivs_outlet_abort(struct ivs_outlet *outlet)
{
	ivs_channels_give_back(outlet->channels, outlet->index);
	if (outlet->reader.index)
		ivs_channels_ring(outlet->channels, outlet->reader.section);
}

/* Return: whether the endpoint of another peer reads this lane. */
static bool is_own_reader(const struct ivs_outlet *outlet, const struct ivs_endpoint_view *view)
{
	struct ivs_endpoint_ref own = ivs_channels_ref(outlet->channels, outlet->index,
						       outlet->incarnation);

	return ivs_endpoint_ref_pack(&view->target) == ivs_endpoint_ref_pack(&own) &&
	       view->target_life == outlet->channels->life;
}

static void find_reader(struct ivs_outlet *outlet)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	/* A reader that is gone counts, too: what it has read must not be read again. */
	for (; ivs_channels_find(outlet->channels, IVS_ROLE_READER, NULL, true, &at, &life, &view);
	     at.index++) {
		if (!is_own_reader(outlet, &view))
			continue;
		outlet->reader = at;
		outlet->reader_life = life;
		ivs_shared_publish(own_word(outlet, IVS_ENDPOINT_ACCEPTED),
				   ivs_endpoint_ref_pack(&at));
		return;
	}
}

/* Return: whether the reader's endpoint is still the same, and its holder has not left. */
static bool has_reader(const struct ivs_outlet *outlet)
{
	const void *section = ivs_channels_at(outlet->channels, outlet->reader.section);
	struct ivs_endpoint_state state = ivs_endpoint_get_state(section, outlet->reader.index);

	return state.role == IVS_ROLE_READER && !state.closed &&
	       state.incarnation == outlet->reader.incarnation &&
	       ivs_presence_is_active(&outlet->channels->presence, outlet->reader.section,
				      outlet->reader_life);
}

/* Return: whether a position that was loaded before is the reader's, even if it is gone. */
static bool is_readers(const struct ivs_outlet *outlet)
{
	const void *section = ivs_channels_at(outlet->channels, outlet->reader.section);

	return ivs_endpoint_get_state(section, outlet->reader.index).incarnation ==
		       outlet->reader.incarnation &&
	       ivs_section_life(section) == outlet->reader_life;
}

int ivs_outlet_update(struct ivs_outlet *outlet)
{
	uint64_t position;

	if (outlet->result)
		return outlet->result;
	if (!outlet->reader.index)
		find_reader(outlet);
	if (!outlet->reader.index)
		return 0;
	if (!has_reader(outlet))
		outlet->result = IVS_CHANNEL_E_ENDED;
	position = ivs_shared_load(reader_word(outlet, IVS_ENDPOINT_POSITION));
	if (is_readers(outlet) && ivs_lane_allow(&outlet->lane, position) && !outlet->result)
		outlet->result = IVS_CHANNEL_E_BROKEN;
	return outlet->result;
}

int ivs_outlet_check(struct ivs_outlet *outlet)
{
	if (!outlet->result && outlet->reader.index && !has_reader(outlet))
		return ivs_outlet_update(outlet);
	return outlet->result;
}

uint64_t ivs_outlet_unread(const struct ivs_outlet *outlet)
{
	return outlet->lane.position - (outlet->lane.limit - outlet->lane.shape.slots_n);
}

int ivs_outlet_reserve(struct ivs_outlet *outlet, void **memory)
{
	int result;

	if (outlet->channels->lost)
		return IVS_CHANNEL_E_SECTION;
	if (outlet->result)
		return outlet->result;
	*memory = ivs_lane_reserve(&outlet->lane);
	if (*memory)
		return 0;
	result = ivs_outlet_update(outlet);
	if (result)
		return result;
	*memory = ivs_lane_reserve(&outlet->lane);
	return *memory ? 0 : IVS_CHANNEL_E_TIMEOUT;
}

/*
 * The reader sleeps, or its endpoint has changed. Ring it once for each position: a reader that
 * claims to sleep all the time costs no more. A reader that was rung and does not move may be dead,
 * which the peer's events show.
 */
static void wake(struct ivs_outlet *outlet)
{
	uint64_t position = ivs_shared_load(reader_word(outlet, IVS_ENDPOINT_POSITION));
	int64_t now_ns;

	/* It has released everything, and went to sleep after that: it needs no doorbell. */
	if (position == outlet->lane.position)
		return;
	if (position != outlet->rung_at) {
		outlet->rung_at = position;
		ivs_channels_ring(outlet->channels, outlet->reader.section);
		return;
	}
	now_ns = ivs_clock_ns();
	if (now_ns - outlet->looked_ns < LOOK_NS)
		return;
	outlet->looked_ns = now_ns;
	(void)!ivs_channels_poll(outlet->channels);
	(void)!ivs_outlet_update(outlet);
	ivs_channels_ring(outlet->channels, outlet->reader.section);
}

void ivs_outlet_commit(struct ivs_outlet *outlet, uint32_t len)
{
	uint64_t sleeps;

	if (outlet->channels->lost)
		return;
	ivs_lane_commit(&outlet->lane, len);
	ivs_shared_publish(own_word(outlet, IVS_ENDPOINT_POSITION), outlet->lane.position);
	if (!outlet->reader.index) {
		find_reader(outlet);
		if (outlet->reader.index) /* it may have gone to sleep before it was found */
			ivs_channels_ring(outlet->channels, outlet->reader.section);
		return;
	}
	sleeps = ivs_shared_load(reader_word(outlet, IVS_ENDPOINT_SLEEPS));
	if (sleeps == ivs_endpoint_sleeps(outlet->reader.incarnation, true))
		wake(outlet);
	else if (sleeps != ivs_endpoint_sleeps(outlet->reader.incarnation, false))
		(void)!ivs_outlet_update(outlet);
}

void ivs_outlet_set_sleeps(struct ivs_outlet *outlet, bool sleeps)
{
	ivs_shared_publish(own_word(outlet, IVS_ENDPOINT_SLEEPS),
			   ivs_endpoint_sleeps(outlet->incarnation, sleeps));
}

bool ivs_outlet_will_be_rung(const struct ivs_outlet *outlet)
{
	return ivs_outlet_has_reader(outlet) &&
	       ivs_channels_is_ringer(outlet->channels, outlet->reader.section);
}
