/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The partner's channels: partner_channel.c serves the requests about channels and queues,
 * partner_topic.c and partner_stream.c those about topics and streams.
 */
#ifndef CONFORM_PARTNER_H
#define CONFORM_PARTNER_H

#include <stdbool.h>

#include <ivshmem/channel.h>

#include "mailbox.h"

/* What a slot may have. */
#define QUEUES_MAX 2
#define TOPICS_MAX 2
#define LOANS_MAX 8 /* of all topics */
#define LISTENERS_MAX 2
#define STREAMS_MAX 20

#define ABANDONED_MAX 32

/** struct partner_loan - a message that was borrowed, and its number */
struct partner_loan {
	const void *message;
	size_t len;
	int64_t number;
};

/** struct partner_channels - the channels of one of the partner's peers */
struct partner_channels {
	struct ivs_channels *channels;
	struct ivs_queue *queues[QUEUES_MAX];
	struct ivs_topic *topics[TOPICS_MAX];
	struct partner_loan loans[LOANS_MAX];
	unsigned int loans_n;
	struct ivs_stream_listener *listeners[LISTENERS_MAX];
	struct ivs_stream *streams[STREAMS_MAX];
};

/* Channels that were abandoned, where the leak checker finds them. */
extern struct partner_channels partner_abandoned[ABANDONED_MAX];

/* What an argument has in its lower and upper half. */
static inline uint32_t arg_low(uint64_t arg)
{
	return (uint32_t)arg;
}

static inline uint32_t arg_high(uint64_t arg)
{
	return (uint32_t)(arg >> 32);
}

/* Serve a request about the channels of @peer. */
void partner_channels_answer(struct partner_channels *own, struct ivs_peer *peer,
			     struct mailbox *mailbox);

/* Serve a request about topics or streams. Return: false if it is about something else. */
bool partner_topics_answer(struct partner_channels *own, struct mailbox *mailbox);
bool partner_streams_answer(struct partner_channels *own, struct mailbox *mailbox);

void partner_topics_close(struct partner_channels *own);
void partner_streams_close(struct partner_channels *own);

/* Forget open channels, as if the process had been killed; the caller closes the peer. */
void partner_channels_abandon(struct partner_channels *own);

#endif
