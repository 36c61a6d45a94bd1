/* SPDX-License-Identifier: BSD-3-Clause */
/* The receiver of all queues with one name: it has an inlet for each sender. */
#ifndef IVS_CHANNEL_RECEIVER_H
#define IVS_CHANNEL_RECEIVER_H

#include "channel/inlet.h"

/**
 * struct ivs_receiver - the receiver of all queues with one name
 * @index:      place of its endpoint in the table
 * @inlets:     one for each sender
 * @turn:       the inlet whose message is next
 * @peeked:     the message of inlet @turn has been returned, but not released
 * @unreported: result of a call that did not return it, for the next call; 0: none
 * @seen:       fingerprint of the sections when senders were last looked for
 * @idle:       how often in a row no message was found
 */
struct ivs_receiver {
	struct ivs_channels *channels;
	unsigned int index;
	uint32_t incarnation;
	char name[IVS_SECTION_NAME_MAX + 1];
	struct ivs_inlet *inlets;
	unsigned int inlets_n;
	unsigned int inlets_max;
	unsigned int turn;
	bool peeked;
	int unreported;
	uint64_t seen;
	unsigned int idle;
};

/** ivs_receiver_open() - Return: 0, IVS_CHANNEL_E_BUSY, _FULL, -ENOMEM. */
IVS_MUST_USE int ivs_receiver_open(struct ivs_receiver *receiver, struct ivs_channels *channels,
				   const char *name);

void ivs_receiver_close(struct ivs_receiver *receiver);

/**
 * ivs_receiver_peek() - the next message of any sender, without waiting
 *
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _ENDED, _BROKEN.
 */
IVS_MUST_USE int ivs_receiver_peek(struct ivs_receiver *receiver, const void **message,
				   uint32_t *len);

/** ivs_receiver_is_intact() - ivs_inlet_is_intact() for the message that was found */
static inline bool ivs_receiver_is_intact(const struct ivs_receiver *receiver)
{
	return ivs_inlet_is_intact(&receiver->inlets[receiver->turn]);
}

/**
 * ivs_receiver_drop() - give up the sender whose message was found, because its lane is gone
 *
 * Return: 0; IVS_CHANNEL_E_ENDED: it was the last sender.
 */
int ivs_receiver_drop(struct ivs_receiver *receiver);

/** ivs_receiver_release() - give back the message, and go to the next sender */
void ivs_receiver_release(struct ivs_receiver *receiver);

/** ivs_receiver_attach() - find new senders */
void ivs_receiver_attach(struct ivs_receiver *receiver);

/** ivs_receiver_set_sleeps() - as ivs_inlet_set_sleeps(), for all senders */
bool ivs_receiver_set_sleeps(struct ivs_receiver *receiver, bool sleeps);

#endif
