/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * An outlet: the writer's side of a lane with one reader, in this peer's section. The reader is the
 * first one that is found, for as long as the lane exists: when that reader is gone, the lane ends.
 */
#ifndef IVS_CHANNEL_OUTLET_H
#define IVS_CHANNEL_OUTLET_H

#include "channel/channels.h"

/**
 * struct ivs_outlet - a writer's endpoint, and its reader
 * @role:        role of the endpoint
 * @index:       place in the table of endpoints
 * @pool_at:     of a publisher: offset of its buffers from the start of the section
 * @reader:      the reader's endpoint; its index is 0 if none has been found
 * @reader_life: life of the reader's section
 * @rung_at:     the reader's position when it was last rung; UINT64_MAX: it has not been rung
 * @looked_ns:   when the peer's events were last processed because the reader does not wake up
 * @result:      0; IVS_CHANNEL_E_*: the lane has ended
 */
struct ivs_outlet {
	struct ivs_channels *channels;
	enum ivs_endpoint_role role;
	unsigned int index;
	uint32_t incarnation;
	uint64_t pool_at;
	struct ivs_lane_writer lane;
	struct ivs_endpoint_ref reader;
	uint64_t reader_life;
	uint64_t rung_at;
	int64_t looked_ns;
	int result;
};

/**
 * struct ivs_outlet_options - how to create a lane
 * @role:        a role of writers
 * @target:      the endpoint that an acceptor answers, in the life @target_life of its section
 * @message_len: maximum length of a message
 * @pool:        of a publisher
 */
struct ivs_outlet_options {
	enum ivs_endpoint_role role;
	const char *name;
	uint32_t slots_n;
	uint32_t message_len;
	struct ivs_pool_shape pool;
	struct ivs_endpoint_ref target;
	uint64_t target_life;
};

/**
 * ivs_outlet_open() - create a lane in this peer's section
 *
 * Return: 0, IVS_CHANNEL_E_FULL.
 */
IVS_MUST_USE int ivs_outlet_open(struct ivs_outlet *outlet, struct ivs_channels *channels,
				 const struct ivs_outlet_options *opts);

/** ivs_outlet_end() - commit nothing more; the reader sees the end after the last message */
void ivs_outlet_end(struct ivs_outlet *outlet);

/** ivs_outlet_close() - end the lane; its reader can still read what was committed */
void ivs_outlet_close(struct ivs_outlet *outlet);

/** ivs_outlet_abort() - end the lane; its reader sees the end as if this peer had died */
void ivs_outlet_abort(struct ivs_outlet *outlet);

/**
 * ivs_outlet_reserve() - the memory for the next message, without waiting
 *
 * Return: 0; IVS_CHANNEL_E_TIMEOUT: the lane is full; IVS_CHANNEL_E_ENDED, _BROKEN, _SECTION.
 */
IVS_MUST_USE int ivs_outlet_reserve(struct ivs_outlet *outlet, void **memory);

/** ivs_outlet_is_full() - whether the lane was full at the last look, and has not ended */
static inline bool ivs_outlet_is_full(const struct ivs_outlet *outlet)
{
	return !outlet->result && outlet->lane.position == outlet->lane.limit;
}

/** ivs_outlet_commit() - publish the message, and ring the reader if it sleeps */
void ivs_outlet_commit(struct ivs_outlet *outlet, uint32_t len);

/** ivs_outlet_unread() - number of messages that the reader has not released */
IVS_MUST_USE uint64_t ivs_outlet_unread(const struct ivs_outlet *outlet);

/**
 * ivs_outlet_update() - look what the reader has released, and whether it still exists
 *
 * Return: 0, IVS_CHANNEL_E_ENDED, _BROKEN.
 */
IVS_MUST_USE int ivs_outlet_update(struct ivs_outlet *outlet);

/**
 * ivs_outlet_check() - look whether the reader that was found still exists; cheaper than
 * ivs_outlet_update()
 *
 * Return: 0, IVS_CHANNEL_E_ENDED, _BROKEN.
 */
IVS_MUST_USE int ivs_outlet_check(struct ivs_outlet *outlet);

/** ivs_outlet_set_sleeps() - publish whether this peer sleeps until the reader rings it */
void ivs_outlet_set_sleeps(struct ivs_outlet *outlet, bool sleeps);

/** ivs_outlet_has_reader() - whether the lane has found its reader, which may be gone */
static inline bool ivs_outlet_has_reader(const struct ivs_outlet *outlet)
{
	return outlet->reader.index;
}

/** ivs_outlet_will_be_rung() - whether a reader will ring when it has released messages */
IVS_MUST_USE bool ivs_outlet_will_be_rung(const struct ivs_outlet *outlet);

#endif
