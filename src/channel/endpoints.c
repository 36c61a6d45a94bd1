/* SPDX-License-Identifier: BSD-3-Clause */
/* The endpoints of the peer's own section: which are in use, and which remain after their end. */
#include "base/bitmap.h"
#include "channel/channels.h"
#include "channel/shared.h"

/* Return: whether a closed lane of this peer has no reader, or its reader has gone. */
static bool is_read(const struct ivs_channels *channels, const uint64_t *endpoint)
{
	struct ivs_endpoint_ref reader = ivs_endpoint_ref_unpack(
		ivs_shared_load(&endpoint[IVS_ENDPOINT_ACCEPTED]));
	struct ivs_endpoint_state state;
	const void *section;

	if (reader.section >= channels->layout.sections_n || !reader.index ||
	    reader.index >= IVS_SECTION_ENDPOINTS_N)
		return true;
	section = ivs_channels_at(channels, reader.section);
	state = ivs_endpoint_get_state(section, reader.index);
	return !ivs_presence_is_active(&channels->presence, reader.section,
				       ivs_section_life(section)) ||
	       state.role != IVS_ROLE_READER || state.incarnation != reader.incarnation;
}

/* Return: whether the writer of a closed reader of this peer has a reader, or is gone. */
static bool is_known(const struct ivs_channels *channels, const uint64_t *endpoint)
{
	struct ivs_endpoint_ref writer = ivs_endpoint_ref_unpack(
		ivs_shared_load(&endpoint[IVS_ENDPOINT_TARGET]));
	struct ivs_endpoint_state state;
	const void *section;

	if (writer.section >= channels->layout.sections_n || !writer.index ||
	    writer.index >= IVS_SECTION_ENDPOINTS_N)
		return true;
	section = ivs_channels_at(channels, writer.section);
	state = ivs_endpoint_get_state(section, writer.index);
	/* A publisher does not care which readers it has. */
	return state.incarnation != writer.incarnation || state.role == IVS_ROLE_NONE ||
	       state.role == IVS_ROLE_PUBLISHER ||
	       !ivs_presence_is_active(&channels->presence, writer.section,
				       ivs_section_life(section)) ||
	       ivs_shared_load(ivs_section_foreign(section, writer.index) + IVS_ENDPOINT_ACCEPTED);
}

/* Return: whether no subscriber still reads a closed topic of this peer. */
static bool has_no_reader(const struct ivs_channels *channels, unsigned int index)
{
	struct ivs_endpoint_state state = ivs_endpoint_get_state(ivs_channels_own(channels), index);
	struct ivs_endpoint_ref own = ivs_channels_ref(channels, index, state.incarnation);
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;

	for (; ivs_channels_find(channels, IVS_ROLE_READER, NULL, false, &at, &life, &view);
	     at.index++) {
		if (ivs_endpoint_ref_pack(&view.target) == ivs_endpoint_ref_pack(&own) &&
		    view.target_life == channels->life)
			return false;
	}
	return true;
}

/* Return: whether the other side of a closed endpoint of this peer is done with it. */
static bool is_done(const struct ivs_channels *channels, unsigned int index)
{
	const void *section = ivs_channels_own(channels);
	const uint64_t *endpoint = ivs_section_foreign(section, index);

	switch (ivs_endpoint_get_state(section, index).role) {
	case IVS_ROLE_READER:
		return is_known(channels, endpoint);
	case IVS_ROLE_PUBLISHER:
		return has_no_reader(channels, index);
	default:
		return is_read(channels, endpoint);
	}
}

static void end_lingering(struct ivs_channels *channels)
{
	unsigned int index = 0;

	while ((index = ivs_bitmap_next_andnot(&channels->lingering, NULL, index + 1,
					       IVS_SECTION_ENDPOINTS_N)) <
	       IVS_SECTION_ENDPOINTS_N) {
		if (is_done(channels, index)) {
			ivs_bitmap_remove(&channels->lingering, index);
			ivs_channels_give_back(channels, index);
		}
	}
}

unsigned int ivs_channels_lingering_from(struct ivs_channels *channels, unsigned int section,
					 enum ivs_endpoint_role role)
{
	unsigned int word = role == IVS_ROLE_READER ? IVS_ENDPOINT_TARGET : IVS_ENDPOINT_ACCEPTED;
	const void *own = ivs_channels_own(channels);
	unsigned int n = 0;

	end_lingering(channels);
	for (unsigned int i = 1; i < IVS_SECTION_ENDPOINTS_N; i++) {
		struct ivs_endpoint_ref other = ivs_endpoint_ref_unpack(
			ivs_shared_load(ivs_section_foreign(own, i) + word));

		n += ivs_bitmap_has(&channels->lingering, i) && other.section == section &&
		     ivs_endpoint_get_state(own, i).role == role;
	}
	return n;
}

unsigned int ivs_channels_take_endpoint(struct ivs_channels *channels, uint32_t *incarnation)
{
	if (channels->lost)
		return 0;
	end_lingering(channels);
	for (unsigned int i = 1; i < IVS_SECTION_ENDPOINTS_N; i++) {
		if (ivs_bitmap_has(&channels->endpoints, i))
			continue;
		ivs_bitmap_add(&channels->endpoints, i);
		*incarnation = ++channels->incarnations;
		return i;
	}
	return 0;
}

void ivs_channels_give_back(struct ivs_channels *channels, unsigned int index)
{
	void *section = ivs_channels_own(channels);
	struct ivs_endpoint_state state = ivs_endpoint_get_state(section, index);

	/* With the incarnation: the writer can still load the reader's last position. */
	state.role = IVS_ROLE_NONE;
	if (ivs_channels_holds_section(channels)) {
		ivs_endpoint_set_state(section, index, &state);
		ivs_shared_store(ivs_section_endpoint(section, index) + IVS_ENDPOINT_SLEEPS, 0);
	}
	ivs_arena_give_back(&channels->arena, index);
	ivs_bitmap_remove(&channels->endpoints, index);
}

void ivs_channels_linger(struct ivs_channels *channels, unsigned int index,
			 enum ivs_endpoint_role role, uint32_t incarnation)
{
	struct ivs_endpoint_state state = {role, true, incarnation};

	if (!ivs_channels_holds_section(channels))
		return;
	state.complete = ivs_endpoint_get_state(ivs_channels_own(channels), index).complete;
	ivs_endpoint_set_state(ivs_channels_own(channels), index, &state);
	ivs_bitmap_add(&channels->lingering, index);
	end_lingering(channels);
}
