/* SPDX-License-Identifier: BSD-3-Clause */
#include "client/greeting.h"

#include <errno.h>
#include <poll.h>
#include <time.h>

#include "base/access.h"
#include "base/clock.h"
#include "base/error.h"

#define CONNECT_PAUSE_NS (10 * IVS_NS_PER_MS)

int ivs_greeting_connect(const struct ivs_greeting *greeting, struct ivs_connection *connection,
			 const char *path, struct ivs_error *err)
{
	const struct timespec pause = {.tv_nsec = CONNECT_PAUSE_NS};
	char why[IVS_ACCESS_TEXT_LEN];
	int result;

	for (;;) {
		result = ivs_connection_connect(connection, path, err);
		if (result == -EACCES)
			return ivs_error_set(err, result,
					     "cannot connect to %s: Permission denied: %s "
					     "(ivshmem-server --socket-mode, --socket-group)",
					     path, ivs_access_explain(path, W_OK, why));
		if (result != IVS_CONNECTION_E_BUSY || !ivs_clock_left_ms(greeting->deadline_ns))
			return result;
		nanosleep(&pause, NULL);
	}
}

void ivs_greeting_note(struct ivs_greeting *greeting, const struct ivs_connection *connection,
		       const struct ivs_connection_event *event)
{
	unsigned int others_n;

	switch (event->type) {
	case IVS_CONNECTION_ID:
		break;
	case IVS_CONNECTION_REGION:
		greeting->has_region = true;
		greeting->quiet_ns = ivs_clock_deadline(IVS_GREETING_QUIET_MS);
		break;
	case IVS_CONNECTION_VECTOR:
		greeting->vectors_n++;
		greeting->quiet_ns = ivs_clock_deadline(IVS_GREETING_QUIET_MS);
		break;
	case IVS_CONNECTION_PEER:
		others_n = ivs_doorbells_vectors(&connection->doorbells, event->id);
		if (others_n > greeting->others_n)
			greeting->others_n = others_n;
		break;
	}
}

bool ivs_greeting_is_over(const struct ivs_greeting *greeting)
{
	return greeting->has_region && !ivs_clock_left_ms(greeting->quiet_ns);
}

int ivs_greeting_timeout(const struct ivs_greeting *greeting,
			 const struct ivs_connection *connection, struct ivs_error *err)
{
	const char *path = connection->addr.sun_path;

	if (!greeting->has_region)
		return ivs_error_set(err, IVS_CONNECTION_E_TIMEOUT,
				     "the server at %s accepted the connection but sends nothing",
				     path);
	return ivs_error_set(err, IVS_CONNECTION_E_TIMEOUT,
			     "the server at %s assigned %u vectors, not %u: start it with -n %u",
			     path, greeting->vectors_n, greeting->wanted_n, greeting->wanted_n);
}

/* Return: whether everything that the client is waiting for has arrived. */
static bool greeting_is_complete(const struct ivs_greeting *greeting)
{
	if (!greeting->has_region)
		return false;
	if (greeting->region_only)
		return true;
	if (greeting->wanted_n)
		return greeting->vectors_n >= greeting->wanted_n;
	return greeting->vectors_n && greeting->vectors_n == greeting->others_n;
}

/* Return: whether the client can start even if nothing more arrives. */
static bool greeting_is_enough(const struct ivs_greeting *greeting)
{
	return greeting->has_region && !greeting->wanted_n;
}

/* End the greeting, because nothing more has arrived in time. */
static int greeting_end(const struct ivs_greeting *greeting,
			const struct ivs_connection *connection, struct ivs_error *err)
{
	if (greeting_is_enough(greeting))
		return IVS_CONNECTION_E_AGAIN;
	return ivs_greeting_timeout(greeting, connection, err);
}

/* Wait for bytes. Return: 0 if some may have arrived; otherwise like ivs_greeting_next(). */
static int greeting_wait(const struct ivs_greeting *greeting,
			 const struct ivs_connection *connection, struct ivs_error *err)
{
	struct pollfd pfd = {.fd = connection->sock, .events = POLLIN};
	int left_ms = ivs_clock_left_ms(greeting->deadline_ns);
	int n;

	if (greeting_is_enough(greeting) && (left_ms < 0 || left_ms > IVS_GREETING_QUIET_MS))
		left_ms = IVS_GREETING_QUIET_MS;
	n = poll(&pfd, 1, left_ms);
	if (n < 0)
		return errno == EINTR ? 0 : ivs_error_errno(err, errno, "cannot poll");
	return n ? 0 : greeting_end(greeting, connection, err);
}

int ivs_greeting_next(struct ivs_greeting *greeting, struct ivs_connection *connection,
		      struct ivs_connection_event *event, struct ivs_error *err)
{
	int result;

	do {
		if (greeting_is_complete(greeting))
			return IVS_CONNECTION_E_AGAIN;
		/* The deadline also applies to a server that sends without pausing. */
		if (!ivs_clock_left_ms(greeting->deadline_ns))
			return greeting_end(greeting, connection, err);
		result = ivs_connection_next(connection, event, err);
		if (!result) {
			ivs_greeting_note(greeting, connection, event);
			return 0;
		}
		if (result == IVS_CONNECTION_E_AGAIN)
			result = greeting_wait(greeting, connection, err);
	} while (!result);
	return result;
}
