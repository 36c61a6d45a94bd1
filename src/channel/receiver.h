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
 * @message:    that message, so that a further call returns the same, whatever the sender does
 * @len:        its length
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
	const void *message;
	uint32_t len;
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
 * Return: 0, IVS_CHANNEL_E_TIMEOUT, _ENDED, _BROKEN, _SECTION.
 */
IVS_MUST_USE int ivs_receiver_peek(struct ivs_receiver *receiver, const void **message,
				   uint32_t *len);

/** ivs_receiver_is_ready() - whether ivs_receiver_peek() would not return _TIMEOUT */
IVS_MUST_USE bool ivs_receiver_is_ready(struct ivs_receiver *receiver);

/**
 * ivs_receiver_check_copy() - whether a copy of the message that ivs_receiver_peek() found is valid
 *
 * Return: 0; IVS_CHANNEL_E_ENDED, _TIMEOUT: the lane had ended and its memory was reused, so
 * the sender was removed, which was the last one, or not.
 */
IVS_MUST_USE int ivs_receiver_check_copy(struct ivs_receiver *receiver);

/** ivs_receiver_release() - give back the message, and go to the next sender */
void ivs_receiver_release(struct ivs_receiver *receiver);

/** ivs_receiver_attach() - find new senders */
void ivs_receiver_attach(struct ivs_receiver *receiver);

/** ivs_receiver_set_sleeps() - as ivs_inlet_set_sleeps(), for all senders */
bool ivs_receiver_set_sleeps(struct ivs_receiver *receiver, bool sleeps);

#endif
