/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation. A topic is a lane whose writer waits for no reader. The lane's slots name
 * buffers, which contain the messages: see pool.h. Before the writer overwrites a slot, it marks
 * the slot, and it writes to the slot's former buffer only after that. So a subscriber that has
 * copied a message can tell whether the copy is complete. A subscriber that is too far behind
 * continues with a message that is still there, and counts those that it has missed.
 *
 * The publisher looks for subscribers at most once per millisecond, and keeps their references
 * behind its slots. A subscriber that finds its own reference there will be rung; until then it
 * sleeps for short times only.
 *
 * A subscriber whose reference is among the first ones, those of the borrowers, can borrow buffers.
 * It publishes the number of the buffer in its own endpoint, and then looks whether the slot still
 * names that buffer, and whether its reference is still there. The publisher marks the slot, and
 * then looks which buffers are borrowed before it takes one. So either the publisher finds that the
 * buffer is borrowed, or the subscriber finds that the slot has been marked. Other subscribers get
 * private copies, so a publisher always has a free buffer, and never waits.
 */
#ifndef IVS_CHANNEL_TOPIC_H
#define IVS_CHANNEL_TOPIC_H

#include "channel/wait.h"

/**
 * struct ivs_topic - what publishers and subscribers have in common: their first member
 * @base:      must be the first member
 * @publishes: it is a publisher
 * @close:     close the channel, without freeing it
 */
struct ivs_topic {
	struct ivs_channel base;
	bool publishes;
	void (*close)(struct ivs_topic *topic);
};

/**
 * ivs_topic_check() - what must be true before a topic is opened
 *
 * Return: 0, IVS_CHANNEL_E_NAME, _SECTION, _PEER, -errno.
 */
IVS_MUST_USE int ivs_topic_check(struct ivs_channels *channels, const char *name);

#endif
