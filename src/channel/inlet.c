/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/inlet.h"

#include "channel/shared.h"

#define AHEAD_AFTER 32 /* that many messages in a row show that the writer is well ahead */

static uint64_t *own_word(const struct ivs_inlet *inlet, enum ivs_endpoint_word word)
{
	return ivs_channels_own_word(inlet->channels, inlet->index, word);
}

static const uint64_t *writer_word(const struct ivs_inlet *inlet, enum ivs_endpoint_word word)
{
	const void *section = ivs_channels_at(inlet->channels, inlet->writer.section);

	return ivs_section_foreign(section, inlet->writer.index) + word;
}

int ivs_inlet_open(struct ivs_inlet *inlet, struct ivs_channels *channels,
		   const struct ivs_endpoint_ref *writer, uint64_t writer_life,
		   const struct ivs_endpoint_view *view, bool borrows)
{
	const uint8_t *section = ivs_channels_at(channels, writer->section);
	struct ivs_endpoint_view own = {
		.target = *writer, .target_life = writer_life, .borrows = borrows};

	*inlet = (struct ivs_inlet){
		.channels = channels,
		.writer = *writer,
		.writer_life = writer_life,
		.lane = {.slots = section + view->at, .shape = view->shape},
	};
	inlet->index = ivs_channels_take_endpoint(channels, &inlet->incarnation);
	if (!inlet->index)
		return IVS_CHANNEL_E_FULL;
	own.state = (struct ivs_endpoint_state){IVS_ROLE_READER, false, inlet->incarnation};
	ivs_endpoint_put(ivs_channels_own(channels), inlet->index, &own);
	ivs_channels_ring(channels, writer->section);
	return 0;
}

/* Return: whether the writer may commit more messages. */
static bool is_open(const struct ivs_inlet *inlet)
{
	const void *section = ivs_channels_at(inlet->channels, inlet->writer.section);
	struct ivs_endpoint_state state = ivs_endpoint_get_state(section, inlet->writer.index);

	return state.incarnation == inlet->writer.incarnation && state.role != IVS_ROLE_NONE &&
	       !state.closed &&
	       ivs_presence_is_active(&inlet->channels->presence, inlet->writer.section,
				      inlet->writer_life);
}

bool ivs_inlet_is_intact(const struct ivs_inlet *inlet)
{
	const void *section = ivs_channels_at(inlet->channels, inlet->writer.section);
	struct ivs_endpoint_state state;

	/* The fence orders the loads of a copy before those of the state and the life. */
	__atomic_thread_fence(__ATOMIC_ACQUIRE);
	state = ivs_endpoint_get_state(section, inlet->writer.index);
	return state.incarnation == inlet->writer.incarnation && state.role != IVS_ROLE_NONE &&
	       ivs_section_life(section) == inlet->writer_life;
}

bool ivs_inlet_is_complete(const struct ivs_inlet *inlet)
{
	const void *section = ivs_channels_at(inlet->channels, inlet->writer.section);

	return ivs_endpoint_get_state(section, inlet->writer.index).complete &&
	       ivs_inlet_is_intact(inlet);
}

void ivs_inlet_publish(const struct ivs_inlet *inlet)
{
	ivs_shared_store(own_word(inlet, IVS_ENDPOINT_POSITION), inlet->lane.position);
}

bool ivs_inlet_has_ended(const struct ivs_inlet *inlet)
{
	return !is_open(inlet);
}

bool ivs_inlet_is_read(const struct ivs_channels *channels, const struct ivs_endpoint_ref *writer,
		       uint64_t life)
{
	const void *section = ivs_channels_at(channels, writer->section);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t reader_life;

	if (ivs_shared_load(ivs_section_foreign(section, writer->index) + IVS_ENDPOINT_ACCEPTED))
		return true;
	for (; ivs_channels_find(channels, IVS_ROLE_READER, NULL, true, &at, &reader_life, &view);
	     at.index++) {
		if (ivs_endpoint_ref_pack(&view.target) == ivs_endpoint_ref_pack(writer) &&
		    view.target_life == life)
			return true;
	}
	return false;
}

/* The writer's word ACCEPTED: 0, this reader, or another. */
static uint64_t load_accepted(struct ivs_inlet *inlet)
{
	struct ivs_endpoint_ref own = ivs_channels_ref(inlet->channels, inlet->index,
						       inlet->incarnation);
	uint64_t word = ivs_shared_load(writer_word(inlet, IVS_ENDPOINT_ACCEPTED));

	inlet->accepted = inlet->accepted || word == ivs_endpoint_ref_pack(&own);
	return word;
}

/* Return: whether the lane has another reader, whose messages these are. */
static bool is_refused(struct ivs_inlet *inlet)
{
	return !inlet->accepted && load_accepted(inlet) && !inlet->accepted;
}

static void tell_writer(struct ivs_inlet *inlet)
{
	uint64_t sleeps;

	inlet->untold = false;
	ivs_shared_publish(own_word(inlet, IVS_ENDPOINT_POSITION), inlet->lane.position);
	sleeps = ivs_shared_load(writer_word(inlet, IVS_ENDPOINT_SLEEPS));
	if (sleeps == ivs_endpoint_sleeps(inlet->writer.incarnation, true))
		ivs_channels_ring(inlet->channels, inlet->writer.section);
}

int ivs_inlet_peek(struct ivs_inlet *inlet, const void **message, uint32_t *len)
{
	int result;

	if (inlet->channels->lost)
		return IVS_CHANNEL_E_SECTION;
	result = ivs_lane_peek(&inlet->lane, message, len);

	if (result == IVS_LANE_E_EMPTY) {
		inlet->in_row = 0;
		if (inlet->untold)
			tell_writer(inlet);
		if (is_open(inlet))
			return IVS_CHANNEL_E_TIMEOUT;
		/* What the writer committed before its end is visible now. */
		result = ivs_lane_peek(&inlet->lane, message, len);
		if (result)
			return IVS_CHANNEL_E_ENDED;
	}
	if (!result)
		return is_refused(inlet) ? IVS_CHANNEL_E_ENDED : 0;
	/* Another lane may have got the memory of one that has ended. */
	inlet->broken = ivs_inlet_is_intact(inlet);
	return inlet->broken ? IVS_CHANNEL_E_BROKEN : IVS_CHANNEL_E_ENDED;
}

bool ivs_inlet_peek_ahead(const struct ivs_inlet *inlet, uint64_t ahead, const void **message,
			  uint32_t *len)
{
	struct ivs_lane_reader lane = inlet->lane;

	lane.position += ahead;
	return !ivs_lane_peek(&lane, message, len);
}

/*
 * A writer that sleeps because the lane is full is told when a quarter of the lane has become free.
 * One that waits until everything is released is told when the lane is empty, because the reader
 * may not look at the lane again for a long time.
 */
void ivs_inlet_release(struct ivs_inlet *inlet)
{
	uint32_t quarter = inlet->lane.shape.slots_n < 4 ? 1 : inlet->lane.shape.slots_n / 4;
	const void *message;
	uint32_t len;

	ivs_lane_release(&inlet->lane);
	inlet->untold = true;
	if (++inlet->in_row > AHEAD_AFTER)
		ivs_lane_fetch(&inlet->lane);
	if (inlet->lane.position & (quarter - 1) && !ivs_lane_peek(&inlet->lane, &message, &len))
		ivs_shared_store(own_word(inlet, IVS_ENDPOINT_POSITION), inlet->lane.position);
	else
		tell_writer(inlet);
}

bool ivs_inlet_set_sleeps(struct ivs_inlet *inlet, bool sleeps)
{
	ivs_shared_publish(own_word(inlet, IVS_ENDPOINT_SLEEPS),
			   ivs_endpoint_sleeps(inlet->incarnation, sleeps));
	(void)load_accepted(inlet);
	return inlet->accepted && ivs_channels_is_ringer(inlet->channels, inlet->writer.section);
}

/* Until the writer has a reader, the closed endpoint shows that no other may read the lane. */
void ivs_inlet_close(struct ivs_inlet *inlet)
{
	if (!inlet->shared && (inlet->lane.position || inlet->claimed || inlet->broken) &&
	    !load_accepted(inlet))
		ivs_channels_linger(inlet->channels, inlet->index, IVS_ROLE_READER,
				    inlet->incarnation);
	else
		ivs_channels_give_back(inlet->channels, inlet->index);
	ivs_channels_ring(inlet->channels, inlet->writer.section);
}
