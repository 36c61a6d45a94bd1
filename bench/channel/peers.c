/* SPDX-License-Identifier: BSD-3-Clause */
#include "peers.h"

#include <errno.h>
#include <ivshmem/region.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "process.h"

#define OVERHEAD (1 << 17) /* a section's bytes that are not in channels, at most */
#define JOIN_TRIES 10000   /* how often to try, once per millisecond, until others are there */

static struct {
	char address[128]; /* shm:ivs-bench-PID, or unix:PATH */
	unsigned int sections_n;
	struct ivs_region *region;
	pid_t server;
} own;

static struct ivs_peer *peer;

void check(const char *what, int result)
{
	if (result)
		die_because(what, ivs_channel_strerror(result));
}

static size_t size_for(size_t bytes, unsigned int sections_n)
{
	size_t size = 1 << 20;

	while (size / sections_n < bytes + OVERHEAD)
		size *= 2;
	return size;
}

void region_open(size_t bytes, unsigned int sections_n)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_error err;
	char path[100];

	own.sections_n = sections_n;
	opts.size = size_for(bytes, sections_n);
	snprintf(own.address, sizeof(own.address), "shm:ivs-bench-%d", (int)getpid());
	snprintf(path, sizeof(path), "/dev/shm/ivs-bench-%d", (int)getpid());
	names_add(path);
	if (ivs_region_open(own.address, &opts, &own.region, &err))
		die_because("region", err.text);
}

const char *region_serve(size_t bytes, unsigned int sections_n)
{
	const char *server = tool_path("tools/ivshmem-server");
	char size[32];

	if (!has_program(server))
		return "tools/ivshmem-server is not built";
	own.sections_n = sections_n;
	snprintf(size, sizeof(size), "%zuM", size_for(bytes, sections_n) >> 20);
	snprintf(own.address, sizeof(own.address), "unix:%s/server", directory());
	names_add(own.address + 5);
	own.server = process_exec((const char *const[]){server, "-F", "-S", own.address + 5, "-r",
							"memfd:", "-l", size, "-n", "1", NULL},
				  NULL);
	return NULL;
}

void region_await(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", own.address + 5);
	for (unsigned int i = 0; i < JOIN_TRIES; i++) {
		int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
		int result = connect(fd, (struct sockaddr *)&address, sizeof(address));

		close(fd);
		if (!result)
			return;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	die_because("ivshmem-server", "does not start");
}

const char *region_address(void)
{
	return own.address;
}

void region_close(void)
{
	process_end(&own.server);
	ivs_region_close(own.region);
	own.region = NULL;
	names_remove_all();
}

/* A peer can ring only peers whose joins it has received. */
static void await_peers(unsigned int peers_n)
{
	struct ivs_event event;

	while (ivs_peer_roster(peer, NULL, 0) + 1 < peers_n) {
		if (ivs_peer_next(peer, JOIN_TRIES, &event) == IVS_PEER_E_TIMEOUT)
			die_because("peer", "the others do not join");
	}
}

struct ivs_channels *channels_open(unsigned int section, unsigned int peers_n)
{
	struct ivs_peer_options one_vector = {.vectors_n = own.server ? 1 : 0};
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_channels *channels;
	struct ivs_error err;
	int result;

	for (unsigned int i = 0; i < JOIN_TRIES; i++) {
		result = ivs_peer_open(own.address, &one_vector, &peer, &err);
		if (result != IVS_PEER_E_ABSENT)
			break;
		nanosleep(&(struct timespec){0, 1000000}, NULL);
	}
	if (result)
		die_because("peer", err.text);
	if (own.server)
		await_peers(peers_n);
	else
		opts.section = section;
	opts.sections_n = own.sections_n;
	if (ivs_channels_open(peer, &opts, &channels, &err))
		die_because("channels", err.text);
	return channels;
}

void channels_close(struct ivs_channels *channels)
{
	ivs_channels_close(channels);
	ivs_peer_close(peer);
}
