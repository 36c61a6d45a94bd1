/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Readings of a sensor, in a topic: one program publishes them, and any number of others watch. The
 * publisher never waits, and it does not matter which program starts first:
 *
 *   sensor unix:/tmp/ivshmem_socket publish         the temperature, once per second
 *   sensor unix:/tmp/ivshmem_socket publish 10      every 10 ms
 *   sensor pci: watch                               prints each reading, and how many were missed
 *   sensor pci: watch newest                        skips readings that are not the newest
 *   sensor pci: watch last                          begins with the last reading, without waiting
 *
 * On a region without ids, each program must be told which section of the region is its own:
 *
 *   sensor shm:my-region publish 1000 0
 *   sensor shm:my-region watch 1
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

#define NAME "temperature"
#define SENSOR "/sys/class/thermal/thermal_zone0/temp" /* in thousandths of a degree */
#define PERIOD_MS 1000
#define PERIOD_MAX_MS (24 * 3600 * 1000)
#define CURVE_LEN 120 /* readings until the computed curve repeats */

/* A message. The types have the same size in each peer, whatever it was compiled for. */
struct reading {
	uint64_t number;  /* from 1 on */
	int64_t time_ms;  /* since 1970, by the publisher's clock */
	int32_t value;	  /* in thousandths of a degree */
	uint32_t is_real; /* 0: computed, because there is no sensor */
};

struct options {
	struct ivs_channels_options channels;
	struct ivs_subscriber_options subscriber;
	long period_ms;
	bool publishes;
};

static int fail(const char *what, int result)
{
	fprintf(stderr, "sensor: %s: %s\n", what,
		result < 0 ? strerror(-result) : ivs_channel_strerror(result));
	return 1;
}

static int64_t now_ms(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* From 20 to 26 degrees and back. */
static int32_t compute_value(uint64_t number)
{
	int32_t at = (int32_t)(number % CURVE_LEN);

	return 20000 + 100 * (at < CURVE_LEN / 2 ? at : CURVE_LEN - at);
}

static struct reading take_reading(uint64_t number)
{
	struct reading reading = {.number = number, .time_ms = now_ms(CLOCK_REALTIME)};
	FILE *file = fopen(SENSOR, "re");

	if (file && fscanf(file, "%" SCNd32, &reading.value) == 1)
		reading.is_real = 1;
	else
		reading.value = compute_value(number);
	if (file)
		fclose(file);
	return reading;
}

/*
 * Wait until the next reading is due. Use ivs_channels_wait() instead of nanosleep(2), to learn
 * whether the device is still there. Return: 0, IVS_CHANNEL_E_*, -errno.
 */
static int wait_until(struct ivs_channels *channels, int64_t deadline_ms)
{
	int64_t left_ms;
	int result;

	do {
		left_ms = deadline_ms - now_ms(CLOCK_MONOTONIC);
		result = ivs_channels_wait(channels, left_ms > 0 ? (int)left_ms : 0);
	} while ((!result || result == -EINTR) && left_ms > 0);
	return result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR ? 0 : result;
}

static int publish(struct ivs_channels *channels, long period_ms)
{
	const struct ivs_topic_options size = {.message_len = sizeof(struct reading)};
	int64_t next_ms = now_ms(CLOCK_MONOTONIC);
	struct ivs_topic *topic;
	int result = ivs_topic_open_publisher(channels, NAME, &size, &topic);

	if (result)
		return fail("cannot open the topic", result);
	for (uint64_t number = 1; !result; number++) {
		struct reading reading = take_reading(number);

		if (number == 1)
			printf("sensor: publishing %s\n",
			       reading.is_real ? SENSOR : "a computed curve, without a sensor");
		result = ivs_topic_publish(topic, &reading, sizeof(reading));
		next_ms += period_ms;
		if (!result)
			result = wait_until(channels, next_ms);
	}
	ivs_topic_close(topic);
	return fail("cannot publish", result);
}

static void print_reading(const struct reading *reading)
{
	time_t seconds = (time_t)(reading->time_ms / 1000);
	char when[16] = "?"; /* the publisher can send any time */
	struct tm local;

	if (localtime_r(&seconds, &local))
		strftime(when, sizeof(when), "%H:%M:%S", &local);
	printf("%s reading %" PRIu64 ": %.1f degrees%s\n", when, reading->number,
	       reading->value / 1000.0, reading->is_real ? "" : " (computed)");
}

static int watch(struct ivs_channels *channels, const struct ivs_subscriber_options *opts)
{
	struct ivs_topic *topic;
	uint64_t missed = 0;
	int result = ivs_topic_open_subscriber(channels, NAME, opts, &topic);

	if (result)
		return fail("cannot open the topic", result);
	printf("sensor: waiting for readings\n");
	for (;;) {
		struct reading reading;
		size_t len;

		result = ivs_topic_receive(topic, &reading, sizeof(reading), &len, -1);
		if (ivs_topic_missed(topic) != missed)
			printf("sensor: %" PRIu64 " readings %s\n",
			       ivs_topic_missed(topic) - missed,
			       opts->newest ? "skipped" : "missed");
		missed = ivs_topic_missed(topic);
		if (!result && len != sizeof(reading))
			result = IVS_CHANNEL_E_BROKEN; /* another program uses this name */
		if (!result)
			print_reading(&reading);
		else if (result == IVS_CHANNEL_E_ENDED)
			printf("sensor: the publisher has left\n"); /* another one may come */
		else if (result != -EINTR && result != IVS_CHANNEL_E_TIMEOUT)
			break;
	}
	ivs_topic_close(topic);
	return fail("cannot receive", result);
}

static int usage(bool is_help)
{
	fputs("usage: sensor ADDRESS publish [PERIOD_MS [SECTION]]\n"
	      "       sensor ADDRESS watch [newest] [last] [SECTION]\n",
	      is_help ? stdout : stderr);
	return is_help ? 0 : 2;
}

/* Return: whether @text is a number up to @max; it is then stored in *@number. */
static bool parse_number(const char *text, long max, long *number)
{
	char *end;

	errno = 0;
	*number = strtol(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end && !errno && *number <= max;
}

/* Return: whether the words after the address make sense. */
static bool parse(char **words, struct options *options)
{
	long section;

	options->publishes = *words && !strcmp(*words, "publish");
	if (!*words || (!options->publishes && strcmp(*words, "watch")))
		return false;
	words++;
	if (options->publishes && *words &&
	    (!parse_number(*words++, PERIOD_MAX_MS, &options->period_ms) || !options->period_ms))
		return false;
	for (; !options->publishes && *words; words++) {
		if (!strcmp(*words, "newest"))
			options->subscriber.newest = true;
		else if (!strcmp(*words, "last"))
			options->subscriber.last = true;
		else
			break;
	}
	if (!*words)
		return true;
	if (words[1] || !parse_number(*words, UINT16_MAX, &section))
		return false;
	options->channels.section = (uint32_t)section;
	return true;
}

int main(int argc, char **argv)
{
	struct options options = {.channels = IVS_CHANNELS_OPTIONS_INIT, .period_ms = PERIOD_MS};
	struct ivs_channels *channels;
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(true);
	if (argc < 3 || !parse(argv + 2, &options))
		return usage(false);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (ivs_peer_open(argv[1], NULL, &peer, &err)) {
		fprintf(stderr, "sensor: %s\n", err.text);
		return 1;
	}
	if (ivs_channels_open(peer, &options.channels, &channels, &err)) {
		fprintf(stderr, "sensor: %s\n", err.text);
		ivs_peer_close(peer);
		return 1;
	}
	status = options.publishes ? publish(channels, options.period_ms)
				   : watch(channels, &options.subscriber);
	ivs_channels_close(channels);
	ivs_peer_close(peer);
	return status;
}
