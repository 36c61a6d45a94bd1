/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/message_receive.h"

#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "tools/ivshmem/signals.h"

#define ROOM_MIN 4096

int message_receive_option(struct message_receive *receive, int option, const char *value)
{
	int status = message_print_option(&receive->print, option, value);

	return status < 0 ? channel_target_option(&receive->target, option, value) : status;
}

static int receive_one(struct message_receive *receive, size_t *len, int timeout_ms)
{
	struct message_print *print = &receive->print;

	for (;;) {
		int result = receive->receive(receive->context, print->buffer, print->room, len,
					      timeout_ms);

		if (result != IVS_CHANNEL_E_TOO_LONG)
			return result;
		/* By the next call, a publisher may have replaced it by a longer message. */
		result = message_print_make_room(print, *len);
		if (result)
			return result;
	}
}

/* Return: 0: go on; or STATUS_FAILED after printing the reason. */
static int handle(struct message_receive *receive, int result, size_t len, int64_t deadline_ns)
{
	const struct channel_target *target = &receive->target;

	switch (result) {
	case 0:
		return message_print(&receive->print, len);
	case -EINTR:
	case IVS_CHANNEL_E_ENDED: /* there may be other senders or publishers later */
		return 0;
	case IVS_CHANNEL_E_TIMEOUT:
		/* Otherwise a publisher has overwritten messages faster than they were copied. */
		if (ivs_clock_left_ms(deadline_ns))
			return 0;
		return usage_failed("\"%s\" in %s: no message within %d s", target->name,
				    target->target.address, target->timeout_ms / 1000);
	default:
		return receive->failed(receive->context, result);
	}
}

int message_receive_all(struct message_receive *receive)
{
	int result = message_print_make_room(&receive->print, ROOM_MIN);
	int64_t deadline_ns = ivs_clock_deadline(receive->target.timeout_ms);
	int status = 0;

	if (result)
		return channel_target_failed(&receive->target, result);
	while (!status && receive->print.left_n && !signals_have_stopped()) {
		size_t len = 0;

		result = receive_one(receive, &len, 0);
		if (result == IVS_CHANNEL_E_TIMEOUT) {
			status = message_print_flush();
			if (!status)
				result = receive_one(receive, &len, ivs_clock_left_ms(deadline_ns));
		}
		if (!status)
			status = handle(receive, result, len, deadline_ns);
		if (!result)
			deadline_ns = ivs_clock_deadline(receive->target.timeout_ms);
	}
	return status ? status : message_print_flush();
}

int message_receive_run(struct message_receive *receive, int (*all)(void *context))
{
	int status = channel_target_open_named(&receive->target);

	if (status)
		return status;
	signals_stop_peer(receive->target.peer);
	status = all(receive->context);
	channel_target_close(&receive->target);
	free(receive->print.buffer);
	return status;
}
