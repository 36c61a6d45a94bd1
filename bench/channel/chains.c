/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Bulk transfers from one socket to another: TCP through two processes of "ivshmem forward", and
 * what programs would use instead: socat from one AF_UNIX socket to another, and two processes of
 * socat that pass on TCP over an AF_UNIX socket. None of the processes is pinned.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "measure.h"
#include "peers.h"
#include "process.h"
#include "results.h"

#define BYTES (INT64_C(256) << 20)
#define BYTES_MIN (INT64_C(4) << 20)
#define BLOCK_LEN (128 << 10)
#define SOCAT_BLOCK "131072"	/* its default, 8192, makes it slower */
#define REGION_BYTES (16 << 20) /* of a section */
#define CONNECTIONS "4"		/* fewer connections have larger buffers */
#define TRIES 10000 /* how often to try, once per millisecond, until a program listens */

/** struct end - a socket at one end of a chain: a path, or a port of 127.0.0.1 */
struct end {
	char path[100];
	unsigned int port;
};

static void sleep_ms(void)
{
	nanosleep(&(struct timespec){0, 1000000}, NULL);
}

static socklen_t address_of(const struct end *end, struct sockaddr_storage *out)
{
	struct sockaddr_un *local = (struct sockaddr_un *)out;
	struct sockaddr_in *inet = (struct sockaddr_in *)out;

	memset(out, 0, sizeof(*out));
	if (end->path[0]) {
		local->sun_family = AF_UNIX;
		memcpy(local->sun_path, end->path, strlen(end->path) + 1);
		return sizeof(*local);
	}
	inet->sin_family = AF_INET;
	inet->sin_port = htons((uint16_t)end->port);
	inet->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return sizeof(*inet);
}

static int new_socket(const struct end *end)
{
	int fd = socket(end->path[0] ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	return fd;
}

/* Port 0 is replaced by a free one. */
static int listen_at(struct end *end)
{
	struct sockaddr_storage address;
	socklen_t len = address_of(end, &address);
	int fd = new_socket(end);

	if (end->path[0])
		names_add(end->path);
	if (bind(fd, (struct sockaddr *)&address, len) || listen(fd, 1) ||
	    getsockname(fd, (struct sockaddr *)&address, &len))
		die("listen");
	if (!end->path[0])
		end->port = ntohs(((struct sockaddr_in *)&address)->sin_port);
	return fd;
}

static int connect_to(const struct end *end)
{
	struct sockaddr_storage address;
	socklen_t len = address_of(end, &address);

	for (unsigned int i = 0; i < TRIES; i++) {
		int fd = new_socket(end);

		if (!connect(fd, (struct sockaddr *)&address, len))
			return fd;
		close(fd);
		sleep_ms();
	}
	die("connect");
}

static void name_path(struct end *end, const char *name)
{
	snprintf(end->path, sizeof(end->path), "%.80s/%s", directory(), name);
}

/* A port that was free a moment ago. */
static void choose_port(struct end *end)
{
	*end = (struct end){0};
	close(listen_at(end));
}

static uint8_t *new_block(void)
{
	uint8_t *block = malloc(BLOCK_LEN);

	if (!block)
		die("malloc");
	memset(block, 1, BLOCK_LEN);
	return block;
}

static pid_t start_source(const struct end *end, int64_t bytes)
{
	pid_t pid = process_fork();
	uint8_t *block;
	int fd;

	if (pid)
		return pid;
	block = new_block();
	fd = connect_to(end);
	while (bytes) {
		ssize_t n = write(fd, block, bytes < BLOCK_LEN ? (size_t)bytes : BLOCK_LEN);

		if (n <= 0)
			die("write");
		bytes -= n;
	}
	shutdown(fd, SHUT_WR);
	(void)!read(fd, block, 1); /* until the other end has closed it */
	_exit(0);
}

/* The time counts from the first bytes that arrive, so without that of connecting. */
static pid_t start_sink(int listener, int64_t bytes, double *mb)
{
	pid_t pid = process_fork();
	int64_t began_ns = 0, got = 0, first = 0;
	uint8_t *block;
	ssize_t n;
	int fd;

	if (pid)
		return pid;
	block = new_block();
	fd = accept(listener, NULL, NULL);
	if (fd < 0)
		die("accept");
	while ((n = read(fd, block, BLOCK_LEN)) > 0) {
		got += n;
		if (began_ns)
			continue;
		began_ns = now_ns();
		first = n;
	}
	if (got != bytes)
		die_because("chain", "bytes are missing");
	*mb = (double)(got - first) * 1e3 / (double)(now_ns() - began_ns);
	_exit(0);
}

static pid_t run_forward(const char *what, const char *socket, const char *option, const char *name)
{
	return process_exec((const char *const[]){tool_path("tools/ivshmem"), "forward",
						  region_address(), "-m", CONNECTIONS, what, socket,
						  option, name, NULL},
			    NULL);
}

static const char *start_forward(struct end *in, const struct end *out, pid_t *programs)
{
	char address[64];
	const char *absent;

	if (!has_program(tool_path("tools/ivshmem")))
		return "tools/ivshmem is not built";
	absent = region_serve(REGION_BYTES, 2);
	if (absent)
		return absent;
	region_await();
	choose_port(in);
	snprintf(address, sizeof(address), "bulk=tcp:127.0.0.1:%u", out->port);
	programs[0] = run_forward("--serve", address, NULL, NULL);
	snprintf(address, sizeof(address), "tcp:127.0.0.1:%u", in->port);
	programs[1] = run_forward("--listen", address, "--to", "bulk");
	return NULL;
}

static pid_t run_socat(const char *from, const char *to)
{
	return process_exec((const char *const[]){"socat", "-b", SOCAT_BLOCK, from, to, NULL},
			    NULL);
}

static const char *start_socat(struct end *in, const struct end *out, pid_t *programs)
{
	char from[128], to[128];

	name_path(in, "in");
	names_add(in->path);
	snprintf(from, sizeof(from), "UNIX-LISTEN:%s", in->path);
	snprintf(to, sizeof(to), "UNIX-CONNECT:%s", out->path);
	programs[0] = run_socat(from, to);
	return NULL;
}

static const char *start_socat_tcp(struct end *in, const struct end *out, pid_t *programs)
{
	char from[128], to[128];

	choose_port(in);
	snprintf(from, sizeof(from), "TCP4-LISTEN:%u,bind=127.0.0.1,reuseaddr", in->port);
	snprintf(to, sizeof(to), "TCP4:127.0.0.1:%u", out->port);
	programs[0] = run_socat(from, to);
	return NULL;
}

static const char *start_socats(struct end *in, const struct end *out, pid_t *programs)
{
	char from[128], to[128];
	struct end middle;

	name_path(&middle, "middle");
	names_add(middle.path);
	snprintf(from, sizeof(from), "UNIX-LISTEN:%s", middle.path);
	snprintf(to, sizeof(to), "TCP4:127.0.0.1:%u", out->port);
	programs[0] = run_socat(from, to);
	for (unsigned int i = 0; i < TRIES && access(middle.path, F_OK); i++)
		sleep_ms();
	choose_port(in);
	snprintf(from, sizeof(from), "TCP4-LISTEN:%u,bind=127.0.0.1,reuseaddr", in->port);
	snprintf(to, sizeof(to), "UNIX-CONNECT:%s", middle.path);
	programs[1] = run_socat(from, to);
	return NULL;
}

static void run(enum chain chain, unsigned int round, int64_t bytes)
{
	struct end in = {0}, out = {0};
	pid_t programs[2] = {0}, pids[2];
	double *mb = shared_memory(sizeof(*mb));
	int listener;

	if (chain == CHAIN_SOCAT)
		name_path(&out, "out");
	listener = listen_at(&out);
	if (chain == CHAIN_FORWARD)
		results.chain_absent[chain] = start_forward(&in, &out, programs);
	else if (chain == CHAIN_SOCAT)
		results.chain_absent[chain] = start_socat(&in, &out, programs);
	else if (chain == CHAIN_SOCAT_TCP)
		results.chain_absent[chain] = start_socat_tcp(&in, &out, programs);
	else
		results.chain_absent[chain] = start_socats(&in, &out, programs);
	if (!results.chain_absent[chain]) {
		pids[0] = start_sink(listener, bytes, mb);
		pids[1] = start_source(&in, bytes);
		if (processes_await(pids, 2))
			results.chain_mb[chain][round] = *mb;
		else
			results.chain_absent[chain] = "its processes failed";
	}
	for (unsigned int i = 0; i < 2; i++)
		process_end(&programs[i]);
	if (chain == CHAIN_FORWARD)
		region_close();
	close(listener);
	names_remove_all();
	munmap(mb, sizeof(*mb));
}

void measure_chains(unsigned int round, const struct amount *amount)
{
	int64_t bytes = BYTES / amount->divisor;

	for (enum chain chain = 0; chain < CHAINS_N; chain++) {
		if (chain != CHAIN_FORWARD && !has_program("socat"))
			results.chain_absent[chain] = "not installed: apt install socat";
		if (!results.chain_absent[chain])
			run(chain, round, bytes < BYTES_MIN ? BYTES_MIN : bytes);
	}
}
