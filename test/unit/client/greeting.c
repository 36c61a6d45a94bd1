/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of client/greeting.h. A greeting ends after the expected vectors, when the server falls
 * silent, at the deadline, or, if no vectors are wanted, after the region.
 */
#include <criterion/criterion.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "base/fd.h"
#include "client/greeting.h"
#include "protocol/socket.h"
#include "support/c/fds.h"

#define OWN 7
#define OTHER 3

static struct ivs_connection connection = IVS_CONNECTION_INIT;
static int server = -1;
static unsigned int fds_before;

static void setup(void)
{
	int socks[2];

	fds_before = test_fds_open();
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, socks), 0);
	server = socks[0];
	connection.sock = socks[1];
}

static void teardown(void)
{
	ivs_connection_deinit(&connection);
	ivs_fd_close(&server);
	test_fds_check(fds_before);
}

TestSuite(greeting, .init = setup, .fini = teardown);

static void send_message(enum ivs_v0_type type, unsigned int id, int fd)
{
	const struct ivs_v0_message message = {.type = type, .id = id, .fd = fd};
	unsigned int sent_n;

	cr_assert_eq(ivs_socket_send(server, &message, 1, &sent_n), 0);
	ivs_fd_close(&fd);
}

static void send_region(void)
{
	send_message(IVS_V0_VERSION, 0, -1);
	send_message(IVS_V0_ID, OWN, -1);
	send_message(IVS_V0_MEMORY, 0, memfd_create("region", MFD_CLOEXEC));
}

static void send_vectors(unsigned int id, unsigned int n)
{
	while (n--)
		send_message(IVS_V0_VECTOR, id, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

/* Receive until the greeting ends or fails. Return: the last result of ivs_greeting_next(). */
static int receive(struct ivs_greeting *greeting, struct ivs_error *err)
{
	struct ivs_connection_event event;
	int result;

	while (!(result = ivs_greeting_next(greeting, &connection, &event, err)))
		ivs_fd_close(&event.fd);
	return result;
}

static struct ivs_greeting greeting_of(unsigned int wanted_n, int timeout_ms)
{
	return (struct ivs_greeting){
		.wanted_n = wanted_n,
		.deadline_ns = ivs_clock_deadline(timeout_ms),
	};
}

Test(greeting, as_many_as_another_peer_has_are_all)
{
	struct ivs_greeting greeting = greeting_of(0, -1);

	send_region();
	send_vectors(OTHER, 2);
	send_vectors(OWN, 2);
	send_vectors(OWN, 1); /* not received, because the greeting has ended */
	cr_expect_eq(receive(&greeting, NULL), IVS_CONNECTION_E_AGAIN);
	cr_expect_eq(greeting.vectors_n, 2);
	cr_expect_eq(greeting.others_n, 2);
	cr_expect_eq(connection.id, OWN);
	cr_expect_eq(ivs_doorbells_vectors(&connection.doorbells, OTHER), 2);
}

Test(greeting, vectors_before_silence_are_all)
{
	struct ivs_greeting greeting = greeting_of(0, -1);
	int64_t begin = ivs_clock_ns();

	send_region();
	send_vectors(OWN, 3);
	cr_expect_eq(receive(&greeting, NULL), IVS_CONNECTION_E_AGAIN);
	cr_expect_eq(greeting.vectors_n, 3);
	cr_expect_geq(ivs_clock_ns() - begin, IVS_GREETING_QUIET_MS * (int64_t)IVS_NS_PER_MS);
}

Test(greeting, a_greeting_may_have_no_vectors)
{
	struct ivs_greeting greeting = greeting_of(0, -1);

	send_region();
	cr_expect_eq(receive(&greeting, NULL), IVS_CONNECTION_E_AGAIN);
	cr_expect_eq(greeting.vectors_n, 0);
}

Test(greeting, requested_vectors_end_it_without_silence)
{
	struct ivs_greeting greeting = greeting_of(2, -1);

	send_region();
	send_vectors(OWN, 3);
	cr_expect_eq(receive(&greeting, NULL), IVS_CONNECTION_E_AGAIN);
	cr_expect_eq(greeting.vectors_n, 2);
}

Test(greeting, region_only_ends_with_the_memory)
{
	struct ivs_greeting greeting = greeting_of(0, -1);

	greeting.region_only = true;
	send_region();
	send_vectors(OWN, 1);
	cr_expect_eq(receive(&greeting, NULL), IVS_CONNECTION_E_AGAIN);
	cr_expect_eq(greeting.vectors_n, 0);
}

Test(greeting, silent_server_times_out)
{
	struct ivs_greeting greeting = greeting_of(0, 20);
	struct ivs_error err;

	send_message(IVS_V0_VERSION, 0, -1);
	cr_expect_eq(receive(&greeting, &err), IVS_CONNECTION_E_TIMEOUT);
	cr_expect_not_null(strstr(err.text, "accepted the connection but sends nothing"));
}

Test(greeting, fewer_vectors_than_requested_are_an_error)
{
	struct ivs_greeting greeting = greeting_of(3, 20);
	struct ivs_error err;

	send_region();
	send_vectors(OWN, 1);
	cr_expect_eq(receive(&greeting, &err), IVS_CONNECTION_E_TIMEOUT);
	cr_expect_not_null(strstr(err.text, "assigned 1 vectors, not 3"));
}

Test(greeting, server_that_closes_is_an_error)
{
	struct ivs_greeting greeting = greeting_of(0, -1);
	struct ivs_error err;

	send_region();
	ivs_fd_close(&server);
	cr_expect_eq(receive(&greeting, &err), IVS_CONNECTION_E_LOST);
}

Test(greeting, server_that_violates_the_protocol_is_an_error)
{
	struct ivs_greeting greeting = greeting_of(0, -1);
	struct ivs_error err;

	send_message(IVS_V0_ID, OWN, -1);
	cr_expect_eq(receive(&greeting, &err), IVS_CONNECTION_E_PROTOCOL);
	cr_expect_not_null(strstr(err.text, "is not an ivshmem-server of protocol 0"));
}

/* A client that must not block receives the events itself and passes them to the greeting. */
Test(greeting, noted_event_by_event)
{
	struct ivs_greeting greeting = {0};
	struct ivs_connection_event event;

	cr_expect_not(ivs_greeting_is_over(&greeting));
	send_region();
	send_vectors(OWN, 2);
	while (!ivs_connection_next(&connection, &event, NULL)) {
		ivs_greeting_note(&greeting, &connection, &event);
		ivs_fd_close(&event.fd);
	}
	cr_expect(greeting.has_region);
	cr_expect_eq(greeting.vectors_n, 2);
	cr_expect_not(ivs_greeting_is_over(&greeting), "the server may be about to send more");
	greeting.quiet_ns = ivs_clock_ns();
	cr_expect(ivs_greeting_is_over(&greeting));
}
