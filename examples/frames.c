/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Video frames in a topic, without copies: the producer draws each frame in the region, and the
 * other program uses it there, for example as a texture of a GPU.
 *
 *   frames unix:/tmp/ivshmem_socket produce 1920x1080       60 frames per second
 *   frames unix:/tmp/ivshmem_socket produce 1920x1080 144
 *   frames pci: show                                        in a guest: checks each pixel, and
 *                                                           prints frames per second
 *
 * The region must be large enough: six frames, for each of four sections; 1920x1080 needs 256 MiB.
 * Channels that exist in the region keep the sections that it has. On a region without ids, each
 * program must be told which section of the region is its own:
 *
 *   frames shm:my-region produce 1920x1080 60 0
 *   frames shm:my-region show 1
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <ivshmem/channel.h>
#include <ivshmem/peer.h>

#define NAME "frames"
#define SECTIONS_N 4 /* few sections, so that each is large */
#define FPS 60
#define FPS_MAX 1000
#define SIDE_MAX 16384
#define NS_PER_S 1000000000
#define NS_PER_MS 1000000

#define PAGE_LEN 4096
#define PIXEL_LEN 4
#define XR24 0x34325258 /* the letters "XR24": DRM_FORMAT_XRGB8888, 0x00RRGGBB in each pixel */

/*
 * The first page of a frame; the pixels begin with the second page. A GPU imports whole pages (as a
 * dma-buf of /dev/ivshmemN, or as host memory), and so the image must begin with a page. Drivers
 * have more requirements, and refuse the memory, or let the GPU run into a page fault, if these are
 * not fulfilled:
 *
 *  - The stride of a linear image must be a multiple of 256 bytes for some GPUs.
 *  - Some drivers calculate the size of an image with a height that is a multiple of the number of
 *    rows that the GPU accesses together.
 *  - The units that fetch pixels may read beyond the last one.
 *
 * So the height of the memory is rounded up, and a spare page follows. They are never drawn.
 */
#define STRIDE_UNIT 256
#define ROWS_UNIT 16

struct frame {
	uint64_t number;
	uint32_t width;
	uint32_t height;
	uint32_t stride; /* bytes from a row to the next one */
	uint32_t format; /* XR24 */
};

struct options {
	struct ivs_channels_options channels;
	long width;
	long height;
	long fps;
	bool produces;
};

static int fail(const char *what, int result)
{
	fprintf(stderr, "frames: %s: %s\n", what,
		result < 0 ? strerror(-result) : ivs_channel_strerror(result));
	return 1;
}

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * NS_PER_S + now.tv_nsec;
}

static uint32_t round_up(uint32_t value, uint32_t unit)
{
	return (value + unit - 1) / unit * unit;
}

/* The test pattern: each pixel of each frame differs from that in the next frame. */
static uint32_t pixel_of(uint64_t number, uint32_t x, uint32_t y)
{
	uint32_t n = (uint32_t)number;

	return ((x + n) & 0xff) << 16 | ((y + n) & 0xff) << 8 | (n & 0xff);
}

/* Producing */

/* Write each byte once, in order, and read none: in a guest, the memory may be uncached. */
static void draw(const struct frame *frame, uint8_t *memory)
{
	memcpy(memory, frame, sizeof(*frame));
	for (uint32_t y = 0; y < frame->height; y++) {
		uint32_t *row = (uint32_t *)(void *)(memory + PAGE_LEN + (size_t)y * frame->stride);

		for (uint32_t x = 0; x < frame->width; x++)
			row[x] = pixel_of(frame->number, x, y);
	}
}

/*
 * Wait until the next frame is due. Use ivs_channels_wait() instead of nanosleep(2), to learn
 * whether the device is still there. Return: 0, IVS_CHANNEL_E_*, -errno.
 */
static int wait_until(struct ivs_channels *channels, int64_t deadline_ns)
{
	int64_t left_ms;
	int result;

	do {
		left_ms = (deadline_ns - now_ns()) / NS_PER_MS;
		result = ivs_channels_wait(channels, left_ms > 0 ? (int)left_ms : 0);
	} while ((!result || result == -EINTR) && left_ms > 0);
	return result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR ? 0 : result;
}

static int produce(struct ivs_channels *channels, const struct options *options)
{
	struct frame frame = {.width = (uint32_t)options->width,
			      .height = (uint32_t)options->height,
			      .stride = round_up((uint32_t)options->width * PIXEL_LEN, STRIDE_UNIT),
			      .format = XR24};
	uint32_t rows_n = round_up(frame.height, ROWS_UNIT);
	uint32_t len = PAGE_LEN + round_up(frame.stride * rows_n, PAGE_LEN) + PAGE_LEN;
	/* 2 frames, and 2 for each of 2 borrowers, to keep one while they borrow the next one. */
	const struct ivs_topic_options size = {
		.messages_n = 2, .message_len = len, .borrowers_n = 2, .loans_n = 2};
	int64_t next_ns = now_ns();
	struct ivs_topic *topic;
	int result = ivs_topic_open_publisher(channels, NAME, &size, &topic);

	if (result == IVS_CHANNEL_E_FULL || result == IVS_CHANNEL_E_TOO_LONG) {
		fprintf(stderr,
			"frames: 6 frames of %u bytes do not fit in one of the %u sections "
			"of the region: use a larger region\n",
			len, ivs_channels_sections(channels));
		return 1;
	}
	if (result)
		return fail("cannot open the topic", result);
	printf("frames: producing %ux%u, stride %u, %u bytes per frame\n", frame.width,
	       frame.height, frame.stride, len);
	while (!result) {
		void *memory = ivs_topic_reserve(topic);

		frame.number++;
		if (memory) {
			draw(&frame, memory);
			ivs_topic_commit(topic, len);
		}
		next_ns += NS_PER_S / options->fps;
		result = memory ? wait_until(channels, next_ns) : IVS_CHANNEL_E_SECTION;
	}
	ivs_topic_close(topic);
	return fail("cannot produce", result);
}

/* Showing */

struct view {
	struct ivs_topic *topic;
	const void *shown; /* the current frame; NULL: none */
	struct frame frame;
	int64_t reported_ns;
	uint64_t frames_n; /* since then */
	uint64_t in_place_n;
	uint64_t wrong_n;
	uint64_t missed; /* altogether */
};

/* Return: whether all that the frame says of itself is within its @len bytes. */
static bool is_possible(const struct frame *frame, size_t len)
{
	return frame->format == XR24 && frame->width && frame->width <= SIDE_MAX && frame->height &&
	       frame->height <= SIDE_MAX && !(frame->stride % STRIDE_UNIT) &&
	       frame->stride >= frame->width * PIXEL_LEN && frame->stride <= SIDE_MAX * PIXEL_LEN &&
	       (uint64_t)frame->stride * frame->height <= len - PAGE_LEN;
}

/* Instead of showing the frame, compare it with the pattern. Return: whether it is correct. */
static bool check(const struct frame *frame, const uint8_t *memory)
{
	for (uint32_t y = 0; y < frame->height; y++) {
		const uint32_t *row = (const uint32_t *)(const void *)(memory + PAGE_LEN +
								       (size_t)y * frame->stride);

		for (uint32_t x = 0; x < frame->width; x++) {
			if (row[x] != pixel_of(frame->number, x, y))
				return false;
		}
	}
	return true;
}

static void show_frame(struct view *view, const void *memory, size_t len)
{
	struct frame frame;

	view->frames_n++;
	view->in_place_n += ivs_topic_is_in_place(view->topic, memory);
	if (len < PAGE_LEN) {
		view->wrong_n++;
	} else {
		/* Copy, then check, then use: a hostile peer may write at any time. */
		memcpy(&frame, memory, sizeof(frame));
		if (!is_possible(&frame, len) || !check(&frame, memory))
			view->wrong_n++;
		else if (frame.width != view->frame.width || frame.height != view->frame.height)
			printf("frames: showing %ux%u, stride %u\n", frame.width, frame.height,
			       frame.stride);
		view->frame = frame;
	}
	/* A display uses the former frame until it has the next one: only now give it back. */
	ivs_topic_give_back(view->topic, view->shown);
	view->shown = memory;
}

static void report(struct view *view)
{
	uint64_t missed = ivs_topic_missed(view->topic);
	double took_s = (double)(now_ns() - view->reported_ns) / NS_PER_S;

	if (view->frames_n)
		printf("frames: %.1f per second, %" PRIu64 " of %" PRIu64 " in place, %" PRIu64
		       " missed, %" PRIu64 " wrong\n",
		       (double)view->frames_n / took_s, view->in_place_n, view->frames_n,
		       missed - view->missed, view->wrong_n);
	*view = (struct view){.topic = view->topic,
			      .shown = view->shown,
			      .frame = view->frame,
			      .reported_ns = now_ns(),
			      .missed = missed};
}

static int show(struct ivs_channels *channels)
{
	const struct ivs_subscriber_options opts = {.newest = true, .last = true, .borrows = true};
	struct view view = {.reported_ns = now_ns()};
	int result = ivs_topic_open_subscriber(channels, NAME, &opts, &view.topic);

	if (result)
		return fail("cannot open the topic", result);
	printf("frames: waiting for frames\n");
	for (;;) {
		int64_t left_ms = (view.reported_ns + NS_PER_S - now_ns()) / NS_PER_MS;
		const void *memory;
		size_t len;

		if (left_ms <= 0) {
			report(&view);
			continue;
		}
		result = ivs_topic_borrow(view.topic, &memory, &len, (int)left_ms);
		if (!result)
			show_frame(&view, memory, len);
		else if (result == IVS_CHANNEL_E_ENDED)
			printf("frames: the producer has left\n"); /* another one may come */
		else if (result != IVS_CHANNEL_E_TIMEOUT && result != -EINTR)
			break;
	}
	ivs_topic_close(view.topic); /* gives back the last frame */
	return fail("cannot borrow", result);
}

static int usage(bool is_help)
{
	fputs("usage: frames ADDRESS produce WIDTHxHEIGHT [FPS [SECTION]]\n"
	      "       frames ADDRESS show [SECTION]\n",
	      is_help ? stdout : stderr);
	return is_help ? 0 : 2;
}

/* Return: whether @text starts with a number from @min to @max, which @end follows. */
static bool parse_number(const char *text, long min, long max, char end, long *number)
{
	char *rest;

	errno = 0;
	*number = strtol(text, &rest, 10);
	return isdigit((unsigned char)*text) && *rest == end && !errno && *number >= min &&
	       *number <= max;
}

/* Return: whether the words after the address make sense. */
static bool parse(char **words, struct options *options)
{
	const char *x = *words && words[1] ? strchr(words[1], 'x') : NULL;
	long section;

	options->produces = *words && !strcmp(*words, "produce");
	if (!*words || (!options->produces && strcmp(*words, "show")))
		return false;
	words++;
	if (options->produces) {
		if (!x || !parse_number(*words++, 1, SIDE_MAX, 'x', &options->width) ||
		    !parse_number(x + 1, 1, SIDE_MAX, 0, &options->height))
			return false;
		if (*words && !parse_number(*words++, 1, FPS_MAX, 0, &options->fps))
			return false;
	}
	if (!*words)
		return true;
	if (words[1] || !parse_number(*words, 0, UINT16_MAX, 0, &section))
		return false;
	options->channels.section = (uint32_t)section;
	return true;
}

int main(int argc, char **argv)
{
	struct options options = {.channels = IVS_CHANNELS_OPTIONS_INIT, .fps = FPS};
	struct ivs_channels *channels;
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(true);
	if (argc < 3 || !parse(argv + 2, &options))
		return usage(false);
	options.channels.sections_n = SECTIONS_N;
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (ivs_peer_open(argv[1], NULL, &peer, &err)) {
		fprintf(stderr, "frames: %s\n", err.text);
		return 1;
	}
	if (ivs_channels_open(peer, &options.channels, &channels, &err)) {
		fprintf(stderr, "frames: %s\n", err.text);
		ivs_peer_close(peer);
		return 1;
	}
	status = options.produces ? produce(channels, &options) : show(channels);
	ivs_channels_close(channels);
	ivs_peer_close(peer);
	return status;
}
