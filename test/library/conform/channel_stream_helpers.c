/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel.h"

static const struct ivs_stream_options buffers = {BUFFER_LEN};

bool stream_listen(struct conform *c, unsigned int name)
{
	char text[CHANNEL_NAME_LEN];
	int result;

	stream_name(text, name);
	result = ivs_stream_listen(own.channels, text, &buffers, &own.listeners[name]);
	if (result)
		conform_fail(c, "cannot listen: %s", channel_result(result));
	return !result;
}

bool stream_ask_listen(struct conform *c, unsigned int slot, unsigned int name)
{
	return ASK_EXPECT(c, 0, ASK_LISTEN, {slot, name, BUFFER_LEN});
}

bool stream_accept(struct conform *c, unsigned int stream, unsigned int name)
{
	int result = ivs_stream_accept(own.listeners[name], &own.streams[stream], LONG_MS);

	if (result)
		conform_fail(c, "cannot accept stream %u: %s", stream, channel_result(result));
	return !result;
}

bool stream_ask_accept(struct conform *c, unsigned int slot, unsigned int stream, unsigned int name)
{
	return ASK_EXPECT(c, 0, ASK_ACCEPT, {slot, stream, name, LONG_MS});
}

int stream_connect_result(unsigned int stream, unsigned int name, int timeout_ms)
{
	char text[CHANNEL_NAME_LEN];

	stream_name(text, name);
	return ivs_stream_connect(own.channels, text, &buffers, &own.streams[stream], timeout_ms);
}

int stream_begin_connect(unsigned int stream, unsigned int name)
{
	char text[CHANNEL_NAME_LEN];

	stream_name(text, name);
	return ivs_stream_begin_connect(own.channels, text, &buffers, &own.streams[stream]);
}

bool stream_to(struct conform *c, unsigned int slot, unsigned int stream)
{
	int result = stream_connect_result(stream, 0, LONG_MS);

	if (result)
		conform_fail(c, "cannot connect stream %u: %s", stream, channel_result(result));
	return !result && stream_ask_accept(c, slot, stream, 0);
}

bool stream_from(struct conform *c, unsigned int slot, unsigned int stream)
{
	ask_begin(c, &(const struct ask){ASK_CONNECT, {slot, stream, 0, LONG_MS, BUFFER_LEN}});
	return stream_accept(c, stream, 0) && channel_answer(c, 0);
}

bool stream_write(struct conform *c, unsigned int stream, uint64_t first, size_t len)
{
	size_t n = 0;

	for (size_t done = 0; done < len; done += n) {
		uint8_t bytes[BUFFER_LEN / 4];
		size_t more = len - done < sizeof(bytes) ? len - done : sizeof(bytes);
		int result;

		for (size_t i = 0; i < more; i++)
			bytes[i] = pattern_byte(stream, first + done + i);
		result = ivs_stream_write(own.streams[stream], bytes, more, &n, LONG_MS);
		if (result || !n || n > more) {
			conform_fail(c, "writing to stream %u at %zu: %s, %zu bytes", stream, done,
				     channel_result(result), n);
			return false;
		}
	}
	return true;
}

bool stream_read(struct conform *c, unsigned int stream, uint64_t first, size_t len)
{
	size_t n = 0;

	for (size_t done = 0; done < len; done += n) {
		uint8_t bytes[BUFFER_LEN / 4];
		size_t more = len - done < sizeof(bytes) ? len - done : sizeof(bytes);
		int result = ivs_stream_read(own.streams[stream], bytes, more, &n, LONG_MS);

		if (result || !n || n > more) {
			conform_fail(c, "reading from stream %u at %zu: %s, %zu bytes", stream,
				     done, channel_result(result), n);
			return false;
		}
		for (size_t i = 0; i < n; i++) {
			if (bytes[i] == pattern_byte(stream, first + done + i))
				continue;
			conform_fail(c, "byte %zu of stream %u is wrong", done + i, stream);
			return false;
		}
	}
	return true;
}

static bool ask_transfer(struct conform *c, enum request request, unsigned int slot,
			 unsigned int stream, uint32_t first, size_t len)
{
	return ASK_EXPECT(c, 0, request, {slot, stream, halves(stream, first), len, LONG_MS});
}

bool stream_ask_write(struct conform *c, unsigned int slot, unsigned int stream, uint32_t first,
		      size_t len)
{
	return ask_transfer(c, ASK_STREAM_WRITE, slot, stream, first, len);
}

bool stream_ask_read(struct conform *c, unsigned int slot, unsigned int stream, uint32_t first,
		     size_t len)
{
	return ask_transfer(c, ASK_STREAM_READ, slot, stream, first, len);
}

size_t stream_fill(struct conform *c, unsigned int stream)
{
	uint8_t bytes[BUFFER_LEN];
	size_t done = 0;
	size_t n = 0;
	int result;

	do {
		for (size_t i = 0; i < sizeof(bytes); i++)
			bytes[i] = pattern_byte(stream, done + i);
		result = ivs_stream_write(own.streams[stream], bytes, sizeof(bytes), &n, 0);
		done += n;
	} while (!result && done < MIB);
	if (result != IVS_CHANNEL_E_TIMEOUT)
		conform_fail(c, "filling stream %u: %s", stream, channel_result(result));
	return done;
}

bool stream_ask_end(struct conform *c, unsigned int slot, unsigned int stream, enum stream_end how)
{
	return ASK_EXPECT(c, 0, ASK_STREAM_END, {slot, stream, how});
}

bool stream_sees_end(struct conform *c, unsigned int stream, bool complete)
{
	int result = stream_read_result(stream, LONG_MS);

	if (result != IVS_CHANNEL_E_ENDED || stream_read_result(stream, 0) != IVS_CHANNEL_E_ENDED)
		conform_fail(c, "stream %u has no end: %s", stream, channel_result(result));
	else if (ivs_stream_is_complete(own.streams[stream]) != complete)
		conform_fail(c, "stream %u is %scomplete", stream, complete ? "not " : "");
	return !c->failed;
}

bool stream_is_ended(struct conform *c, unsigned int stream)
{
	int64_t end = conform_now_ms() + LONG_MS;
	size_t n = 1;
	int result = 0;

	while (result != IVS_CHANNEL_E_ENDED && conform_now_ms() < end)
		result = stream_write_result(stream, SHORT_MS);
	if (result != IVS_CHANNEL_E_ENDED)
		conform_fail(c, "stream %u can be written: %s", stream, channel_result(result));
	else if (ivs_stream_write(own.streams[stream], "", 0, &n, 0) != IVS_CHANNEL_E_ENDED || n)
		conform_fail(c, "writing no bytes to stream %u shows no end", stream);
	return !c->failed;
}

bool stream_ask_sees_end(struct conform *c, unsigned int stream, bool complete)
{
	if (!ASK_EXPECT(c, IVS_CHANNEL_E_ENDED, ASK_STREAM_READ,
			{0, stream, halves(stream, 0), 1, LONG_MS}))
		return false;
	if (ask_result(c, 2) != complete)
		conform_fail(c, "the partner's stream %u is %scomplete", stream,
			     complete ? "not " : "");
	return !c->failed;
}

int stream_read_result(unsigned int stream, int timeout_ms)
{
	uint8_t byte;
	size_t n;

	return ivs_stream_read(own.streams[stream], &byte, 1, &n, timeout_ms);
}

int stream_write_result(unsigned int stream, int timeout_ms)
{
	size_t n;

	return ivs_stream_write(own.streams[stream], "", 1, &n, timeout_ms);
}

void stream_close(unsigned int stream)
{
	ivs_stream_close(own.streams[stream]);
	own.streams[stream] = NULL;
}

void stream_listener_close(unsigned int name)
{
	ivs_stream_listener_close(own.listeners[name]);
	own.listeners[name] = NULL;
}
