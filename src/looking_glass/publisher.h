/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Publishes a moving test pattern to clients of Looking Glass B7 (KVMFR version 20 over LGMP 6).
 * Pure: the caller passes the time, and calls ivs_publisher_step() whenever it is due.
 *
 * The region's content is not trusted (see lgmp.h). Whatever other processes write there, a step
 * always ends, and writes only to the range passed to ivs_publisher_init(), and a later step starts
 * a new session if the old one cannot be continued. Truncating the file raises SIGBUS in a step.
 *
 *     0                 header and queue descriptors, data for clients, rings of the two queues
 *     a page boundary   first frame: a page with its header, then the pixels
 *     a page boundary   second frame; the two are used in turn
 */
#ifndef IVS_LOOKING_GLASS_PUBLISHER_H
#define IVS_LOOKING_GLASS_PUBLISHER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"
#include "looking_glass/lgmp.h"
#include "looking_glass/pattern.h"

#define IVS_PUBLISHER_FPS_MAX 240
#define IVS_PUBLISHER_FRAMES_N 2

/*
 * Time that a client may take to read a frame. A client exits when it learns that this time has
 * passed.
 */
#define IVS_PUBLISHER_PATIENCE_MS 10000

/* Time to look for heartbeats of another publisher. */
#define IVS_PUBLISHER_LOOK_MS 300

enum ivs_publisher_error {
	IVS_PUBLISHER_E_ROOM = 1, /* the region is too small */
	IVS_PUBLISHER_E_OTHER,	  /* another program is publishing to the region */
};

/** enum ivs_publisher_cause - why a new session was started */
enum ivs_publisher_cause {
	IVS_PUBLISHER_CONTINUES, /* no new session was started */
	IVS_PUBLISHER_WIPED,	 /* the region was overwritten */
	IVS_PUBLISHER_STUCK,	 /* another process held a lock for 1 s, or died holding it */
	IVS_PUBLISHER_BROKEN,	 /* another process has made a queue inconsistent */
};

/**
 * struct ivs_publisher_options - what to publish
 * @width, @height: IVS_PATTERN_MIN to IVS_PATTERN_MAX
 * @fps:            frames per second, 1 to IVS_PUBLISHER_FPS_MAX
 * @force:          publish even if another program is also publishing
 * @seed:           a random number from which the numbers of sessions are computed
 */
struct ivs_publisher_options {
	uint32_t width;
	uint32_t height;
	uint32_t fps;
	bool force;
	uint64_t seed;
};

/**
 * struct ivs_publisher_report - what a step has found; one bit per client
 * @attached: clients that have subscribed
 * @detached: clients that have unsubscribed, or that lost the session
 * @late:     clients that were dropped because they did not read a frame in time
 * @taken:    for each client, the number of frames that it has taken
 * @cause:    if not 0, the reason why a new session was started
 */
struct ivs_publisher_report {
	uint32_t attached;
	uint32_t detached;
	uint32_t late;
	uint32_t taken[IVS_LGMP_CLIENTS_MAX];
	enum ivs_publisher_cause cause;
};

/** struct ivs_publisher - its members are private */
struct ivs_publisher {
	struct ivs_publisher_options options;
	struct ivs_pattern pattern;
	struct ivs_lgmp lgmp;
	uint32_t frames[IVS_PUBLISHER_FRAMES_N]; /* offsets of the frames */
	uint32_t frame_len;			 /* length of a frame's pixels in bytes */
	uint64_t number;			 /* number of the next frame */
	uint32_t attached;
	int64_t beat_ns;	/* when the next heartbeat is due */
	int64_t frame_ns;	/* when the next frame is due */
	int64_t busy_since_ns;	/* since when a lock has not been free; 0: it was free */
	int64_t other_since_ns; /* since when another program has seemed to publish; 0: none does */
	uint64_t other_beat;
	uint32_t other_beats_n;
};

/** ivs_publisher_size() - the number of bytes that a mode needs */
uint64_t ivs_publisher_size(uint32_t width, uint32_t height);

/**
 * ivs_publisher_init() - prepare without writing to the region
 * @memory: aligned to the size of a page
 *
 * Return: 0, IVS_PUBLISHER_E_ROOM.
 */
IVS_MUST_USE int ivs_publisher_init(struct ivs_publisher *publisher,
				    const struct ivs_publisher_options *options, void *memory,
				    size_t len);

/** ivs_publisher_start() - start the first session; @now_ns is above 0, here and below */
void ivs_publisher_start(struct ivs_publisher *publisher, int64_t now_ns);

/**
 * ivs_publisher_step() - write the heartbeat, serve the clients, publish a frame if one is due
 * @report: what has happened; also set if the result is not 0
 *
 * Return: 0, or IVS_PUBLISHER_E_OTHER: another program's heartbeats have been seen, and nothing
 * more is written to the region.
 */
IVS_MUST_USE int ivs_publisher_step(struct ivs_publisher *publisher, int64_t now_ns,
				    struct ivs_publisher_report *report);

/** ivs_publisher_due_ns() - when the next step is due */
int64_t ivs_publisher_due_ns(const struct ivs_publisher *publisher);

/** ivs_publisher_end() - end the session; clients show that they are waiting for a publisher */
void ivs_publisher_end(struct ivs_publisher *publisher);

#endif
