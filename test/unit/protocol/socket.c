/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of protocol/socket.h with messages and fds over real socket pairs.
 *
 * The sockets are in blocking mode, so a call that blocks makes its test time out. Each test runs
 * in its own process and may lower resource limits.
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "protocol/socket.h"
#include "support/c/fds.h"

#define TIMEOUT 60

/* A number in eight bytes. number() does not use ivs_v0_put(), which is under test. */
struct number {
	uint8_t bytes[IVS_V0_LEN];
};

static struct number number(int64_t value)
{
	struct number n;

	for (int i = 0; i < IVS_V0_LEN; i++)
		n.bytes[i] = (uint8_t)((uint64_t)value >> (8 * i));
	return n;
}

/* Send one number and, unless @fd is -1, an fd, without using the code under test. */
static void raw(int sock, int64_t value, int fd)
{
	struct number n = number(value);

	test_fds_send(sock, n.bytes, sizeof(n.bytes), &fd, fd != -1);
}

/* Send a greeting with id @own and @memory through raw(), receive it, and close the received fd. */
static void greet(const int pair[2], struct ivs_v0_decoder *dec, int64_t own, int memory)
{
	struct ivs_v0_message msg;

	raw(pair[0], 0, -1);
	raw(pair[0], own, -1);
	raw(pair[0], -1, memory);
	cr_assert_eq(ivs_socket_recv_message(pair[1], dec, &msg, NULL), 0);
	cr_assert_eq(msg.type, IVS_V0_VERSION);
	cr_assert_eq(ivs_socket_recv_message(pair[1], dec, &msg, NULL), 0);
	cr_assert_eq(msg.type, IVS_V0_ID);
	cr_assert_eq(msg.id, own);
	cr_assert_eq(msg.fd, -1);
	cr_assert_eq(ivs_socket_recv_message(pair[1], dec, &msg, NULL), 0);
	cr_assert_eq(msg.type, IVS_V0_MEMORY);
	cr_assert(test_fds_same(msg.fd, memory));
	close(msg.fd);
}

static void expect_message(int sock, struct ivs_v0_decoder *dec, enum ivs_v0_type type,
			   unsigned int id, int fd)
{
	struct ivs_v0_message msg;

	memset(&msg, 0x55, sizeof(msg));
	cr_assert_eq(ivs_socket_recv_message(sock, dec, &msg, NULL), 0);
	cr_assert_eq(msg.type, type);
	cr_assert_eq(msg.id, id);
	cr_assert_eq(msg.vector, 0, "the vector is not sent");
	if (fd == -1) {
		cr_assert_eq(msg.fd, -1);
		return;
	}
	cr_assert(test_fds_same(msg.fd, fd), "a different file arrived");
	cr_assert(test_fds_cloexec(msg.fd));
	close(msg.fd);
}

Test(socket, end_to_end, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open(), sent;
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	int pair[2], fds[3] = {test_fds_make(), test_fds_make(), test_fds_make()};
	const struct ivs_v0_message msgs[] = {
		{IVS_V0_VERSION, 0, 0, -1},    {IVS_V0_ID, 5, 0, -1},
		{IVS_V0_MEMORY, 0, 0, fds[0]}, {IVS_V0_VECTOR, 65535, 0, fds[1]},
		{IVS_V0_VECTOR, 5, 0, fds[2]}, {IVS_V0_LEAVE, 65535, 0, -1},
		{IVS_V0_LEAVE, 2, 0, -1},      {IVS_V0_VECTOR, 0, 0, fds[1]},
		{IVS_V0_VECTOR, 0, 1, fds[2]}, {IVS_V0_LEAVE, 0, 0, -1},
	};
	const unsigned int msgs_n = sizeof(msgs) / sizeof(msgs[0]);
	struct ivs_v0_message msg;

	test_fds_pair(pair);
	cr_assert_eq(ivs_socket_send(pair[0], msgs, msgs_n, &sent), 0);
	cr_assert_eq(sent, msgs_n);
	for (unsigned int i = 0; i < msgs_n; i++)
		expect_message(pair[1], &dec, msgs[i].type, msgs[i].id, msgs[i].fd);
	cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL), IVS_SOCKET_E_AGAIN);
	cr_assert_eq(ivs_v0_release(&dec), -1);
	for (int i = 0; i < 3; i++) {
		cr_assert(test_fds_same(fds[i], fds[i]), "the sender's fds stay open");
		close(fds[i]);
	}
	close(pair[0]);
	close(pair[1]);
	cr_assert_eq(test_fds_open(), before);
}

Test(socket, sends_exactly_the_bytes, .timeout = TIMEOUT)
{
	unsigned int sent = 99;
	int pair[2], fd = test_fds_make();
	const struct ivs_v0_message msgs[] = {
		{IVS_V0_ID, 0x1234, 0, -1},
		{IVS_V0_MEMORY, 0, 0, fd},
		{IVS_V0_VECTOR, 65535, 9, fd},
	};
	static const uint8_t want[] = {0x34, 0x12, 0,	 0,    0,    0,	   0,	 0,
				       0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
				       0xff, 0xff, 0,	 0,    0,    0,	   0,	 0};
	uint8_t got[sizeof(want) + 1];

	test_fds_pair(pair);
	cr_assert_eq(ivs_socket_send(pair[0], msgs, 3, &sent), 0);
	cr_assert_eq(sent, 3);
	/* read() discards fds and does not continue past a message with an fd, so repeat it. */
	for (size_t have = 0; have < sizeof(want);) {
		ssize_t n = read(pair[1], got + have, sizeof(got) - have);

		cr_assert_gt(n, 0);
		have += (size_t)n;
	}
	cr_assert_arr_eq(got, want, sizeof(want));
	cr_assert_eq(recv(pair[1], got, 1, MSG_DONTWAIT), -1, "more bytes have arrived");
}

Test(socket, largest_batch_of_fds, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open(), sent;
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msgs[IVS_SOCKET_BATCH];
	int pair[2], fds[IVS_SOCKET_BATCH];

	test_fds_pair(pair);
	for (unsigned int i = 0; i < IVS_SOCKET_BATCH; i++) {
		fds[i] = test_fds_make();
		msgs[i] = (struct ivs_v0_message){IVS_V0_VECTOR, i / 3, i % 3, fds[i]};
	}
	greet(pair, &dec, 40, fds[0]);
	cr_assert_eq(ivs_socket_send(pair[0], msgs, IVS_SOCKET_BATCH, &sent), 0);
	cr_assert_eq(sent, IVS_SOCKET_BATCH);
	for (unsigned int i = 0; i < IVS_SOCKET_BATCH; i++) {
		expect_message(pair[1], &dec, IVS_V0_VECTOR, i / 3, fds[i]);
		close(fds[i]);
	}
	close(pair[0]);
	close(pair[1]);
	cr_assert_eq(test_fds_open(), before);
}

/* Send ids @from to @total - 1, as vectors or leaves, until the socket is full. Return: the number
 * of messages sent. */
static unsigned int fill(int sock, unsigned int from, unsigned int total, int fd)
{
	unsigned int done = from;

	while (done < total) {
		struct ivs_v0_message msgs[IVS_SOCKET_BATCH];
		unsigned int n, sent = 99;
		int rc;

		for (n = 0; n < IVS_SOCKET_BATCH && done + n < total; n++) {
			/* Messages with odd ids have no fd, so each batch has both kinds. */
			msgs[n] = (struct ivs_v0_message){IVS_V0_VECTOR, done + n, 0, fd};
			if ((done + n) % 2) {
				msgs[n].type = IVS_V0_LEAVE;
				msgs[n].fd = -1;
			}
		}
		rc = ivs_socket_send(sock, msgs, n, &sent);
		cr_assert_leq(sent, n);
		done += sent;
		if (rc == IVS_SOCKET_E_AGAIN) {
			cr_assert_lt(sent, n, "AGAIN, although everything was sent");
			return done - from;
		}
		cr_assert_eq(rc, 0);
		cr_assert_eq(sent, n);
	}
	return done - from;
}

Test(socket, full_then_resumed, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open(), done, received = 0, sent = 99;
	const unsigned int total = 1000;
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	int pair[2], fd = test_fds_make(), size = 8192;
	struct ivs_v0_message one = {IVS_V0_VECTOR, 1, 0, fd};

	test_fds_pair(pair);
	cr_assert_eq(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)), 0);
	greet(pair, &dec, 65535, fd);
	done = fill(pair[0], 0, total, fd);
	cr_assert_lt(done, 100, "the send buffer must limit the messages");
	cr_assert_gt(done, 3, "the greeting must fit");
	cr_assert_eq(ivs_socket_send(pair[0], &one, 1, &sent), IVS_SOCKET_E_AGAIN, "still full");
	cr_assert_eq(sent, 0);
	while (received < total) {
		for (unsigned int i = 0; i < 7 && received < done; i++, received++)
			expect_message(pair[1], &dec, received % 2 ? IVS_V0_LEAVE : IVS_V0_VECTOR,
				       received, received % 2 ? -1 : fd);
		done += fill(pair[0], done, total, fd);
	}
	cr_assert_eq(done, total);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	cr_assert_eq(test_fds_open(), before);
}

Test(socket, send_to_a_closed_peer_is_gone, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open(), sent = 99;
	int pair[2], fd = test_fds_make();
	struct ivs_v0_message msgs[] = {{IVS_V0_VERSION, 0, 0, -1}, {IVS_V0_MEMORY, 0, 0, fd}};

	test_fds_pair(pair);
	close(pair[1]);
	/* If sending raised SIGPIPE, it would kill this process. */
	cr_assert_eq(ivs_socket_send(pair[0], msgs, 1, &sent), IVS_SOCKET_E_GONE);
	cr_assert_eq(sent, 0);
	sent = 99;
	cr_assert_eq(ivs_socket_send(pair[0], msgs + 1, 1, &sent), IVS_SOCKET_E_GONE);
	cr_assert_eq(sent, 0);
	close(fd);
	close(pair[0]);
	cr_assert_eq(test_fds_open(), before);
}

Test(socket, send_to_a_peer_that_closed_with_unread_messages_is_gone, .timeout = TIMEOUT)
{
	unsigned int sent;
	int pair[2];
	struct ivs_v0_message msgs[] = {{IVS_V0_VERSION, 0, 0, -1}, {IVS_V0_ID, 0, 0, -1}};

	test_fds_pair(pair);
	cr_assert_eq(ivs_socket_send(pair[0], msgs, 2, &sent), 0);
	close(pair[1]); /* the next send fails with ECONNRESET, later ones with EPIPE */
	cr_assert_eq(ivs_socket_send(pair[0], msgs, 2, &sent), IVS_SOCKET_E_GONE);
	cr_assert_eq(sent, 0);
	cr_assert_eq(ivs_socket_send(pair[0], msgs, 2, &sent), IVS_SOCKET_E_GONE);
	cr_assert_eq(sent, 0);
}

Test(socket, receive_from_a_closed_peer_is_gone, .timeout = TIMEOUT)
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg;
	uint8_t buf[8];
	size_t got = 99;
	int pair[2], fd = 99;

	test_fds_pair(pair);
	raw(pair[0], 0, -1);
	close(pair[0]);
	expect_message(pair[1], &dec, IVS_V0_VERSION, 0, -1);
	cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL), IVS_SOCKET_E_GONE);
	cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL), IVS_SOCKET_E_GONE);
	cr_assert_eq(ivs_socket_recv_bytes(pair[1], buf, sizeof(buf), &got, &fd, NULL),
		     IVS_SOCKET_E_GONE);
	cr_assert_str_eq(ivs_v0_why(&dec), "");
}

Test(socket, receive_after_reset_is_gone, .timeout = TIMEOUT)
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg;
	int pair[2];

	test_fds_pair(pair);
	raw(pair[1], 0, -1); /* closing a socket with unread data resets the connection */
	close(pair[0]);
	cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL), IVS_SOCKET_E_GONE);
	cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL), IVS_SOCKET_E_GONE);
}

Test(socket, closed_within_a_message_keeps_the_fd, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open();
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg;
	struct number n = number(3);
	int pair[2], fd = test_fds_make(), held;

	test_fds_pair(pair);
	greet(pair, &dec, 1, fd);
	test_fds_send(pair[0], n.bytes, 5, &fd, 1);
	close(pair[0]);
	cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL), IVS_SOCKET_E_GONE);
	held = ivs_v0_release(&dec);
	cr_assert(test_fds_same(held, fd));
	cr_assert(test_fds_cloexec(held));
	close(held);
	close(fd);
	close(pair[1]);
	cr_assert_eq(test_fds_open(), before);
}

Test(socket, byte_by_byte_with_the_fd_kept, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open();
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg;
	int pair[2], fds[2] = {test_fds_make(), test_fds_make()};

	test_fds_pair(pair);
	greet(pair, &dec, 1, fds[0]);
	for (int64_t id = 2; id < 40; id++) {
		struct number n = number(id);
		int fd = fds[id % 2];

		for (size_t i = 0; i < 7; i++) {
			test_fds_send(pair[0], n.bytes + i, 1, &fd, i == 0);
			cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL),
				     IVS_SOCKET_E_AGAIN);
		}
		test_fds_send(pair[0], n.bytes + 7, 1, NULL, 0);
		expect_message(pair[1], &dec, IVS_V0_VECTOR, (unsigned int)id, fd);
	}
	for (int i = 0; i < 2; i++) {
		close(pair[i]);
		close(fds[i]);
	}
	cr_assert_eq(test_fds_open(), before);
}

Test(socket, pieces_glued_by_the_kernel, .timeout = TIMEOUT)
{
	/* The kernel may return bytes sent without an fd together with those of a later message
	 * that has one. */
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	int pair[2], fds[2] = {test_fds_make(), test_fds_make()};
	struct number a = number(3), b = number(4);

	test_fds_pair(pair);
	greet(pair, &dec, 1, fds[0]);
	raw(pair[0], 9, -1);
	raw(pair[0], 8, -1);
	test_fds_send(pair[0], a.bytes, 1, &fds[0], 1);
	test_fds_send(pair[0], a.bytes + 1, 7, NULL, 0);
	test_fds_send(pair[0], b.bytes, 8, &fds[1], 1);
	raw(pair[0], 3, -1);
	raw(pair[0], 1, fds[0]);
	expect_message(pair[1], &dec, IVS_V0_LEAVE, 9, -1);
	expect_message(pair[1], &dec, IVS_V0_LEAVE, 8, -1);
	expect_message(pair[1], &dec, IVS_V0_VECTOR, 3, fds[0]);
	expect_message(pair[1], &dec, IVS_V0_VECTOR, 4, fds[1]);
	expect_message(pair[1], &dec, IVS_V0_LEAVE, 3, -1);
	expect_message(pair[1], &dec, IVS_V0_VECTOR, 1, fds[0]);
}

Test(socket, recv_hands_out_pieces, .timeout = TIMEOUT)
{
	struct number n = number(0x0807060504030201);
	uint8_t buf[16];
	size_t got;
	int pair[2], fd = test_fds_make(), came = 99;

	test_fds_pair(pair);
	cr_assert_eq(ivs_socket_recv_bytes(pair[1], buf, 8, &got, &came, NULL), IVS_SOCKET_E_AGAIN);
	test_fds_send(pair[0], n.bytes, 8, &fd, 1);
	cr_assert_eq(ivs_socket_recv_bytes(pair[1], buf, 3, &got, &came, NULL), 0);
	cr_assert_eq(got, 3);
	cr_assert(test_fds_same(came, fd));
	cr_assert(test_fds_cloexec(came));
	cr_assert_eq(ivs_socket_recv_bytes(pair[1], buf + 3, 13, &got, &came, NULL), 0);
	cr_assert_eq(got, 5);
	cr_assert_eq(came, -1);
	cr_assert_arr_eq(buf, n.bytes, 8);
}

/* Both receiving functions must refuse a message with @fds_n fds and close all the fds. */
static void several_fds(size_t fds_n)
{
	unsigned int before = test_fds_open();
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg;
	struct number n = number(3);
	uint8_t buf[8];
	size_t got;
	int pair[2], fds[253], came = -1;

	test_fds_pair(pair);
	for (size_t i = 0; i < fds_n; i++)
		fds[i] = test_fds_make();
	greet(pair, &dec, 1, fds[0]);
	test_fds_send(pair[0], n.bytes, 8, fds, fds_n);
	test_fds_send(pair[0], n.bytes, 8, fds, fds_n);
	cr_expect_eq(ivs_socket_recv_bytes(pair[1], buf, 8, &got, &came, NULL), IVS_SOCKET_E_FDS,
		     "%zu fds", fds_n);
	cr_expect_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL), IVS_SOCKET_E_FDS,
		     "%zu fds", fds_n);
	cr_assert_eq(ivs_v0_release(&dec), -1);
	cr_assert_eq(test_fds_open(), before + fds_n + 2, "%zu fds: leaked", fds_n);
	for (size_t i = 0; i < fds_n; i++)
		close(fds[i]);
	close(pair[0]);
	close(pair[1]);
	cr_assert_eq(test_fds_open(), before);
}

/* PROTOCOL.md, W-2 */
Test(socket, two_fds_with_one_message, .timeout = TIMEOUT)
{
	several_fds(2); /* due to padding, CMSG_SPACE(sizeof(int)) has room for two fds */
}

Test(socket, many_fds_with_one_message, .timeout = TIMEOUT)
{
	several_fds(3);
	several_fds(4);
	several_fds(253);
}

Test(socket, fd_in_the_middle_of_a_message_is_garbage, .timeout = TIMEOUT)
{
	for (int first = 0; first < 2; first++) {
		unsigned int before = test_fds_open();
		struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
		struct ivs_v0_message msg;
		struct number n = number(3);
		int pair[2], fd = test_fds_make(), held;

		test_fds_pair(pair);
		greet(pair, &dec, 1, fd);
		test_fds_send(pair[0], n.bytes, 4, &fd, (size_t)first);
		cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL),
			     IVS_SOCKET_E_AGAIN);
		test_fds_send(pair[0], n.bytes + 4, 4, &fd, 1);
		cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL),
			     IVS_SOCKET_E_GARBAGE);
		cr_assert_str_not_empty(ivs_v0_why(&dec));
		held = ivs_v0_release(&dec);
		if (held != -1)
			close(held);
		cr_assert_eq(test_fds_open(), before + 3, "first fd %d", first);
		close(fd);
		close(pair[0]);
		close(pair[1]);
		cr_assert_eq(test_fds_open(), before);
	}
}

Test(socket, garbage_is_reported_and_leaks_nothing, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open();
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg;
	int pair[2], fd = test_fds_make(), held;

	test_fds_pair(pair);
	greet(pair, &dec, 1, fd);
	raw(pair[0], 65536, fd);
	raw(pair[0], 2, fd);
	raw(pair[0], 3, fd);
	for (int i = 0; i < 3; i++)
		cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL),
			     IVS_SOCKET_E_GARBAGE);
	cr_assert_str_not_empty(ivs_v0_why(&dec));
	held = ivs_v0_release(&dec);
	if (held != -1)
		close(held);
	cr_assert_eq(test_fds_open(), before + 3);
	close(fd);
	close(pair[0]);
	close(pair[1]);
	cr_assert_eq(test_fds_open(), before);
}

/* PROTOCOL.md, W-14 */
Test(socket, receiver_out_of_fds_is_truncated, .timeout = TIMEOUT)
{
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg;
	unsigned int open;
	uint8_t buf[8];
	size_t got;
	int pair[2], fd = test_fds_make(), came = -1;

	test_fds_pair(pair);
	greet(pair, &dec, 1, fd);
	raw(pair[0], 2, fd);
	raw(pair[0], 4, fd);
	raw(pair[0], 3, -1);
	open = test_fds_open();
	test_fds_exhaust(0);
	/* Without the lost fd, this message would mean that peer 2 has left. */
	cr_assert_eq(ivs_socket_recv_message(pair[1], &dec, &msg, NULL), IVS_SOCKET_E_TRUNCATED);
	cr_assert_eq(ivs_socket_recv_bytes(pair[1], buf, 8, &got, &came, NULL),
		     IVS_SOCKET_E_TRUNCATED);
	cr_assert_eq(ivs_v0_release(&dec), -1);
	close(fd); /* leaves room for opendir() */
	cr_assert_geq(test_fds_open() + 1, open);
}

Test(socket, receiver_out_of_fds_half_way, .timeout = TIMEOUT)
{
	/* Two fds are sent, but the process can receive only one, which must be closed. */
	struct number n = number(3);
	unsigned int before;
	uint8_t buf[8];
	size_t got;
	int pair[2], fds[2] = {test_fds_make(), test_fds_make()}, came = -1, rc;

	test_fds_pair(pair);
	test_fds_send(pair[0], n.bytes, 8, fds, 2);
	test_fds_exhaust(1);
	before = test_fds_open();
	rc = ivs_socket_recv_bytes(pair[1], buf, 8, &got, &came, NULL);
	cr_assert(rc == IVS_SOCKET_E_TRUNCATED || rc == IVS_SOCKET_E_FDS, "%d", rc);
	cr_assert_eq(test_fds_open(), before);
}

/*
 * Run in an unprivileged child. The kernel limits fds in flight per user and exempts root, so use a
 * uid without other processes. Return: 0, or the number of the step that failed.
 */
static int in_flight(const int pair[2], int fd)
{
	const uid_t unused_uid = 61234 + (uid_t)getpid();
	struct rlimit limit = {.rlim_cur = 24, .rlim_max = 24};
	struct ivs_v0_message msgs[IVS_SOCKET_BATCH];
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	struct ivs_v0_message msg;
	unsigned int sent = 99, first;

	if (geteuid() == 0 && setresuid(unused_uid, unused_uid, unused_uid) != 0)
		return 1;
	if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
		return 2;
	for (unsigned int i = 0; i < IVS_SOCKET_BATCH; i++)
		msgs[i] = (struct ivs_v0_message){IVS_V0_VECTOR, i, 0, fd};
	msgs[0].type = IVS_V0_VERSION;
	msgs[0].fd = -1;
	msgs[1] = (struct ivs_v0_message){IVS_V0_ID, 200, 0, -1};
	msgs[2] = (struct ivs_v0_message){IVS_V0_MEMORY, 0, 0, fd};
	if (ivs_socket_send(pair[0], msgs, IVS_SOCKET_BATCH, &sent) != IVS_SOCKET_E_LATER)
		return 3;
	/* Two messages have no fd. The others are sent until more than 24 fds are in flight. */
	if (sent < 24 || sent > 28)
		return 4;
	first = sent;
	if (ivs_socket_send(pair[0], msgs + first, 1, &sent) != IVS_SOCKET_E_LATER || sent != 0)
		return 5;
	for (unsigned int i = 0; i < 12; i++) {
		if (ivs_socket_recv_message(pair[1], &dec, &msg, NULL) != 0)
			return 6;
		if (msg.fd != -1)
			close(msg.fd);
	}
	if (ivs_socket_send(pair[0], msgs + first, IVS_SOCKET_BATCH - first, &sent) != 0)
		return 7;
	return sent == IVS_SOCKET_BATCH - first ? 0 : 8;
}

Test(socket, too_many_fds_in_flight, .timeout = TIMEOUT)
{
	int pair[2], status = -1, fd = test_fds_make();
	pid_t child;

	test_fds_pair(pair);
	child = fork();
	if (child == 0)
		_exit(in_flight(pair, fd));
	cr_assert_gt(child, 0);
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "step %d", WEXITSTATUS(status));
}

Test(socket, an_fd_that_is_not_a_socket_is_our_fault, .timeout = TIMEOUT)
{
	struct ivs_v0_message msg = {IVS_V0_VERSION, 0, 0, -1};
	struct ivs_v0_decoder dec = IVS_V0_DECODER_INIT;
	unsigned int sent = 99;
	int fd = test_fds_make();

	cr_assert_eq(ivs_socket_send(fd, &msg, 1, &sent), -ENOTSOCK);
	cr_assert_eq(sent, 0);
	cr_assert_eq(ivs_socket_recv_message(fd, &dec, &msg, NULL), -ENOTSOCK);
	close(fd);
	cr_assert_eq(ivs_socket_send(fd, &msg, 1, &sent), -EBADF);
	cr_assert_eq(ivs_socket_recv_message(fd, &dec, &msg, NULL), -EBADF);
}
