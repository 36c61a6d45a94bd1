/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "load.h"

#define BACKLOG 64

static void echo(int fd)
{
	static char bytes[65536];
	ssize_t n;

	while ((n = read(fd, bytes, sizeof(bytes))) > 0) {
		for (ssize_t at = 0; at < n;) {
			ssize_t written = write(fd, bytes + at, (size_t)(n - at));

			if (written < 0)
				return;
			at += written;
		}
	}
}

int echo_run(uint16_t port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	signal(SIGCHLD, SIG_IGN);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) ||
	    listen(fd, BACKLOG)) {
		perror("channel-load: cannot listen");
		return 1;
	}
	printf("listening\n");
	for (;;) {
		int accepted = accept(fd, NULL, NULL);

		if (accepted < 0) {
			perror("channel-load: cannot accept");
			return 1;
		}
		if (!fork()) {
			close(fd);
			echo(accepted);
			_exit(0);
		}
		close(accepted);
	}
}
