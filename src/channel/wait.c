/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/wait.h"

#include "base/clock.h"

#ifdef IVS_SHARED_TESTED
#define SPINS 2
#else
#define SPINS 200 /* tries before sleeping */
#endif

void ivs_channel_add(struct ivs_channel *channel, struct ivs_channels *channels)
{
	channel->channels = channels;
	channel->next = channels->open;
	channels->open = channel;
}

void ivs_channel_remove(struct ivs_channel *channel)
{
	struct ivs_channel **link = &channel->channels->open;

	while (*link != channel)
		link = &(*link)->next;
	*link = channel->next;
}

/*
 * Publish that this peer sleeps, and try again before it does: see ivs_shared_publish(). What the
 * other side does between this and the sleep rings.
 */
static int sleep_once(struct ivs_channel *channel, struct ivs_attempt *attempt, int64_t deadline_ns)
{
	bool rings = channel->set_sleeps(channel, true);
	int result = attempt->run(channel, attempt);

	if (result == IVS_CHANNEL_E_TIMEOUT) {
		result = ivs_channels_sleep(channel->channels, deadline_ns, rings);
		if (!result)
			result = attempt->run(channel, attempt);
	}
	(void)channel->set_sleeps(channel, false);
	return result;
}

static int await(struct ivs_channel *channel, struct ivs_attempt *attempt, int timeout_ms)
{
	int64_t deadline_ns;
	int result = IVS_CHANNEL_E_TIMEOUT;

	if (!timeout_ms) {
		result = ivs_channels_poll_sometimes(channel->channels);
		return result ? result : attempt->run(channel, attempt);
	}
	deadline_ns = ivs_clock_deadline(timeout_ms);
	for (unsigned int i = 0; i < SPINS && result == IVS_CHANNEL_E_TIMEOUT; i++)
		result = attempt->run(channel, attempt);
	while (result == IVS_CHANNEL_E_TIMEOUT && ivs_clock_ns() < deadline_ns)
		result = sleep_once(channel, attempt, deadline_ns);
	return result;
}

int ivs_channel_await(struct ivs_channel *channel, struct ivs_attempt *attempt, int timeout_ms)
{
	int result = attempt->run(channel, attempt);

	if (result == IVS_CHANNEL_E_TIMEOUT)
		result = await(channel, attempt, timeout_ms);
	if (!result)
		ivs_channels_awake(channel->channels);
	return result;
}

static bool set_all_sleep(struct ivs_channels *channels)
{
	bool rings = true;

	for (struct ivs_channel *channel = channels->open; channel; channel = channel->next) {
		channel->sleeps = !channel->waits || channel->waits(channel);
		if (channel->sleeps)
			rings = channel->set_sleeps(channel, true) && rings;
	}
	return rings;
}

static void set_all_awake(struct ivs_channels *channels)
{
	for (struct ivs_channel *channel = channels->open; channel; channel = channel->next) {
		if (channel->sleeps)
			(void)channel->set_sleeps(channel, false);
	}
}

static void offer_streams(struct ivs_channels *channels)
{
	for (struct ivs_channel *channel = channels->open; channel; channel = channel->next) {
		if (channel->offer)
			channel->offer(channel);
	}
}

static bool is_any_ready(const struct ivs_channels *channels)
{
	for (struct ivs_channel *channel = channels->open; channel; channel = channel->next) {
		if (channel->sleeps && channel->is_ready(channel))
			return true;
	}
	return false;
}

int ivs_channels_begin_wait(struct ivs_channels *channels, int *wait_ms)
{
	bool rings = set_all_sleep(channels);

	if (is_any_ready(channels))
		return 0;
	*wait_ms = ivs_channels_patience(channels, rings);
	return IVS_CHANNEL_E_TIMEOUT;
}

int ivs_channels_end_wait(struct ivs_channels *channels)
{
	set_all_awake(channels);
	return ivs_channels_poll(channels);
}

int ivs_channels_wait(struct ivs_channels *channels, int timeout_ms)
{
	int64_t deadline_ns = ivs_clock_deadline(timeout_ms);
	bool rings;
	int result;

	if (!timeout_ms) {
		result = ivs_channels_poll(channels);
		offer_streams(channels);
		return result;
	}
	rings = set_all_sleep(channels);
	if (is_any_ready(channels)) {
		result = ivs_channels_poll(channels);
	} else {
		result = ivs_channels_sleep(channels, deadline_ns, rings);
		if (!result && ivs_clock_ns() >= deadline_ns && !is_any_ready(channels))
			result = IVS_CHANNEL_E_TIMEOUT;
	}
	set_all_awake(channels);
	return result;
}
