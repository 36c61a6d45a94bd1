/* SPDX-License-Identifier: BSD-3-Clause */
#include "storm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/fd.h"

#define PATH_LEN 108

static void storm_fail(struct bench_storm *storm, const char *what)
{
	if (!storm->why[0])
		snprintf(storm->why, sizeof(storm->why), "%s", what);
}

void bench_remove_files(const char *dir)
{
	DIR *list = opendir(dir);

	if (!list)
		return;
	for (struct dirent *entry = readdir(list); entry; entry = readdir(list)) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			unlinkat(dirfd(list), entry->d_name, 0);
	}
	closedir(list);
}

/* Let one client join and leave first, so that the server's code and data are in memory. */
static bool server_probe(const char *path, unsigned int vectors_n, struct bench_storm *out)
{
	struct bench_clients *one = bench_clients_new(1, 1, vectors_n);
	bool fine = false;

	if (!one) {
		storm_fail(out, "no memory or file descriptors for the clients");
		return false;
	}
	fine = bench_clients_connect(one, path) && bench_clients_read(one);
	if (!fine)
		storm_fail(out, bench_clients_why(one));
	bench_clients_free(one);
	return fine;
}

/* Connect clients that never read. Return: the clients' sockets, or NULL on an error. */
static int *connect_stalled(const char *path, unsigned int stalled_n, struct bench_storm *out)
{
	int *socks = calloc(stalled_n + 1, sizeof(*socks));

	for (unsigned int i = 0; socks && i < stalled_n; i++) {
		socks[i] = bench_connect(path);
		if (socks[i] < 0)
			storm_fail(out, "a stalled client cannot connect");
	}
	return socks;
}

static void close_stalled(int *socks, unsigned int stalled_n)
{
	for (unsigned int i = 0; socks && i < stalled_n; i++)
		ivs_fd_close(&socks[i]);
	free(socks);
}

static bool measure_join(struct bench_clients *clients, const char *path, struct bench_part *part)
{
	int64_t since = ivs_clock_ns();
	bool fine = bench_clients_connect(clients, path) && bench_clients_read(clients);

	part->wall_ns = ivs_clock_ns() - since;
	part->messages_n = bench_clients_messages(clients);
	return fine;
}

static bool measure_leave(struct bench_clients *clients, struct bench_part *part)
{
	uint64_t before = bench_clients_messages(clients);
	int64_t since = ivs_clock_ns();
	bool fine;

	bench_clients_leave(clients);
	fine = bench_clients_read(clients);
	part->wall_ns = ivs_clock_ns() - since;
	part->messages_n = bench_clients_messages(clients) - before;
	return fine;
}

/*
 * Run a storm and measure the sender's CPU time. Read that time only when the sender is idle, so
 * that it includes the work after the last message.
 */
static bool run_storm(const struct bench_sender *sender, struct bench_clients *clients,
		      const char *path, struct bench_storm *out)
{
	int64_t cpu;
	bool fine;

	bench_sender_settle(sender);
	cpu = bench_sender_cpu(sender);
	fine = measure_join(clients, path, &out->join);
	out->latency = bench_clients_latency(clients);
	if (!fine)
		return false;
	bench_sender_settle(sender);
	out->join.cpu_ns = bench_sender_cpu(sender) - cpu;

	cpu = bench_sender_cpu(sender);
	if (!measure_leave(clients, &out->leave))
		return false;
	bench_sender_settle(sender);
	out->leave.cpu_ns = bench_sender_cpu(sender) - cpu;
	return true;
}

void bench_storm_server(const struct bench_server *server, const struct bench_shape *shape,
			struct bench_storm *out)
{
	struct bench_clients *clients = bench_clients_new(
		shape->clients_n, shape->clients_n + shape->stalled_n, shape->vectors_n);
	struct bench_sender sender = {.pid = -1};
	char how[BENCH_WHY_LEN] = "";
	char path[PATH_LEN];
	int *stalled = NULL;

	*out = (struct bench_storm){.rss_kib = -1, .idle_kib = -1};
	snprintf(path, sizeof(path), "%s/sock", server->dir);
	bench_remove_files(server->dir);
	if (!clients)
		storm_fail(out, "no memory or file descriptors for the clients");
	else if (bench_sender_start(server, shape->vectors_n, &sender))
		storm_fail(out, "the server cannot be started");
	else if (server_probe(path, shape->vectors_n, out)) {
		bench_sender_settle(&sender);
		out->idle_kib = bench_sender_rss_kib(&sender);
		stalled = connect_stalled(path, shape->stalled_n, out);
		if (!out->why[0] && !run_storm(&sender, clients, path, out))
			storm_fail(out, bench_clients_why(clients));
		out->rss_kib = bench_sender_rss_kib(&sender);
	}
	if (out->why[0])
		bench_sender_settle(&sender); /* the server may be about to exit */
	bench_sender_stop(&sender, how, sizeof(how));
	if (how[0]) {
		char what[BENCH_WHY_LEN];

		snprintf(what, sizeof(what), "%.199s", out->why);
		snprintf(out->why, sizeof(out->why), "%s%s%s", how, what[0] ? ": " : "", what);
	}
	close_stalled(stalled, shape->stalled_n);
	bench_clients_free(clients);
	bench_remove_files(server->dir);
}

static bool run_floor(struct bench_floor *floor, struct bench_clients *clients, const char *path,
		      struct bench_storm *out)
{
	struct bench_floor_cost cost = {0};

	if (!measure_join(clients, path, &out->join)) {
		storm_fail(out, bench_clients_why(clients));
		return false;
	}
	if (bench_floor_leave(floor)) {
		storm_fail(out, "the floor process has ended");
		return false;
	}
	if (!measure_leave(clients, &out->leave)) {
		storm_fail(out, bench_clients_why(clients));
		return false;
	}
	if (bench_floor_cost(floor, &cost)) {
		storm_fail(out, "the floor process did not report its cost");
		return false;
	}
	out->join.cpu_ns = cost.join_ns;
	out->leave.cpu_ns = cost.leave_ns;
	out->accept_ns = cost.accept_ns;
	out->close_ns = cost.close_ns;
	return true;
}

void bench_storm_floor(const char *dir, const struct bench_shape *shape, unsigned int batch,
		       struct bench_storm *out)
{
	struct bench_clients *clients = bench_clients_new(shape->clients_n, shape->clients_n,
							  shape->vectors_n);
	struct bench_floor floor;
	char path[PATH_LEN];
	int result;

	*out = (struct bench_storm){.rss_kib = -1, .idle_kib = -1};
	snprintf(path, sizeof(path), "%s/floor", dir);
	if (!clients) {
		storm_fail(out, "no memory or file descriptors for the clients");
		return;
	}
	result = bench_floor_start(path, shape->clients_n, shape->vectors_n, batch, &floor);
	if (result) {
		storm_fail(out, "the floor cannot be started");
	} else {
		run_floor(&floor, clients, path, out);
		bench_floor_stop(&floor);
	}
	bench_clients_free(clients);
	bench_remove_files(dir);
}
