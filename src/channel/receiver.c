/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/receiver.h"

#include <stdlib.h>
#include <string.h>

#include "channel/claim.h"
#include "channel/shared.h"

#define ATTACH_AFTER 64 /* look for new senders when nothing was found so often */

/* How many senders one section may have, and closed ones that do not know their reader. */
#define FROM_SECTION_MAX 8

int ivs_receiver_open(struct ivs_receiver *receiver, struct ivs_channels *channels,
		      const char *name)
{
	struct ivs_endpoint_view view = {0};
	int result;

	*receiver = (struct ivs_receiver){.channels = channels};
	memcpy(receiver->name, name, strlen(name));
	memcpy(view.name, name, strlen(name));
	receiver->index = ivs_channels_take_endpoint(channels, &receiver->incarnation);
	if (!receiver->index)
		return IVS_CHANNEL_E_FULL;
	view.state = (struct ivs_endpoint_state){IVS_ROLE_QUEUE_RECEIVER, false,
						 receiver->incarnation};
	ivs_endpoint_put(ivs_channels_own(channels), receiver->index, &view);
	result = ivs_claim(channels, IVS_ROLE_QUEUE_RECEIVER, name, receiver->index);
	if (result) {
		ivs_channels_give_back(channels, receiver->index);
		return result;
	}
	ivs_receiver_attach(receiver);
	return 0;
}

void ivs_receiver_close(struct ivs_receiver *receiver)
{
	for (unsigned int i = 0; i < receiver->inlets_n; i++)
		ivs_inlet_close(&receiver->inlets[i]);
	free(receiver->inlets);
	ivs_channels_give_back(receiver->channels, receiver->index);
}

static bool is_attached(const struct ivs_receiver *receiver, const struct ivs_endpoint_ref *writer)
{
	for (unsigned int i = 0; i < receiver->inlets_n; i++) {
		if (ivs_endpoint_ref_pack(&receiver->inlets[i].writer) ==
		    ivs_endpoint_ref_pack(writer))
			return true;
	}
	return false;
}

static bool make_room(struct ivs_receiver *receiver)
{
	unsigned int max = receiver->inlets_max ? receiver->inlets_max * 2 : 4;
	struct ivs_inlet *more;

	if (receiver->inlets_n < receiver->inlets_max)
		return true;
	more = reallocarray(receiver->inlets, max, sizeof(*more));
	if (!more)
		return false;
	receiver->inlets = more;
	receiver->inlets_max = max;
	return true;
}

/* A peer that creates many senders must not take all endpoints of this peer. */
static unsigned int count_from(const struct ivs_receiver *receiver, unsigned int section)
{
	unsigned int n = ivs_channels_lingering_from(receiver->channels, section, IVS_ROLE_READER);

	for (unsigned int i = 0; i < receiver->inlets_n; i++)
		n += receiver->inlets[i].writer.section == section;
	return n;
}

/*
 * Attach to all senders, or leave out those whose death would not be certain. If memory or
 * endpoints are short, further senders wait: their queues fill up.
 *
 * Return: whether senders were left out.
 */
static bool attach(struct ivs_receiver *receiver, bool to_all)
{
	const struct ivs_presence *presence = &receiver->channels->presence;
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	bool left_out = false;
	unsigned int n = 0;
	int section = -1;
	uint64_t life;

	for (; ivs_channels_find(receiver->channels, IVS_ROLE_QUEUE_SENDER, receiver->name, false,
				 &at, &life, &view);
	     at.index++) {
		if (is_attached(receiver, &at))
			continue;
		if (!to_all && !ivs_presence_is_certain(presence, at.section, life)) {
			left_out = true;
			continue;
		}
		if (at.section != section)
			n = count_from(receiver, at.section);
		section = at.section;
		if (n >= FROM_SECTION_MAX || ivs_inlet_is_read(receiver->channels, &at, life))
			continue;
		if (!make_room(receiver) ||
		    ivs_inlet_open(&receiver->inlets[receiver->inlets_n], receiver->channels, &at,
				   life, &view, false)) {
			receiver->seen = 0; /* so that the next call tries again */
			break;
		}
		receiver->inlets_n++;
		n++;
	}
	return left_out;
}

/*
 * What a server has reported before a lane is attached concerns a former holder. So a leave that
 * comes later is that of the lane's writer, also if the next peer with its id has joined by then.
 */
void ivs_receiver_attach(struct ivs_receiver *receiver)
{
	uint64_t seen = ivs_channels_fingerprint(receiver->channels);

	if (seen == receiver->seen)
		return;
	receiver->seen = seen;
	if (!attach(receiver, false))
		return;
	(void)!ivs_channels_poll(receiver->channels);
	(void)attach(receiver, true);
}

/* Return: @result, or IVS_CHANNEL_E_TIMEOUT if this sender has ended but others remain. */
static int remove_inlet(struct ivs_receiver *receiver, unsigned int i, int result)
{
	ivs_inlet_close(&receiver->inlets[i]);
	receiver->inlets[i] = receiver->inlets[--receiver->inlets_n];
	return result == IVS_CHANNEL_E_ENDED && receiver->inlets_n ? IVS_CHANNEL_E_TIMEOUT : result;
}

int ivs_receiver_peek(struct ivs_receiver *receiver, const void **message, uint32_t *len)
{
	if (receiver->channels->lost)
		return IVS_CHANNEL_E_SECTION;
	if (receiver->peeked) {
		*message = receiver->message;
		*len = receiver->len;
		return 0;
	}
	for (unsigned int left = receiver->inlets_n; left; left--) {
		unsigned int i = receiver->turn < receiver->inlets_n ? receiver->turn : 0;
		int result = ivs_inlet_peek(&receiver->inlets[i], message, len);

		receiver->turn = i;
		if (!result) {
			receiver->peeked = true;
			receiver->message = *message;
			receiver->len = *len;
			receiver->idle = 0;
			return 0;
		}
		if (result == IVS_CHANNEL_E_TIMEOUT) {
			receiver->turn++;
			continue;
		}
		result = remove_inlet(receiver, i, result);
		if (result != IVS_CHANNEL_E_TIMEOUT)
			return result;
	}
	if (receiver->idle++ % ATTACH_AFTER == 0)
		ivs_receiver_attach(receiver);
	return IVS_CHANNEL_E_TIMEOUT;
}

bool ivs_receiver_is_ready(struct ivs_receiver *receiver)
{
	const void *message;
	uint32_t len;

	for (unsigned int i = 0; i < receiver->inlets_n; i++) {
		if (ivs_inlet_peek(&receiver->inlets[i], &message, &len) != IVS_CHANNEL_E_TIMEOUT)
			return true;
	}
	return receiver->peeked;
}

int ivs_receiver_check_copy(struct ivs_receiver *receiver)
{
	if (ivs_inlet_is_intact(&receiver->inlets[receiver->turn]))
		return 0;
	receiver->peeked = false;
	return remove_inlet(receiver, receiver->turn, IVS_CHANNEL_E_ENDED);
}

void ivs_receiver_release(struct ivs_receiver *receiver)
{
	if (!receiver->peeked)
		return;
	receiver->peeked = false;
	ivs_inlet_release(&receiver->inlets[receiver->turn]);
	receiver->turn++;
}

bool ivs_receiver_set_sleeps(struct ivs_receiver *receiver, bool sleeps)
{
	bool rings = true;

	if (sleeps)
		ivs_receiver_attach(receiver);
	for (unsigned int i = 0; i < receiver->inlets_n; i++)
		rings = ivs_inlet_set_sleeps(&receiver->inlets[i], sleeps) && rings;
	return rings;
}
