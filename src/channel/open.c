/* SPDX-License-Identifier: BSD-3-Clause */
/* Opening and closing channels: dividing the region, and taking a section. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "channel/channels.h"
#include "channel/shared.h"

#define SPIN_DEFAULT_US 100 /* a few times what it costs to sleep and to be woken */
#define SPIN_MAX_US 1000000

#define PREPARE_TRIES 100
#define PREPARE_PAUSE_NS IVS_NS_PER_MS

/* Wait for a peer that is writing the layout. If it has died meanwhile, start again. */
static int read_layout(struct ivs_channels *channels, size_t len)
{
	int result = IVS_CHANNEL_LAYOUT_E_UNFINISHED;

	for (unsigned int i = 0; i < PREPARE_TRIES && result == IVS_CHANNEL_LAYOUT_E_UNFINISHED;
	     i++) {
		if (i)
			(void)!ivs_channels_pause(PREPARE_PAUSE_NS);
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

/* Lives are random, so that a peer does not mistake one for another. */
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

/* With one CPU, the other side may need it. */
static int64_t longest_look_ns(const struct ivs_channels_options *opts)
{
	uint32_t us = opts ? opts->spin_us : IVS_CHANNEL_SPIN_DEFAULT;

	if (us == IVS_CHANNEL_SPIN_DEFAULT)
		us = sysconf(_SC_NPROCESSORS_ONLN) > 1 ? SPIN_DEFAULT_US : 0;
	return (int64_t)(us < SPIN_MAX_US ? us : SPIN_MAX_US) * IVS_NS_PER_US;
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
	channels->spin.max_ns = longest_look_ns(opts);
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
