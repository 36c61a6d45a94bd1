/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/channels.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/bitmap.h"
#include "base/clock.h"
#include "base/error.h"
#include "channel/shared.h"

#define PAUSE_MAX_NS (10 * IVS_NS_PER_MS)
/* Without an event for so long, look at the region, in case a doorbell was lost. */
#define SLEEP_MAX_MS 10000
#define EVENTS_MAX 128 /* processed in one turn */
#define PREPARE_TRIES 100
#define PREPARE_PAUSE_NS IVS_NS_PER_MS

/* Return: 0; -EINTR: a signal arrived. */
static int pause_ns(int64_t ns)
{
	const struct timespec time = {ns / IVS_NS_PER_S, ns % IVS_NS_PER_S};

	return nanosleep(&time, NULL) ? -errno : 0;
}

/* Opening */

/* Wait for a peer that is writing the layout. If it has died meanwhile, start again. */
static int read_layout(struct ivs_channels *channels, size_t len)
{
	int result = IVS_CHANNEL_LAYOUT_E_UNFINISHED;

	for (unsigned int i = 0; i < PREPARE_TRIES && result == IVS_CHANNEL_LAYOUT_E_UNFINISHED;
	     i++) {
		if (i)
			(void)pause_ns(PREPARE_PAUSE_NS);
		result = ivs_channel_layout_read(channels->memory, len, &channels->layout);
	}
	return result == IVS_CHANNEL_LAYOUT_E_UNFINISHED ? IVS_CHANNEL_LAYOUT_E_EMPTY : result;
}

/* Return: 0, IVS_CHANNEL_LAYOUT_E_*. */
static int prepare_layout(struct ivs_channels *channels, size_t len, uint32_t sections_n)
{
	struct ivs_channel_layout layout;
	int result = read_layout(channels, len);

	if (result != IVS_CHANNEL_LAYOUT_E_EMPTY)
		return result;
	result = ivs_channel_layout_make(len, sections_n, &layout);
	if (result)
		return result;
	ivs_channel_layout_write(channels->memory, &layout);
	return ivs_channel_layout_read(channels->memory, len, &channels->layout);
}

static int open_layout(struct ivs_channels *channels, uint32_t sections_n, struct ivs_error *err)
{
	size_t len = ivs_peer_usable_len(channels->peer);

	switch (prepare_layout(channels, len, sections_n)) {
	case 0:
		return 0;
	case IVS_CHANNEL_LAYOUT_E_SIZE:
		return ivs_error_set(
			err, IVS_CHANNEL_E_LAYOUT,
			"a region of %zu bytes has no room for %u sections of at least "
			"32 KiB each: use a larger region, or %d to %d sections",
			len, sections_n ? sections_n : IVS_CHANNEL_SECTIONS_MIN,
			IVS_CHANNEL_SECTIONS_MIN, IVS_CHANNEL_SECTIONS_MAX);
	case IVS_CHANNEL_LAYOUT_E_VERSION:
		return ivs_error_set(err, IVS_CHANNEL_E_VERSION,
				     "the region has layout version %u, and this library supports "
				     "version %u: use the same version of libivshmem in all peers",
				     channels->layout.version, IVS_CHANNEL_LAYOUT_VERSION);
	case IVS_CHANNEL_LAYOUT_E_DAMAGED:
		return ivs_error_set(err, IVS_CHANNEL_E_LAYOUT,
				     "the layout of the region is damaged, or does not fit into "
				     "its %zu bytes: fill the first 4096 bytes with zeroes while "
				     "no peer uses the region",
				     len);
	default:
		return ivs_error_set(err, IVS_CHANNEL_E_LAYOUT,
				     "the region has other content than channels: use another "
				     "region, or fill the first 4096 bytes with zeroes while no "
				     "peer uses this one");
	}
}

static int choose_section(struct ivs_channels *channels, uint32_t section, struct ivs_error *err)
{
	int id = ivs_peer_id(channels->peer);

	if (section == IVS_CHANNEL_SECTION_OF_ID) {
		if (id < 0)
			return ivs_error_set(err, IVS_CHANNEL_E_SECTION,
					     "the peer has no id, so say which section it uses: a "
					     "number from 0 to %u that no other peer uses",
					     channels->layout.sections_n - 1);
		section = (uint32_t)id;
	}
	if (section >= channels->layout.sections_n)
		return ivs_error_set(err, IVS_CHANNEL_E_SECTION,
				     "there is no section %u: the region has %u sections, 0 to %u",
				     section, channels->layout.sections_n,
				     channels->layout.sections_n - 1);
	if (id >= 0 && section != (uint32_t)id)
		return ivs_error_set(err, IVS_CHANNEL_E_SECTION,
				     "section %u is not this peer's: the peer has id %d, so it has "
				     "section %d",
				     section, id, id);
	channels->section = section;
	return 0;
}

/* Lives are random, so that a peer never takes one for another. */
static uint64_t new_life(void)
{
	uint64_t life = 0;

	while (!life || life == IVS_SECTION_LIFE_DISPUTED) {
		if (getrandom(&life, sizeof(life), 0) != sizeof(life))
			life = (uint64_t)ivs_clock_ns();
	}
	return life;
}

/* Peers may sleep because of the section's former holder, or until there is a new one. */
static void ring_all(struct ivs_channels *channels)
{
	for (unsigned int i = 0; i < channels->layout.sections_n; i++) {
		if (i != channels->section)
			ivs_channels_ring(channels, i);
	}
}

/*
 * A sender that does not know its reader yet must learn that messages were released, so that the
 * new holder does not receive them again.
 */
static void keep_former_readers(struct ivs_channels *channels, struct ivs_section_readers *readers)
{
	for (unsigned int i = 0; i < readers->n; i++) {
		struct ivs_endpoint_view *view = &readers->views[i];
		unsigned int index = ivs_channels_take_endpoint(channels, &view->state.incarnation);

		if (!index)
			return;
		view->state.closed = true;
		ivs_endpoint_put(ivs_channels_own(channels), index, view);
		ivs_channels_linger(channels, index, IVS_ROLE_READER, view->state.incarnation);
	}
}

bool ivs_channels_holds_section(const struct ivs_channels *channels)
{
	return !channels->lost && ivs_section_life(ivs_channels_own(channels)) == channels->life;
}

/* Leave the section, if no other peer has taken it. */
static void leave(struct ivs_channels *channels)
{
	if (!ivs_channels_holds_section(channels))
		return;
	ivs_section_end(ivs_channels_own(channels), &channels->holder);
	ring_all(channels);
}

static int begin(struct ivs_channels *channels, const struct ivs_channels_options *opts,
		 struct ivs_error *err)
{
	struct ivs_peer *peer = channels->peer;
	struct ivs_section_readers readers;
	int result;

	if (!(ivs_peer_caps(peer) & IVS_CAP_WRITE))
		return ivs_error_set(err, IVS_CHANNEL_E_READ_ONLY,
				     "channels need a region that is mapped for writing: %s",
				     ivs_peer_cap_reason(peer, IVS_CAP_WRITE));
	result = open_layout(channels, opts->sections_n, err);
	if (!result)
		result = choose_section(channels, opts->section, err);
	if (result)
		return result;
	if (!ivs_presence_init(&channels->presence, peer, channels->memory, &channels->layout,
			       channels->section))
		return ivs_error_errno(err, ENOMEM, "cannot open the channels");
	channels->arena.section_len = channels->layout.section_len;
	channels->holder.id = ivs_peer_id(peer);
	channels->holder.vector = -1;
	if (opts->vector < ivs_peer_vectors(peer))
		channels->holder.vector = (int)opts->vector;
	channels->endpoints = 1; /* the place of the header */
	channels->life = new_life();
	channels->key = new_life() | 1;
	channels->incarnations = (uint32_t)(channels->life >> 32);
	ivs_section_find_readers(ivs_channels_own(channels), channels->layout.section_len,
				 &readers);
	ivs_section_begin(ivs_channels_own(channels), channels->life, &channels->holder);
	keep_former_readers(channels, &readers);
	ivs_presence_learn(&channels->presence);
	result = ivs_channels_poll(channels);
	ring_all(channels);
	if (!result)
		return 0;
	leave(channels);
	return ivs_error_set(err, result, "%s", ivs_channel_strerror(result));
}

int ivs_channels_open(struct ivs_peer *peer, const struct ivs_channels_options *opts,
		      struct ivs_channels **out, struct ivs_error *err)
{
	const struct ivs_channels_options defaults = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_channels *channels = calloc(1, sizeof(*channels));
	int result;

	if (!channels)
		return ivs_error_errno(err, ENOMEM, "cannot open the channels");
	channels->peer = peer;
	channels->memory = ivs_peer_memory(peer, NULL);
	channels->pause_ns = IVS_CHANNELS_PAUSE_MIN_NS;
	result = begin(channels, opts ? opts : &defaults, err);
	if (result) {
		ivs_presence_free(&channels->presence);
		free(channels);
		return result;
	}
	if (err)
		*err->text = '\0';
	*out = channels;
	return 0;
}

void ivs_channels_close(struct ivs_channels *channels)
{
	if (!channels)
		return;
	leave(channels);
	ivs_presence_free(&channels->presence);
	free(channels);
}

int ivs_channels_fd(const struct ivs_channels *channels)
{
	return ivs_peer_fd(channels->peer);
}

uint32_t ivs_channels_section(const struct ivs_channels *channels)
{
	return channels->section;
}

uint32_t ivs_channels_sections(const struct ivs_channels *channels)
{
	return channels->layout.sections_n;
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

	if (!ivs_section_life(memory) || holder.vector < 0)
		return;
	(void)!ivs_peer_ring(channels->peer, (unsigned int)holder.id, (unsigned int)holder.vector);
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

/* Endpoints of the peer's section */

/* Return: whether an own closed lane has no reader, or its reader has gone. */
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

/* Return: whether the writer of an own closed reader has a reader, or is gone. */
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

/* Return: whether no subscriber reads an own closed topic any more. */
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

/* Return: whether the other side of an own closed endpoint is done with it. */
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
static int next_event(struct ivs_channels *channels, int timeout_ms)
{
	struct ivs_event event;
	int result = ivs_peer_next(channels->peer, timeout_ms, &event);

	switch (result) {
	case 0:
		ivs_presence_handle(&channels->presence, &event);
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

	/* A peer can ring all the time. */
	for (unsigned int i = 0; i < EVENTS_MAX && !result; i++)
		result = next_event(channels, 0);
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
	int result = check_own(channels);

	if (result)
		return result;
	if (left_ns <= 0)
		return IVS_CHANNEL_E_TIMEOUT;
	if (!can_be_rung(channels)) {
		max_ns = next_pause_ns(channels);
		result = pause_ns(max_ns < left_ns ? max_ns : left_ns);
		return result ? result : ivs_channels_poll(channels);
	}
	max_ns = ivs_channels_patience(channels, rings) * (int64_t)IVS_NS_PER_MS;
	result = next_event(channels, left_ns > max_ns ? (int)(max_ns / IVS_NS_PER_MS)
						       : ivs_clock_left_ms(deadline_ns));
	if (result && result != IVS_CHANNEL_E_TIMEOUT)
		return result;
	return ivs_channels_poll(channels);
}
