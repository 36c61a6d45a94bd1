/* SPDX-License-Identifier: BSD-3-Clause */
/* Against util/discard.h: what came with fds is got rid of. Waiting shows as a timeout. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "support/fds.h"
#include "util/discard.h"

#define TIMEOUT 5
#define LINGER_S 60

/* A connected TCP socket that lingers, with data that nobody takes. @other: its other end */
static int make_lingering(int *other)
{
	const struct linger linger = {1, LINGER_S};
	struct sockaddr_in addr = {.sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	int sock = socket(AF_INET, SOCK_STREAM, 0);
	char bytes[4096] = {0};

	cr_assert_eq(bind(listener, (struct sockaddr *)&addr, len), 0);
	cr_assert_eq(listen(listener, 1), 0);
	cr_assert_eq(getsockname(listener, (struct sockaddr *)&addr, &len), 0);
	cr_assert_eq(connect(sock, (struct sockaddr *)&addr, len), 0);
	*other = accept(listener, NULL, NULL);
	cr_assert_geq(*other, 0);
	close(listener);
	cr_assert_eq(setsockopt(sock, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger)), 0);
	while (send(sock, bytes, sizeof(bytes), MSG_DONTWAIT) > 0)
		;
	return sock;
}

Test(discard, of_one_that_is_disarmed_close_does_not_wait, .timeout = TIMEOUT)
{
	int other;
	int sock = make_lingering(&other);

	ivs_fd_disarm(sock);
	close(sock);
	close(other);
	ivs_fd_disarm(-1);
	ivs_fd_disarm(STDIN_FILENO);
}

Test(discard, unread_fds_go_with_the_socket, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open();
	int pair[2];
	int other[3];

	test_fds_pair(pair);
	for (int i = 0; i < 3; i++) {
		int sock = make_lingering(&other[i]);

		test_fds_send(pair[0], "x", 1, &sock, 1);
		close(sock);
	}
	ivs_socket_discard(&pair[1]);
	cr_assert_eq(pair[1], -1);
	ivs_socket_discard(&pair[1]);
	close(pair[0]);
	for (int i = 0; i < 3; i++)
		close(other[i]);
	test_fds_check(before);
}

Test(discard, bytes_come_and_fds_do_not, .timeout = TIMEOUT)
{
	unsigned int before = test_fds_open();
	char bytes[8];
	int pair[2];
	int other;
	int sock = make_lingering(&other);

	test_fds_pair(pair);
	cr_assert_eq(ivs_socket_take(pair[1], bytes, sizeof(bytes)), -1);
	test_fds_send(pair[0], "here", 4, &sock, 1);
	close(sock);
	cr_assert_eq(ivs_socket_take(pair[1], bytes, sizeof(bytes)), 4);
	cr_assert_eq(memcmp(bytes, "here", 4), 0);
	close(pair[0]);
	cr_assert_eq(ivs_socket_take(pair[1], bytes, sizeof(bytes)), 0);
	ivs_socket_discard(&pair[1]);
	close(other);
	test_fds_check(before);
}

/* Whoever is at the other end finds the connection at its end, also if a copy of the socket stays. */
Test(discard, the_connection_ends, .timeout = TIMEOUT)
{
	int pair[2];
	int copy;
	char byte;

	test_fds_pair(pair);
	copy = dup(pair[1]);
	ivs_socket_discard(&pair[1]);
	cr_assert_eq(recv(pair[0], &byte, 1, 0), 0);
	close(copy);
	close(pair[0]);
}
