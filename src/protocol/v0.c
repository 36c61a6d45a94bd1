/* SPDX-License-Identifier: BSD-3-Clause */
#include "protocol/v0.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"

#define STAGE_STEADY 3 /* stage after the greeting */

void ivs_v0_put(const struct ivs_v0_message *msg, uint8_t out[IVS_V0_LEN])
{
	uint64_t n = msg->id;

	if (msg->type == IVS_V0_VERSION)
		n = IVS_V0_VERSION_NUMBER;
	else if (msg->type == IVS_V0_MEMORY)
		n = UINT64_MAX; /* -1 */
	ivs_put_le64(out, n);
}

static int v0_garbage(struct ivs_v0_decoder *dec, const char *why)
{
	dec->why = why;
	return IVS_V0_E_GARBAGE;
}

/* The greeting's messages: W-3, W-4, W-5. */
static int v0_parse_greeting(struct ivs_v0_decoder *dec, int64_t value, struct ivs_v0_message *out)
{
	bool has_fd = dec->fd >= 0;

	switch (dec->stage) {
	case 0:
		if (value != IVS_V0_VERSION_NUMBER)
			return v0_garbage(dec, "the protocol version is not 0");
		if (has_fd)
			return v0_garbage(dec, "the message with the protocol version has an fd");
		out->type = IVS_V0_VERSION;
		break;
	case 1:
		if (value < 0 || value > IVS_ID_MAX)
			return v0_garbage(dec, "the second message is not an id from 0 to 65535");
		if (has_fd)
			return v0_garbage(dec, "the message with the client's id has an fd");
		out->type = IVS_V0_ID;
		out->id = dec->own_id = (unsigned int)value;
		break;
	default:
		if (value != -1 || !has_fd)
			return v0_garbage(dec, "the third message is not the region with its fd");
		out->type = IVS_V0_MEMORY;
	}
	dec->stage++;
	return 0;
}

/* Messages after the greeting: W-6, W-7. */
static int v0_parse_steady(struct ivs_v0_decoder *dec, int64_t value, struct ivs_v0_message *out)
{
	if (value < 0 || value > IVS_ID_MAX)
		return v0_garbage(dec, "a message has an id outside the range 0 to 65535");
	out->id = (unsigned int)value;
	out->type = dec->fd >= 0 ? IVS_V0_VECTOR : IVS_V0_LEAVE;
	if (out->type == IVS_V0_LEAVE && out->id == dec->own_id)
		return v0_garbage(dec, "a message announces the leave of this client itself");
	return 0;
}

int ivs_v0_feed(struct ivs_v0_decoder *dec, const uint8_t **in, size_t *in_len, int *fd,
		struct ivs_v0_message *out)
{
	size_t lacking = IVS_V0_LEN - dec->have;
	size_t take = *in_len < lacking ? *in_len : lacking;
	int64_t value;
	int result;

	if (dec->why)
		return IVS_V0_E_GARBAGE;
	if (*fd >= 0 && *in_len) {
		if (dec->have)
			return v0_garbage(dec, "an fd arrived in the middle of a message");
		dec->fd = *fd;
		*fd = -1;
	}
	if (take)
		memcpy(dec->bytes + dec->have, *in, take);
	dec->have += (unsigned int)take;
	*in += take;
	*in_len -= take;
	if (dec->have < IVS_V0_LEN)
		return IVS_V0_E_MORE;

	dec->have = 0;
	value = (int64_t)ivs_get_le64(dec->bytes);
	*out = (struct ivs_v0_message){.fd = -1};
	result = dec->stage < STAGE_STEADY ? v0_parse_greeting(dec, value, out)
					   : v0_parse_steady(dec, value, out);
	if (result)
		return result;
	out->fd = dec->fd;
	dec->fd = -1;
	return 0;
}

int ivs_v0_release(struct ivs_v0_decoder *dec)
{
	int fd = dec->fd;

	dec->fd = -1;
	return fd;
}

const char *ivs_v0_why(const struct ivs_v0_decoder *dec)
{
	return dec->why ? dec->why : "";
}
