/* SPDX-License-Identifier: BSD-3-Clause */
/* Reading the channels of a region without taking part. Other peers may store anything there. */
#ifndef TOOLS_IVSHMEM_CHANNELS_READ_H
#define TOOLS_IVSHMEM_CHANNELS_READ_H

#include <stdbool.h>
#include <stdint.h>

#include "channel/layout.h"
#include "channel/section.h"
#include "ivshmem/peer.h"

/** struct channels_region - the region and its layout */
struct channels_region {
	const uint8_t *memory;
	struct ivs_channel_layout layout;
};

/** enum section_state - whether a section has a holder */
enum section_state {
	SECTION_UNUSED,
	SECTION_HELD,
	SECTION_LEFT,	  /* the holder has left, and said so */
	SECTION_GONE,	  /* the holder is not connected to the server: it has died */
	SECTION_DISPUTED, /* two peers hold the section */
};

/**
 * struct endpoint_info - what an endpoint contains
 * @view:            as ivs_endpoint_get() sets it; only the state if @damaged
 * @damaged:         the endpoint has impossible values
 * @has_lane:        it is a writer: the shape is valid
 * @has_position:    it is a writer or a reader
 * @position:        writer: number of messages written; reader: of messages released
 * @other:           the other side of the lane, if @has_other
 * @other_gone:      it had another side, which is gone, so that the lane has ended
 * @unread:          number of messages that the reader has not released, if @unread_known
 * @message_len:     writer: the longest message that fits
 * @missed:          reader of a publisher: how many messages it says that it has missed
 * @overwritten:     reader of a publisher: how many of @unread are lost, because the publisher has
 *                   used their slots again
 * @impossible:      writer: its position and that of its reader contradict each other
 * @bad_message:     writer: the next message that its reader, or a subscriber, would read has an
 *                   impossible number or length
 */
struct endpoint_info {
	struct ivs_endpoint_view view;
	bool damaged;
	bool has_lane;
	bool has_position;
	bool sleeps;
	bool has_other;
	bool other_gone;
	bool unread_known;
	bool impossible;
	bool bad_message;
	uint64_t position;
	uint64_t unread;
	uint64_t message_len;
	uint64_t missed;
	uint64_t overwritten;
	struct ivs_endpoint_ref other;
};

/** struct endpoint_position - the position of a writer or reader, and what it belongs to */
struct endpoint_position {
	uint64_t life;
	struct ivs_endpoint_state state;
	uint64_t position;
};

/** channels_read_section() - set @holder, unless the section is unused */
enum section_state channels_read_section(const struct channels_region *region,
					 struct ivs_peer *peer, unsigned int section,
					 struct ivs_section_holder *holder);

/** channels_read_endpoint() - Return: false if the endpoint is unused */
bool channels_read_endpoint(const struct channels_region *region, unsigned int section,
			    unsigned int index, struct endpoint_info *out);

/**
 * channels_read_position() - Return: false if the endpoint has no position, its section has no
 * holder or several, or either is changing
 */
bool channels_read_position(const struct channels_region *region, unsigned int section,
			    unsigned int index, struct endpoint_position *out);

#endif
