/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/wait.h"

#include "base/clock.h"

#ifdef IVS_SHARED_TESTED
#define TRIES 2
#else
#define TRIES 200 /* before the first look at the clock */
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

/* Tell the CPU, and a hypervisor that could run something else, that this is a loop that waits. */
static void relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Return: whether a call that has waited since @began_ns is to look again before it sleeps. */
static bool is_looking(const struct ivs_channels *channels, int64_t began_ns, int64_t deadline_ns)
{
	int64_t now_ns = ivs_clock_ns();

	if (now_ns - began_ns >= channels->spin.ns || now_ns >= deadline_ns)
		return false;
	relax();
	return true;
}

static void learn(struct ivs_channels *channels, int64_t began_ns)
{
	ivs_spin_learn(&channels->spin, ivs_clock_ns() - began_ns);
}

static int await_asleep(struct ivs_channel *channel, struct ivs_attempt *attempt,
			int64_t deadline_ns)
{
	struct ivs_channels *channels = channel->channels;
	int64_t began_ns = ivs_clock_ns();
	int result = IVS_CHANNEL_E_TIMEOUT;

	while (result == IVS_CHANNEL_E_TIMEOUT && is_looking(channels, began_ns, deadline_ns))
		result = attempt->run(channel, attempt);
	if (result != IVS_CHANNEL_E_TIMEOUT) {
		/* Calls that never sleep must learn of joins and leaves, too. */
		(void)!ivs_channels_poll_sometimes(channels);
		return result;
	}
	while (result == IVS_CHANNEL_E_TIMEOUT && ivs_clock_ns() < deadline_ns)
		result = sleep_once(channel, attempt, deadline_ns);
	learn(channels, began_ns);
	return result;
}

static unsigned int tries_n(const struct ivs_channels *channels)
{
	return channels->spin.max_ns ? TRIES : 1;
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
	for (unsigned int i = 0; i < tries_n(channel->channels) && result == IVS_CHANNEL_E_TIMEOUT;
	     i++)
		result = attempt->run(channel, attempt);
	if (result != IVS_CHANNEL_E_TIMEOUT)
		return result;
	return await_asleep(channel, attempt, deadline_ns);
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

static void choose_waiting(struct ivs_channels *channels)
{
	for (struct ivs_channel *channel = channels->open; channel; channel = channel->next)
		channel->is_waiting = !channel->waits || channel->waits(channel);
}

static bool set_all_sleep(struct ivs_channels *channels)
{
	bool rings = true;

	choose_waiting(channels);
	for (struct ivs_channel *channel = channels->open; channel; channel = channel->next) {
		if (channel->is_waiting)
			rings = channel->set_sleeps(channel, true) && rings;
	}
	return rings;
}

static void set_all_awake(struct ivs_channels *channels)
{
	for (struct ivs_channel *channel = channels->open; channel; channel = channel->next) {
		if (channel->is_waiting)
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
		if (channel->is_waiting && channel->is_ready(channel))
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

/* Return: whether a channel became ready while a call looked before sleeping. */
static bool look(struct ivs_channels *channels, int64_t began_ns, int64_t deadline_ns)
{
	choose_waiting(channels);
	while (is_looking(channels, began_ns, deadline_ns)) {
		if (is_any_ready(channels))
			return true;
	}
	return false;
}

static int sleep_for_all(struct ivs_channels *channels, int64_t deadline_ns)
{
	bool rings = set_all_sleep(channels);
	int result;

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

int ivs_channels_wait(struct ivs_channels *channels, int timeout_ms)
{
	int64_t began_ns = ivs_clock_ns();
	int64_t deadline_ns = ivs_clock_deadline(timeout_ms);
	int result;

	if (!timeout_ms) {
		result = ivs_channels_poll(channels);
		offer_streams(channels);
		return result;
	}
	if (look(channels, began_ns, deadline_ns))
		return ivs_channels_poll(channels);
	result = sleep_for_all(channels, deadline_ns);
	learn(channels, began_ns);
	return result;
}
