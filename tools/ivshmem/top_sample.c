/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Other users can start any number of processes that are named like a server. So a sample has a
 * limited time for all servers, and less for those that are slow, or have not been asked yet; those
 * that are not asked then are the first ones in the next sample. And a pass over /proc is repeated
 * at intervals that depend on what it costs.
 */
#include "tools/ivshmem/top_sample.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "tools/shared/ask.h"

#define SERVERS_MAX 256
#define ASK_LIMIT_S 2
#define SLOW_NS (IVS_NS_PER_S / 10)   /* a server that needs longer is slow */
#define SLOW_ALL_NS IVS_NS_PER_S      /* after this time, a sample asks no more slow servers */
#define SAMPLE_NS (2 * IVS_NS_PER_S)  /* the same, for quick servers */
#define SILENT_NS (30 * IVS_NS_PER_S) /* the pause after a server has not answered */
#define SCAN_NS (10 * IVS_NS_PER_S)
#define SCAN_COST 250 /* the passes over /proc may use up 1/250 of a processor */
#define GONE_MS 300000
#define STUCK_NS (15 * IVS_NS_PER_S)

static const char request[] = "{\"request\":\"status\",\"doorbells\":true}\n";

static void sampler_set_busy(struct top_sampler *sampler, const char *what)
{
	pthread_mutex_lock(&sampler->lock);
	snprintf(sampler->busy, sizeof(sampler->busy), "%s", what);
	sampler->busy_ns = ivs_clock_ns();
	pthread_mutex_unlock(&sampler->lock);
}

/* Add a server. Return: NULL if there are too many, or memory is exhausted. */
static struct top_server *model_add_server(struct top_model *model)
{
	struct top_server *servers;

	if (model->servers_n == SERVERS_MAX)
		return NULL;
	servers = reallocarray(model->servers, model->servers_n + 1, sizeof(*servers));
	if (!servers)
		return NULL;
	model->servers = servers;
	servers[model->servers_n] = (struct top_server){.rate = -1};
	return &servers[model->servers_n++];
}

/* Find the server of a process: by its control socket or, if it has none, by its other socket. */
static struct top_server *model_find_server(struct top_model *model,
					    const struct ivs_host_server *found)
{
	for (size_t i = 0; i < model->servers_n; i++) {
		struct top_server *server = &model->servers[i];

		if (*found->control || *server->control) {
			if (!strcmp(found->control, server->control))
				return server;
		} else if (*found->socket ? !strcmp(found->socket, server->socket)
					  : found->pid == server->pid) {
			return server;
		}
	}
	return NULL;
}

/* Take a server that was found, unless there are too many. Return: whether it is in the model. */
static bool model_take_server(struct top_model *model, const struct ivs_host_server *found)
{
	struct top_server *server = model_find_server(model, found);

	/* The first process is the server; the others with its arguments are its helpers. */
	if (server && server->state != TOP_NEW && server->state != TOP_GONE)
		return true;
	if (!server) {
		if (top_process_has_ended(found->pid))
			return true;
		server = model_add_server(model);
		if (!server)
			return false;
		snprintf(server->control, sizeof(server->control), "%s", found->control);
	} else if ((server->pid && server->state == TOP_NEW) || top_process_has_ended(found->pid)) {
		return true;
	}
	server->pid = found->pid;
	snprintf(server->socket, sizeof(server->socket), "%s", found->socket);
	if (*server->control)
		return true;
	server->state = TOP_NO_CONTROL;
	snprintf(server->note, sizeof(server->note),
		 "its arguments have no absolute path of a control socket: start it with --control "
		 "PATH, or use ivshmem top --control PATH");
	return true;
}

/* Examine the processes of this host. */
static void sampler_scan(struct top_sampler *sampler)
{
	int64_t cpu_ns = ivs_clock_cpu_ns();
	struct ivs_host_regions regions;
	struct ivs_host_regions before;
	int result;

	sampler_set_busy(sampler, "the processes of this host");
	result = ivs_host_regions_find(NULL, 0, &regions);
	cpu_ns = ivs_clock_cpu_ns() - cpu_ns;
	pthread_mutex_lock(&sampler->lock);
	sampler->error = -result;
	sampler->scan_ns = ivs_clock_ns() +
			   (cpu_ns * SCAN_COST > SCAN_NS ? cpu_ns * SCAN_COST : SCAN_NS);
	if (!result) {
		before = sampler->model.regions;
		sampler->model.regions = regions;
		sampler->model.left_out_n = 0;
		for (size_t i = 0; i < regions.servers_n; i++)
			sampler->model.left_out_n += !model_take_server(&sampler->model,
									&regions.servers[i]);
		ivs_host_regions_deinit(&before);
	}
	pthread_mutex_unlock(&sampler->lock);
}

/* Find the names of new peers, without the lock: the list of users may be on another machine. */
static void sampler_fill_names(struct top_sampler *sampler, struct top_server *server)
{
	for (size_t i = 0; i < server->peers_n; i++) {
		struct top_peer *peer = &server->peers[i];
		struct top_peer names = {.pid = peer->pid, .uid = peer->uid};

		if (*peer->user)
			continue;
		top_names_fill(&names);
		pthread_mutex_lock(&sampler->lock);
		memcpy(peer->program, names.program, sizeof(peer->program));
		memcpy(peer->vm, names.vm, sizeof(peer->vm));
		memcpy(peer->user, names.user, sizeof(peer->user));
		pthread_mutex_unlock(&sampler->lock);
	}
}

static void server_forget_peers(struct top_server *server)
{
	top_peers_free(server->peers, server->peers_n);
	server->peers = NULL;
	server->peers_n = 0;
	server->unread = 0;
	server->rate = -1;
	server->not_n = 0;
}

/* Note that the server could not be asked: because it has ended, or for the reason @why. */
static void server_take_failure(struct top_server *server, const char *why)
{
	bool ended = top_process_has_ended(server->pid) || (!server->pid && server->sampled_ns);

	if (ended && server->state != TOP_GONE)
		server->gone_ms = ivs_clock_wall_ms();
	server->state = ended ? TOP_GONE : TOP_FAILED;
	ivs_text_shown(why, server->note, sizeof(server->note));
	server_forget_peers(server);
}

static void sampler_ask(struct top_sampler *sampler, struct top_server *server)
{
	const struct ask ask = {server->control, "an ivshmem-server", "server", "clients",
				ASK_LIMIT_S};
	int64_t start_ns = ivs_clock_ns();
	struct ivs_error err = {0};
	struct reply reply;
	int64_t now_ns;
	int result;

	sampler_set_busy(sampler, server->control);
	result = ask_request(&ask, request, &reply, &err);
	if (!result && !json_is_array(json_object_get(reply.json, "peers")))
		result = ask_doubt(&ask, "sent an unexpected reply", &err);
	now_ns = ivs_clock_ns();
	pthread_mutex_lock(&sampler->lock);
	if (!result)
		result = top_reply_take(server, reply.json, now_ns);
	if (result < 0)
		(void)ivs_error_errno(&err, -result, "cannot ask %s", server->control);
	if (result)
		server_take_failure(server, err.text);
	else
		server->state = TOP_OK;
	server->next_ns = now_ns + (now_ns - start_ns) * sampler->ask_cost;
	if (result && now_ns - start_ns >= ASK_LIMIT_S * IVS_NS_PER_S)
		server->next_ns = now_ns + SILENT_NS;
	server->slow = now_ns - start_ns >= SLOW_NS;
	pthread_mutex_unlock(&sampler->lock);
	reply_deinit(&reply);
	if (!result)
		sampler_fill_names(sampler, server);
}

/* A server that cannot be asked: is it still there? */
static void sampler_look(struct top_sampler *sampler, struct top_server *server)
{
	if (server->state == TOP_GONE || !top_process_has_ended(server->pid))
		return;
	pthread_mutex_lock(&sampler->lock);
	server->state = TOP_GONE;
	server->gone_ms = ivs_clock_wall_ms();
	pthread_mutex_unlock(&sampler->lock);
}

static void sampler_remove_gone(struct top_sampler *sampler)
{
	struct top_model *model = &sampler->model;
	size_t kept = 0;

	pthread_mutex_lock(&sampler->lock);
	for (size_t i = 0; i < model->servers_n; i++) {
		struct top_server *server = &model->servers[i];

		if (server->state == TOP_GONE && !server->given &&
		    ivs_clock_wall_ms() - server->gone_ms > GONE_MS)
			server_forget_peers(server);
		else
			model->servers[kept++] = *server;
	}
	model->servers_n = kept;
	pthread_mutex_unlock(&sampler->lock);
}

/**
 * struct round - the servers of a sample that are being asked
 * @start_ns:  when the sample began
 * @slow_ns:   time that slow servers have needed
 * @delayed_n: number of servers that were due, but were not asked
 * @delayed:   index of the first of them
 */
struct round {
	int64_t start_ns;
	int64_t slow_ns;
	unsigned int delayed_n;
	size_t delayed;
};

/* Ask servers that are due, as far as the time suffices: those that are quick, or the others. */
static void sampler_ask_some(struct top_sampler *sampler, struct round *round, bool quick)
{
	struct top_model *model = &sampler->model;
	int64_t start_ns = ivs_clock_ns();

	for (size_t i = 0; i < model->servers_n; i++) {
		size_t at = (sampler->first + i) % model->servers_n;
		struct top_server *server = &model->servers[at];
		int64_t now_ns = ivs_clock_ns();

		if (!*server->control || round->start_ns < server->next_ns ||
		    (server->state == TOP_OK && !server->slow) != quick)
			continue;
		if (now_ns - start_ns < SAMPLE_NS && (quick || round->slow_ns < SLOW_ALL_NS)) {
			sampler_ask(sampler, server);
			if (server->slow)
				round->slow_ns += ivs_clock_ns() - now_ns;
		} else if (!round->delayed_n++) {
			round->delayed = at;
		}
	}
}

/* Other servers must not keep those that are quick from being asked: these are the first. */
static void sampler_ask_all(struct top_sampler *sampler)
{
	struct round round = {.start_ns = ivs_clock_ns()};

	for (size_t i = 0; i < sampler->model.servers_n; i++) {
		if (!*sampler->model.servers[i].control)
			sampler_look(sampler, &sampler->model.servers[i]);
	}
	sampler_ask_some(sampler, &round, true);
	sampler_ask_some(sampler, &round, false);
	sampler->first = round.delayed;
	pthread_mutex_lock(&sampler->lock);
	sampler->model.delayed_n = round.delayed_n;
	pthread_mutex_unlock(&sampler->lock);
}

static void sampler_take(struct top_sampler *sampler)
{
	if (ivs_clock_ns() >= sampler->scan_ns)
		sampler_scan(sampler);
	sampler_ask_all(sampler);
	sampler_remove_gone(sampler);
}

/* Wait for the next sample to be due. Return: when it was due. */
static int64_t sampler_pause(struct top_sampler *sampler, int64_t due_ns)
{
	const struct timespec due = {due_ns / IVS_NS_PER_S, due_ns % IVS_NS_PER_S};

	pthread_mutex_lock(&sampler->lock);
	while (!sampler->hurry && ivs_clock_ns() < due_ns)
		(void)pthread_cond_clockwait(&sampler->changed, &sampler->lock, CLOCK_MONOTONIC,
					     &due);
	if (sampler->hurry) {
		sampler->scan_ns = 0;
		due_ns = ivs_clock_ns();
	}
	sampler->hurry = false;
	pthread_mutex_unlock(&sampler->lock);
	return due_ns;
}

static void *sampler_run(void *context)
{
	struct top_sampler *sampler = context;
	int64_t due_ns = ivs_clock_ns();

	for (;;) {
		sampler_take(sampler);
		pthread_mutex_lock(&sampler->lock);
		sampler->model.samples_n++;
		sampler->model.wall_ms = ivs_clock_wall_ms();
		sampler->busy[0] = '\0';
		pthread_cond_broadcast(&sampler->changed);
		pthread_mutex_unlock(&sampler->lock);
		(void)eventfd_write(sampler->event_fd, 1);
		due_ns += (int64_t)sampler->model.interval_ms * IVS_NS_PER_MS;
		if (due_ns < ivs_clock_ns())
			due_ns = ivs_clock_ns();
		due_ns = sampler_pause(sampler, due_ns);
	}
	return NULL;
}

int top_sampler_start(struct top_sampler *sampler, unsigned int interval_ms, unsigned int ask_cost,
		      const char *const *controls, size_t n)
{
	sigset_t all;
	sigset_t before;
	int result;

	*sampler = (struct top_sampler){.lock = PTHREAD_MUTEX_INITIALIZER,
					.changed = PTHREAD_COND_INITIALIZER,
					.ask_cost = ask_cost,
					.model = {.interval_ms = interval_ms}};
	for (size_t i = 0; i < n; i++) {
		struct top_server *server = model_add_server(&sampler->model);

		if (!server)
			return -ENOMEM;
		server->given = true;
		snprintf(server->control, sizeof(server->control), "%s", controls[i]);
	}
	sampler->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (sampler->event_fd < 0)
		return -errno;
	/* Only the thread that reads keys may receive signals. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	result = pthread_create(&(pthread_t){0}, NULL, sampler_run, sampler);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -result;
}

void top_sampler_hurry(struct top_sampler *sampler)
{
	pthread_mutex_lock(&sampler->lock);
	sampler->hurry = true;
	pthread_cond_broadcast(&sampler->changed);
	pthread_mutex_unlock(&sampler->lock);
}

int top_sampler_wait(struct top_sampler *sampler, unsigned int samples_n)
{
	int result = 0;

	pthread_mutex_lock(&sampler->lock);
	while (!result && sampler->model.samples_n < samples_n) {
		int64_t until_ns = ivs_clock_ns() + IVS_NS_PER_S;
		const struct timespec until = {until_ns / IVS_NS_PER_S, until_ns % IVS_NS_PER_S};

		(void)pthread_cond_clockwait(&sampler->changed, &sampler->lock, CLOCK_MONOTONIC,
					     &until);
		if (*sampler->busy && ivs_clock_ns() - sampler->busy_ns > STUCK_NS)
			result = -ETIMEDOUT;
	}
	pthread_mutex_unlock(&sampler->lock);
	return result;
}
