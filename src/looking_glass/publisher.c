/* SPDX-License-Identifier: BSD-3-Clause */
#include "looking_glass/publisher.h"

#include <string.h>

#define NS_PER_MS 1000000
#define NS_PER_S 1000000000
#define BEAT_NS (10 * NS_PER_MS)
#define STUCK_NS NS_PER_S
#define LOOK_NS ((int64_t)IVS_PUBLISHER_LOOK_MS * NS_PER_MS)
#define OTHER_BEATS_N 2 /* after this many changes of the heartbeat, another publisher is assumed */

#define PAGE_LEN 4096
#define PIXEL_LEN 4
#define PITCH_UNIT 256 /* the unit that Looking Glass on Windows uses */

/* The queues. */
#define FRAMES 0
#define FRAMES_ID 2
#define FRAMES_SLOTS_N 3
#define POINTER_ID 1
#define POINTER_SLOTS_N 21
#define QUEUES_N 2

/* The data for clients: magic, version, name of the program, features. */
#define UDATA_LEN 48

static const uint8_t udata[UDATA_LEN] = "KVMFR---\x14\0\0\0ivshmem test pattern";

/* Offsets in the header of a frame. */
#define F_FORMAT_VERSION 0
#define F_SERIAL 4
#define F_TYPE 8
#define F_SIZES 12 /* width and height of the screen, of the data, and of the part that is shown */
#define F_ROTATION 36
#define F_STRIDE 40
#define F_PITCH 44
#define F_OFFSET 48
#define F_RECTANGLES_N 52
#define F_FLAGS 1080
#define F_WRITTEN (PAGE_LEN - 4) /* number of bytes of pixels that are valid */
#define TYPE_BGRA 1
#define FORMAT_VERSION 1

static uint64_t round_up(uint64_t n, uint64_t unit)
{
	return (n + unit - 1) / unit * unit;
}

static uint64_t pitch_of(uint32_t width)
{
	return round_up((uint64_t)width * PIXEL_LEN, PITCH_UNIT);
}

/* Set the values that do not change: queues and offsets. Return: the number of bytes used. */
static uint64_t publisher_plan(struct ivs_publisher *publisher, uint32_t width, uint32_t height)
{
	struct ivs_lgmp *lgmp = &publisher->lgmp;
	uint64_t frame_len = pitch_of(width) * height;
	uint64_t at;

	lgmp->max_time_ms = IVS_PUBLISHER_PATIENCE_MS;
	lgmp->udata = udata;
	lgmp->udata_len = UDATA_LEN;
	lgmp->queues_n = QUEUES_N;
	lgmp->queues[FRAMES] = (struct ivs_lgmp_queue){.id = FRAMES_ID, .slots_n = FRAMES_SLOTS_N};
	lgmp->queues[1] = (struct ivs_lgmp_queue){.id = POINTER_ID, .slots_n = POINTER_SLOTS_N};
	at = round_up(ivs_lgmp_used(lgmp), PAGE_LEN);
	for (unsigned int i = 0; i < IVS_PUBLISHER_FRAMES_N; i++) {
		publisher->frames[i] = (uint32_t)at;
		at += PAGE_LEN + round_up(frame_len, PAGE_LEN);
	}
	publisher->frame_len = (uint32_t)frame_len;
	publisher->pattern = (struct ivs_pattern){
		.width = width,
		.height = height,
		.stride = (uint32_t)(pitch_of(width) / PIXEL_LEN)};
	return at;
}

uint64_t ivs_publisher_size(uint32_t width, uint32_t height)
{
	struct ivs_publisher publisher = {.number = 0};

	return publisher_plan(&publisher, width, height);
}

int ivs_publisher_init(struct ivs_publisher *publisher, const struct ivs_publisher_options *options,
		       void *memory, size_t len)
{
	*publisher = (struct ivs_publisher){.options = *options};
	publisher->lgmp.len = publisher_plan(publisher, options->width, options->height);
	publisher->lgmp.memory = memory;
	return publisher->lgmp.len > len ? IVS_PUBLISHER_E_ROOM : 0;
}

static void put32(struct ivs_publisher *publisher, size_t at, uint32_t value)
{
	uint32_t *word = (uint32_t *)(void *)(publisher->lgmp.memory + at);

	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

/* Write the header of the frame at @at, whose pixels are not valid yet. */
static void frame_put_header(struct ivs_publisher *publisher, uint32_t at)
{
	const struct ivs_pattern *pattern = &publisher->pattern;

	put32(publisher, at + F_WRITTEN, 0);
	put32(publisher, at + F_FORMAT_VERSION, FORMAT_VERSION);
	put32(publisher, at + F_SERIAL, (uint32_t)publisher->number + 1);
	put32(publisher, at + F_TYPE, TYPE_BGRA);
	for (size_t i = 0; i < 3; i++) {
		put32(publisher, at + F_SIZES + 8 * i, pattern->width);
		put32(publisher, at + F_SIZES + 8 * i + 4, pattern->height);
	}
	put32(publisher, at + F_ROTATION, 0);
	put32(publisher, at + F_STRIDE, pattern->stride);
	put32(publisher, at + F_PITCH, pattern->stride * PIXEL_LEN);
	put32(publisher, at + F_OFFSET, F_WRITTEN);
	put32(publisher, at + F_RECTANGLES_N, 0);
	put32(publisher, at + F_FLAGS, 0);
}

/* Return: the next random number, by splitmix64. */
static uint64_t next_random(uint64_t *seed)
{
	uint64_t z = (*seed += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

void ivs_publisher_start(struct ivs_publisher *publisher, int64_t now_ns)
{
	uint32_t session = (uint32_t)next_random(&publisher->options.seed);

	ivs_lgmp_setup(&publisher->lgmp, session, (uint64_t)(now_ns / NS_PER_MS));
	for (unsigned int i = 0; i < IVS_PUBLISHER_FRAMES_N; i++)
		frame_put_header(publisher, publisher->frames[i]);
	ivs_lgmp_show(&publisher->lgmp);
	publisher->attached = 0;
	publisher->busy_since_ns = 0;
	publisher->other_since_ns = 0;
	publisher->beat_ns = now_ns + BEAT_NS;
	publisher->frame_ns = now_ns;
}

static void publisher_restart(struct ivs_publisher *publisher, int64_t now_ns,
			      enum ivs_publisher_cause cause, struct ivs_publisher_report *report)
{
	report->detached |= publisher->attached & ~report->attached;
	report->attached = 0;
	report->cause = cause;
	ivs_publisher_start(publisher, now_ns);
}

/*
 * The session's header is no longer what this publisher has written. Either another program is
 * publishing now, which its heartbeats show, or the region was overwritten. Until it is clear
 * which, write nothing.
 */
static int publisher_look(struct ivs_publisher *publisher, int64_t now_ns,
			  struct ivs_publisher_report *report)
{
	uint64_t beat;

	if (publisher->options.force) {
		publisher_restart(publisher, now_ns, IVS_PUBLISHER_WIPED, report);
		return 0;
	}
	publisher->beat_ns = now_ns + BEAT_NS;
	if (!publisher->other_since_ns) {
		publisher->other_since_ns = now_ns;
		publisher->other_beats_n = 0;
		publisher->other_beat = 0;
	}
	if (ivs_lgmp_find_heartbeat(publisher->lgmp.memory, publisher->lgmp.len, &beat) &&
	    beat != publisher->other_beat) {
		publisher->other_beats_n += publisher->other_beat != 0;
		publisher->other_beat = beat;
	}
	if (publisher->other_beats_n >= OTHER_BEATS_N)
		return IVS_PUBLISHER_E_OTHER;
	if (now_ns - publisher->other_since_ns >= LOOK_NS)
		publisher_restart(publisher, now_ns, IVS_PUBLISHER_WIPED, report);
	return 0;
}

static void publisher_note_clients(struct ivs_publisher *publisher,
				   const struct ivs_lgmp_progress *progress,
				   struct ivs_publisher_report *report)
{
	memcpy(report->taken, progress->taken, sizeof(report->taken));
	report->late = progress->late & publisher->attached;
	report->detached = publisher->attached & ~progress->subscribed & ~report->late;
	report->attached = progress->subscribed & ~publisher->attached;
	publisher->attached = progress->subscribed;
}

/* Draw the next frame and post it. Return: 0 or IVS_LGMP_E_*. */
static int publisher_post_frame(struct ivs_publisher *publisher, int64_t now_ns)
{
	uint32_t at = publisher->frames[publisher->number % IVS_PUBLISHER_FRAMES_N];
	struct ivs_lgmp_message message = {
		.len = publisher->frame_len + PAGE_LEN,
		.offset = at,
	};
	int result;

	frame_put_header(publisher, at);
	ivs_pattern_draw(&publisher->pattern, publisher->number,
			 (uint32_t *)(void *)(publisher->lgmp.memory + at + PAGE_LEN));
	put32(publisher, at + F_WRITTEN, publisher->frame_len);
	result = ivs_lgmp_post(&publisher->lgmp, FRAMES, &message, (uint64_t)(now_ns / NS_PER_MS));
	if (!result)
		publisher->number++;
	return result;
}

/*
 * Publish a frame if it is due, a client is subscribed, and the frame's buffer is not being read.
 */
static int publisher_frame(struct ivs_publisher *publisher, int64_t now_ns, uint32_t waiting_n)
{
	int64_t period = NS_PER_S / publisher->options.fps;
	int result;

	if (now_ns < publisher->frame_ns || !publisher->attached)
		return 0;
	publisher->frame_ns += period;
	if (publisher->frame_ns <= now_ns) /* if frames are late, do not try to catch up */
		publisher->frame_ns = now_ns + period;
	if (waiting_n >= IVS_PUBLISHER_FRAMES_N)
		return 0;
	result = publisher_post_frame(publisher, now_ns);
	return result == IVS_LGMP_E_NOBODY || result == IVS_LGMP_E_FULL ? 0 : result;
}

/* Process both queues, and post. Return: 0, IVS_LGMP_E_BUSY, IVS_LGMP_E_BROKEN. */
static int publisher_serve(struct ivs_publisher *publisher, int64_t now_ns,
			   struct ivs_publisher_report *report)
{
	uint64_t now_ms = (uint64_t)(now_ns / NS_PER_MS);
	struct ivs_lgmp_progress pointer;
	struct ivs_lgmp_progress frames;
	int result;

	result = ivs_lgmp_process(&publisher->lgmp, FRAMES, now_ms, &frames);
	publisher_note_clients(publisher, &frames, report);
	if (!result)
		result = ivs_lgmp_process(&publisher->lgmp, 1, now_ms, &pointer);
	if (!result)
		result = publisher_frame(publisher, now_ns, frames.waiting_n);
	return result;
}

int ivs_publisher_step(struct ivs_publisher *publisher, int64_t now_ns,
		       struct ivs_publisher_report *report)
{
	struct ivs_lgmp *lgmp = &publisher->lgmp;

	memset(report, 0, sizeof(*report));
	if (publisher->other_since_ns || !ivs_lgmp_is_own(lgmp))
		return publisher_look(publisher, now_ns, report);
	if (now_ns >= publisher->beat_ns) {
		publisher->beat_ns = now_ns + BEAT_NS;
		ivs_lgmp_beat(lgmp, (uint64_t)(now_ns / NS_PER_MS));
	}
	switch (publisher_serve(publisher, now_ns, report)) {
	case IVS_LGMP_E_BROKEN:
		publisher_restart(publisher, now_ns, IVS_PUBLISHER_BROKEN, report);
		break;
	case IVS_LGMP_E_BUSY:
		if (!publisher->busy_since_ns)
			publisher->busy_since_ns = now_ns;
		if (publisher->frame_ns < publisher->beat_ns)
			publisher->frame_ns = publisher->beat_ns; /* retry at the next heartbeat */
		if (now_ns - publisher->busy_since_ns >= STUCK_NS)
			publisher_restart(publisher, now_ns, IVS_PUBLISHER_STUCK, report);
		break;
	default:
		publisher->busy_since_ns = 0;
	}
	return 0;
}

int64_t ivs_publisher_due_ns(const struct ivs_publisher *publisher)
{
	bool draws = publisher->attached && !publisher->other_since_ns;

	return draws && publisher->frame_ns < publisher->beat_ns ? publisher->frame_ns
								 : publisher->beat_ns;
}

void ivs_publisher_end(struct ivs_publisher *publisher)
{
	if (ivs_lgmp_is_own(&publisher->lgmp))
		ivs_lgmp_hide(&publisher->lgmp);
}
