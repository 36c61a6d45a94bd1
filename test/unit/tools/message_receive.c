/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of tools/ivshmem/message_receive.c with functions in place of a topic whose publisher
 * overwrites messages faster than they can be copied, and in place of channel_target.c.
 */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tools/ivshmem/message_receive.h"

#define TEXT "message"

/**
 * struct topic - what the stand-in reports, and what it counts
 * @results:  the results of its calls that may wait; then a message arrives
 * @waits_n:  number of these calls
 */
struct topic {
	const int *results;
	unsigned int results_n;
	unsigned int waits_n;
	unsigned int failures_n;
};

int channel_target_option(struct channel_target *target, int option, const char *value)
{
	(void)target;
	(void)option;
	(void)value;
	return STATUS_USAGE;
}

int channel_target_failed(const struct channel_target *target, int result)
{
	(void)target;
	(void)result;
	return STATUS_FAILED;
}

int channel_target_open_named(struct channel_target *target)
{
	(void)target;
	return STATUS_FAILED;
}

void channel_target_close(struct channel_target *target)
{
	(void)target;
}

static int topic_receive(void *context, void *buffer, size_t room, size_t *len, int timeout_ms)
{
	struct topic *topic = context;

	if (!timeout_ms)
		return IVS_CHANNEL_E_TIMEOUT;
	if (topic->waits_n++ < topic->results_n)
		return topic->results[topic->waits_n - 1];
	cr_assert_leq(strlen(TEXT), room);
	memcpy(buffer, TEXT, strlen(TEXT));
	*len = strlen(TEXT);
	return 0;
}

static int topic_failed(void *context, int result)
{
	struct topic *topic = context;

	(void)result;
	topic->failures_n++;
	return 0;
}

static int receive_with(struct topic *topic, int timeout_ms)
{
	struct message_receive receive = MESSAGE_RECEIVE_INIT;
	int status;

	receive.target.name = "t";
	receive.target.timeout_ms = timeout_ms;
	receive.print.left_n = 1;
	receive.receive = topic_receive;
	receive.failed = topic_failed;
	receive.context = topic;
	status = message_receive_all(&receive);
	free(receive.print.buffer);
	return status;
}

static const int overtaken[] = {
	IVS_CHANNEL_E_TIMEOUT, IVS_CHANNEL_E_TIMEOUT, -EINTR,
	IVS_CHANNEL_E_ENDED,   IVS_CHANNEL_E_BROKEN,  IVS_CHANNEL_E_TIMEOUT,
};

#define OVERTAKEN_N (sizeof(overtaken) / sizeof(*overtaken))

Test(message_receive, tries_again_until_the_limit, .init = cr_redirect_stdout)
{
	struct topic topic = {.results = overtaken, .results_n = OVERTAKEN_N};

	cr_assert_eq(receive_with(&topic, 600 * 1000), 0);
	cr_assert_eq(topic.waits_n, OVERTAKEN_N + 1);
	cr_assert_eq(topic.failures_n, 1);
	cr_assert_stdout_eq_str(TEXT "\n");
}

Test(message_receive, tries_again_without_limit, .init = cr_redirect_stdout)
{
	struct topic topic = {.results = overtaken, .results_n = OVERTAKEN_N};

	cr_assert_eq(receive_with(&topic, -1), 0);
	cr_assert_stdout_eq_str(TEXT "\n");
}

Test(message_receive, ends_at_the_limit, .init = cr_redirect_stderr)
{
	static int results[1 << 20];
	struct topic topic = {.results = results, .results_n = 1 << 20};
	int64_t begin_ns;

	for (unsigned int i = 0; i < topic.results_n; i++)
		results[i] = i % 2 ? IVS_CHANNEL_E_TIMEOUT : IVS_CHANNEL_E_ENDED;
	begin_ns = ivs_clock_ns();
	cr_assert_eq(receive_with(&topic, 20), STATUS_FAILED);
	cr_assert_geq(ivs_clock_ns() - begin_ns, 20 * IVS_NS_PER_MS);
	cr_assert_gt(topic.waits_n, 1);
}

Test(message_receive, does_not_wait, .init = cr_redirect_stderr)
{
	struct topic topic = {0};

	cr_assert_eq(receive_with(&topic, 0), STATUS_FAILED);
	cr_assert_eq(topic.waits_n, 0);
}
