/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Streams of libivshmem: in a plain region, where they spin as the floor does, and in a server's
 * region, where they wait for doorbells.
 */
#include <errno.h>
#include <stdint.h>

#include "peers.h"
#include "process.h"
#include "ways.h"

#define BUFFER_MIN (64 << 10)
#define BUFFER_MAX (4 << 20)
#define CONNECT_MS 10000

static struct {
	size_t buffer_len;
	struct ivs_channels *channels;
	struct ivs_stream_listener *listener;
	struct ivs_stream *ends;
} stream;

/* Return: the number of bytes that a section needs. */
static size_t set_buffer_len(size_t len)
{
	stream.buffer_len = len * way_slots(len);
	if (stream.buffer_len < BUFFER_MIN)
		stream.buffer_len = BUFFER_MIN;
	if (stream.buffer_len > BUFFER_MAX)
		stream.buffer_len = BUFFER_MAX;
	return stream.buffer_len * 2;
}

static const char *stream_prepare(size_t len)
{
	region_open(set_buffer_len(len), 2);
	return NULL;
}

static const char *served_prepare(size_t len)
{
	return region_serve(set_buffer_len(len), 2);
}

static void stream_start(enum side side)
{
	const struct ivs_stream_options size = {stream.buffer_len};

	stream.channels = channels_open(side, 2);
	stream.listener = NULL;
	if (side == SIDE_ANSWERS) {
		check("connect", ivs_stream_connect(stream.channels, "bench", &size, &stream.ends,
						    CONNECT_MS));
		return;
	}
	check("listen", ivs_stream_listen(stream.channels, "bench", &size, &stream.listener));
	check("accept", ivs_stream_accept(stream.listener, &stream.ends, CONNECT_MS));
}

static bool is_early(int result)
{
	return result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR;
}

static inline void write_all(const uint8_t *bytes, size_t len, int timeout_ms)
{
	while (len) {
		size_t n;
		int result = ivs_stream_write(stream.ends, bytes, len, &n, timeout_ms);

		if (is_early(result))
			continue;
		check("write", result);
		bytes += n;
		len -= n;
	}
}

static inline void read_all(uint8_t *bytes, size_t len, int timeout_ms)
{
	while (len) {
		size_t n;
		int result = ivs_stream_read(stream.ends, bytes, len, &n, timeout_ms);

		if (is_early(result))
			continue;
		check("read", result);
		bytes += n;
		len -= n;
	}
}

static void spin_send(const void *from, size_t len)
{
	write_all(from, len, 0);
}

static void spin_receive(void *to, size_t len)
{
	read_all(to, len, 0);
}

static void sleep_send(const void *from, size_t len)
{
	write_all(from, len, -1);
}

static void sleep_receive(void *to, size_t len)
{
	read_all(to, len, -1);
}

static void stream_finish(void)
{
	ivs_stream_close(stream.ends);
	ivs_stream_listener_close(stream.listener);
	channels_close(stream.channels);
}

const struct way stream_way = {
	.name = "stream",
	.kind = WAY_OWN,
	.spins = true,
	.len_max = SIZE_MAX,
	.prepare = stream_prepare,
	.start = stream_start,
	.send = spin_send,
	.receive = spin_receive,
	.finish = stream_finish,
	.clean = region_close,
};

const struct way stream_sleep_way = {
	.name = "stream, with doorbells",
	.kind = WAY_OWN,
	.rings = true,
	.len_max = SIZE_MAX,
	.prepare = served_prepare,
	.start = stream_start,
	.send = sleep_send,
	.receive = sleep_receive,
	.finish = stream_finish,
	.clean = region_close,
};
