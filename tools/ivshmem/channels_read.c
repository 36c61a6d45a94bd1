/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/channels_read.h"

#include <string.h>

#include "channel/shared.h"
#include "ivshmem/registers.h"

#define TRIES 8 /* to get a consistent copy of words that a peer may be changing */

static const void *section_at(const struct channels_region *region, unsigned int section)
{
	return region->memory + region->layout.sections_at + section * region->layout.section_len;
}

static uint64_t load(const struct channels_region *region, unsigned int section, unsigned int index,
		     enum ivs_endpoint_word word)
{
	return ivs_shared_load(ivs_section_foreign(section_at(region, section), index) + word);
}

static bool is_connected(struct ivs_peer *peer, int id)
{
	static unsigned int ids[IVS_ID_MAX + 1];
	unsigned int n = ivs_peer_roster(peer, ids, IVS_ID_MAX + 1);

	for (unsigned int i = 0; i < n; i++) {
		if (ids[i] == (unsigned int)id)
			return true;
	}
	return false;
}

enum section_state channels_read_section(const struct channels_region *region,
					 struct ivs_peer *peer, unsigned int section,
					 struct ivs_section_holder *holder)
{
	const void *memory = section_at(region, section);
	uint64_t life = ivs_section_life(memory);

	if (!life)
		return SECTION_UNUSED;
	*holder = ivs_section_get_holder(memory);
	if (life == IVS_SECTION_LIFE_DISPUTED)
		return SECTION_DISPUTED;
	if (holder->left)
		return SECTION_LEFT;
	/* A section with the id of this command is that of a peer that had the id before. */
	if (holder->id >= 0 && ivs_peer_caps(peer) & IVS_CAP_ROSTER &&
	    (holder->id == ivs_peer_id(peer) || !is_connected(peer, holder->id)))
		return SECTION_GONE;
	return SECTION_HELD;
}

static bool has_lane(enum ivs_endpoint_role role)
{
	return role == IVS_ROLE_QUEUE_SENDER || role == IVS_ROLE_CONNECTOR ||
	       role == IVS_ROLE_ACCEPTOR || role == IVS_ROLE_PUBLISHER;
}

/* Return: whether @ref, found in the region, is an endpoint that exists and has not been reused. */
static bool find_other(const struct channels_region *region, uint64_t word,
		       struct ivs_endpoint_ref *ref)
{
	struct ivs_endpoint_state state;

	*ref = ivs_endpoint_ref_unpack(word);
	if (!ref->index || ref->index >= IVS_SECTION_ENDPOINTS_N ||
	    ref->section >= region->layout.sections_n)
		return false;
	state = ivs_endpoint_get_state(section_at(region, ref->section), ref->index);
	return state.role != IVS_ROLE_NONE && state.incarnation == ref->incarnation;
}

/*
 * Load the positions of a writer and its reader, which change in between, so load them until the
 * reader's is the same twice. Return: whether it was.
 */
static bool load_positions(const struct channels_region *region,
			   const struct ivs_endpoint_ref *writer,
			   const struct ivs_endpoint_ref *reader, uint64_t *written,
			   uint64_t *released)
{
	*released = load(region, reader->section, reader->index, IVS_ENDPOINT_POSITION);
	for (unsigned int i = 0; i < TRIES; i++) {
		uint64_t before = *released;

		*written = load(region, writer->section, writer->index, IVS_ENDPOINT_POSITION);
		*released = load(region, reader->section, reader->index, IVS_ENDPOINT_POSITION);
		if (*released == before)
			return true;
	}
	return false;
}

/* A writer stores its position after the message, so its reader may have released one more. */
static uint64_t difference(uint64_t written, uint64_t released)
{
	return written + 1 == released ? 0 : written - released;
}

/*
 * Return: whether the slot of a position has a message that the writer cannot have written. A
 * closed writer's memory may have been reused.
 */
static bool is_bad(const struct channels_region *region, unsigned int section, unsigned int index,
		   const struct endpoint_info *info, uint64_t position)
{
	const struct ivs_lane_reader lane = {
		.slots = (const uint8_t *)section_at(region, section) + info->view.at,
		.shape = info->view.shape,
		.position = position,
	};
	struct ivs_endpoint_state now;
	const void *message;
	uint32_t len;
	int result = ivs_lane_peek(&lane, &message, &len);

	if (result == IVS_LANE_E_LAPPED && info->view.state.role == IVS_ROLE_PUBLISHER)
		return false;
	if (info->view.state.closed || (result != IVS_LANE_E_BROKEN && result != IVS_LANE_E_LAPPED))
		return false;
	now = ivs_endpoint_get_state(section_at(region, section), index);
	return now.role == info->view.state.role && !now.closed &&
	       now.incarnation == info->view.state.incarnation;
}

/* The next message cannot change unless the reader releases it. */
static void check_message(const struct channels_region *region,
			  const struct ivs_endpoint_ref *writer, struct endpoint_info *info,
			  uint64_t released)
{
	if (!is_bad(region, writer->section, writer->index, info, released))
		return;
	info->bad_message = !info->has_other || load(region, info->other.section, info->other.index,
						     IVS_ENDPOINT_POSITION) == released;
}

static void count_unread(const struct channels_region *region,
			 const struct ivs_endpoint_ref *writer, struct endpoint_info *info)
{
	uint64_t released = 0;
	bool stable = true;

	if (info->has_other)
		stable = load_positions(region, writer, &info->other, &info->position, &released);
	info->unread = difference(info->position, released);
	info->unread_known = info->unread <= info->view.shape.slots_n;
	info->impossible = stable && !info->unread_known;
	if (stable && info->unread_known && info->unread)
		check_message(region, writer, info, released);
}

/* How far a reader is behind. The writer's line shows whether that is impossible. */
static void count_behind(const struct channels_region *region,
			 const struct ivs_endpoint_ref *reader, struct endpoint_info *info)
{
	struct ivs_endpoint_view writer;
	uint64_t written;

	if (!ivs_endpoint_get(section_at(region, info->other.section), region->layout.section_len,
			      info->other.index, &writer) ||
	    writer.state.incarnation != info->other.incarnation || !has_lane(writer.state.role))
		return;
	if (!load_positions(region, &info->other, reader, &written, &info->position))
		return;
	info->unread = difference(written, info->position);
	if (info->unread > writer.shape.slots_n && writer.state.role == IVS_ROLE_PUBLISHER)
		info->overwritten = info->unread - writer.shape.slots_n;
	info->unread_known = info->unread <= (info->overwritten ? INT64_MAX : writer.shape.slots_n);
}

static void read_lane(const struct channels_region *region, unsigned int section,
		      unsigned int index, struct endpoint_info *info)
{
	enum ivs_endpoint_role role = info->view.state.role;
	const struct ivs_endpoint_ref own = {(uint16_t)section, (uint16_t)index,
					     info->view.state.incarnation};
	uint64_t other;

	info->has_lane = has_lane(role);
	info->has_position = info->has_lane || role == IVS_ROLE_READER;
	info->sleeps = load(region, section, index, IVS_ENDPOINT_SLEEPS) ==
		       ivs_endpoint_sleeps(own.incarnation, true);
	if (!info->has_position)
		return;
	info->message_len = role == IVS_ROLE_PUBLISHER
				    ? info->view.pool.buffer_len
				    : info->view.shape.slot_len - IVS_LANE_HEAD_LEN;
	if (role == IVS_ROLE_READER)
		info->missed = load(region, section, index, IVS_ENDPOINT_MISSED);
	info->position = load(region, section, index, IVS_ENDPOINT_POSITION);
	other = role == IVS_ROLE_READER ? ivs_endpoint_ref_pack(&info->view.target)
					: load(region, section, index, IVS_ENDPOINT_ACCEPTED);
	info->has_other = find_other(region, other, &info->other) &&
			  (role != IVS_ROLE_READER ||
			   ivs_section_life(section_at(region, info->other.section)) ==
				   info->view.target_life);
	info->other_gone = other && !info->has_other && role != IVS_ROLE_PUBLISHER;
	if (role == IVS_ROLE_READER && info->has_other)
		count_behind(region, &own, info);
	/* A lane whose reader is gone has ended; a publisher waits for no reader. */
	if (info->has_lane && role != IVS_ROLE_PUBLISHER && !info->other_gone)
		count_unread(region, &own, info);
	if (role == IVS_ROLE_PUBLISHER && info->position)
		info->bad_message = is_bad(region, section, index, info, info->position - 1);
}

/* A reader has no name: it is the name of what it reads. */
static void read_name(const struct channels_region *region, struct endpoint_info *info)
{
	struct ivs_endpoint_view writer;

	if (info->view.state.role == IVS_ROLE_READER && info->has_other &&
	    ivs_endpoint_get(section_at(region, info->other.section), region->layout.section_len,
			     info->other.index, &writer))
		memcpy(info->view.name, writer.name, sizeof(writer.name));
}

bool channels_read_endpoint(const struct channels_region *region, unsigned int section,
			    unsigned int index, struct endpoint_info *out)
{
	const void *memory = section_at(region, section);

	*out = (struct endpoint_info){0};
	for (unsigned int i = 0; i < TRIES; i++) {
		if (ivs_endpoint_get(memory, region->layout.section_len, index, &out->view)) {
			read_lane(region, section, index, out);
			read_name(region, out);
			return true;
		}
		if (out->view.state.role == IVS_ROLE_NONE)
			return false;
	}
	out->damaged = true;
	return true;
}

bool channels_read_position(const struct channels_region *region, unsigned int section,
			    unsigned int index, struct endpoint_position *out)
{
	const void *memory = section_at(region, section);
	struct ivs_endpoint_state state;

	out->life = ivs_section_life(memory);
	out->state = ivs_endpoint_get_state(memory, index);
	out->position = load(region, section, index, IVS_ENDPOINT_POSITION);
	state = ivs_endpoint_get_state(memory, index);
	return out->life && out->life != IVS_SECTION_LIFE_DISPUTED &&
	       (has_lane(state.role) || state.role == IVS_ROLE_READER) &&
	       state.role == out->state.role && state.incarnation == out->state.incarnation &&
	       ivs_section_life(memory) == out->life;
}
