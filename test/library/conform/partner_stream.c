/* SPDX-License-Identifier: BSD-3-Clause */
#include "partner.h"

#include <errno.h>

#include "conform.h"

#define CHUNK_LEN 1024u

static int listen_to(struct partner_channels *own, struct mailbox *mailbox)
{
	const struct ivs_stream_options opts = {arg_low(mailbox->args[2])};
	char name[CHANNEL_NAME_LEN];

	stream_name(name, arg_low(mailbox->args[1]));
	partner_sleep_ms(arg_high(mailbox->args[2]));
	return ivs_stream_listen(own->channels, name, &opts,
				 &own->listeners[mailbox->args[1] % LISTENERS_MAX]);
}

static void listener_close(struct partner_channels *own, unsigned int i)
{
	ivs_stream_listener_close(own->listeners[i]);
	own->listeners[i] = NULL;
}

static int accept_one(struct partner_channels *own, struct mailbox *mailbox,
		      struct ivs_stream **stream)
{
	struct ivs_stream_listener *listener = own->listeners[mailbox->args[2] % LISTENERS_MAX];
	int result;

	partner_sleep_ms(arg_high(mailbox->args[3]));
	do {
		result = ivs_stream_accept(listener, stream, (int)arg_low(mailbox->args[3]));
	} while (result == -EINTR);
	return result;
}

static int connect_one(struct partner_channels *own, struct mailbox *mailbox,
		       struct ivs_stream **stream)
{
	const struct ivs_stream_options opts = {mailbox->args[4]};
	char name[CHANNEL_NAME_LEN];
	int result;

	stream_name(name, arg_low(mailbox->args[2]));
	partner_sleep_ms(arg_high(mailbox->args[3]));
	do {
		result = ivs_stream_connect(own->channels, name, &opts, stream,
					    (int)arg_low(mailbox->args[3]));
	} while (result == -EINTR);
	return result;
}

static int write_some(struct ivs_stream *stream, const uint8_t *bytes, size_t len, size_t *done,
		      int timeout_ms)
{
	int result;

	do {
		result = ivs_stream_write(stream, bytes, len, done, timeout_ms);
	} while (result == -EINTR);
	return result;
}

static int read_some(struct ivs_stream *stream, uint8_t *bytes, size_t len, size_t *done,
		     int timeout_ms)
{
	int result;

	do {
		result = ivs_stream_read(stream, bytes, len, done, timeout_ms);
	} while (result == -EINTR);
	return result;
}

static size_t chunk_len(uint64_t left)
{
	return left < CHUNK_LEN ? (size_t)left : CHUNK_LEN;
}

/* Write or read a pattern. Return: the result of the last call; *done: number of bytes. */
static int transfer(struct ivs_stream *stream, bool writes, struct mailbox *mailbox, uint64_t *done)
{
	uint64_t seed = arg_low(mailbox->args[2]);
	uint64_t first = arg_high(mailbox->args[2]);
	int timeout_ms = (int)arg_low(mailbox->args[4]);
	uint8_t bytes[CHUNK_LEN];
	size_t n = 0;
	int result = 0;

	partner_sleep_ms(arg_high(mailbox->args[4]));
	for (*done = 0; !result && *done < mailbox->args[3]; *done += n) {
		size_t len = chunk_len(mailbox->args[3] - *done);

		for (size_t i = 0; i < len; i++)
			bytes[i] = pattern_byte(seed, first + *done + i);
		if (writes) {
			result = write_some(stream, bytes, len, &n, timeout_ms);
			continue;
		}
		result = read_some(stream, bytes, len, &n, timeout_ms);
		for (size_t i = 0; i < n; i++) {
			if (bytes[i] != pattern_byte(seed, first + *done + i))
				return -EBADMSG;
		}
	}
	return result;
}

static int echo(struct ivs_stream *stream, int timeout_ms, uint64_t *done)
{
	uint8_t bytes[CHUNK_LEN];
	size_t len = 0;
	int result;

	for (*done = 0; !(result = read_some(stream, bytes, sizeof(bytes), &len, timeout_ms));
	     *done += len) {
		size_t n = 0;

		for (size_t at = 0; at < len && !result; at += n)
			result = write_some(stream, bytes + at, len - at, &n, timeout_ms);
		if (result)
			return result;
	}
	ivs_stream_shutdown(stream);
	return result == IVS_CHANNEL_E_ENDED ? 0 : result;
}

static int end(struct ivs_stream **stream, enum stream_end how)
{
	if (how == STREAM_FLUSH)
		return ivs_stream_flush(*stream, LONG_MS);
	if (how == STREAM_SHUTDOWN) {
		ivs_stream_shutdown(*stream);
		return 0;
	}
	if (how == STREAM_CLOSE)
		ivs_stream_close(*stream);
	else
		ivs_stream_abort(*stream);
	*stream = NULL;
	return 0;
}

void partner_streams_close(struct partner_channels *own)
{
	for (unsigned int i = 0; i < STREAMS_MAX; i++)
		end(&own->streams[i], STREAM_CLOSE);
	for (unsigned int i = 0; i < LISTENERS_MAX; i++)
		listener_close(own, i);
}

/* Return: the result of a request about an open stream. */
static int use(struct ivs_stream *stream, struct mailbox *mailbox)
{
	uint64_t done = 0;
	int result;

	if (mailbox->request == ASK_STREAM_ECHO)
		result = echo(stream, (int)mailbox->args[2], &done);
	else
		result = transfer(stream, mailbox->request == ASK_STREAM_WRITE, mailbox, &done);
	mailbox->results[1] = (int64_t)done;
	mailbox->results[2] = ivs_stream_is_complete(stream);
	return result;
}

bool partner_streams_answer(struct partner_channels *own, struct mailbox *mailbox)
{
	struct ivs_stream **stream = &own->streams[mailbox->args[1] % STREAMS_MAX];
	int result = 0;

	switch ((enum request)mailbox->request) {
	case ASK_LISTEN:
		result = listen_to(own, mailbox);
		break;
	case ASK_LISTENER_CLOSE:
		listener_close(own, mailbox->args[1] % LISTENERS_MAX);
		break;
	case ASK_ACCEPT:
		result = accept_one(own, mailbox, stream);
		break;
	case ASK_CONNECT:
		result = connect_one(own, mailbox, stream);
		break;
	case ASK_STREAM_WRITE:
	case ASK_STREAM_READ:
	case ASK_STREAM_ECHO:
		result = use(*stream, mailbox);
		break;
	case ASK_STREAM_END:
		result = end(stream, (enum stream_end)mailbox->args[2]);
		break;
	default:
		return false;
	}
	mailbox->results[0] = result;
	return true;
}
