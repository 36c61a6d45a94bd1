/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/send.h"

#include "protocol/socket.h"
#include "server/flight.h"

/* Reading the processor time of a thread always takes a system call. */
IVS_SYSCALLS(ivs_send_syscalls, {"clock_gettime"}, {"clock_gettime64"});

/* A message to a slow client is followed by a pause that is this many times as long. */
#define SLOW_PAUSES 4

static void wait_for_kernel(struct ivs_server *server)
{
	server->totals.waits++;
	ivs_loop_set_timer(&server->loop, &server->announce_timer, ivs_clock_deadline(RETRY_MS));
	if (server->announce_since == IVS_CLOCK_NEVER)
		server->announce_since = ivs_clock_ns();
}

static int fd_of_message(const struct ivs_server *server, const struct ivs_v0_message *msg)
{
	switch (msg->type) {
	case IVS_V0_MEMORY:
		return ivs_region_fd(server->region);
	case IVS_V0_VECTOR:
		return ivs_server_seat(server, msg->id)->eventfds[msg->vector];
	default:
		return -1;
	}
}

static struct ivs_cost_mark take_mark(void)
{
	return (struct ivs_cost_mark){ivs_clock_ns(), ivs_clock_cpu_ns()};
}

/* Pause, so that all slow clients together take only a small part of the server's time. */
static void pause_slow(struct ivs_server *server, int64_t cpu_ns)
{
	server->slow_due = true;
	ivs_loop_set_timer(&server->loop, &server->slow_timer,
			   ivs_clock_ns() + SLOW_PAUSES * cpu_ns);
}

/*
 * Record how long a send to a client has taken. Reading the processor time takes a system call, so
 * it is read only if the elapsed time shows that the send may have been slow.
 */
static void record_cost(struct ivs_server *server, struct ivs_client *client, int64_t began_ns,
			unsigned int msgs_n)
{
	int64_t now_ns = ivs_clock_ns();
	int64_t cpu_ns = now_ns - began_ns;

	if (!msgs_n)
		return;
	if (cpu_ns > (int64_t)msgs_n * IVS_COST_SLOW_NS) {
		struct ivs_cost_mark end = take_mark();

		cpu_ns = ivs_cost_cpu(&server->mark, began_ns, &end);
		server->mark = end;
	}
	ivs_cost_record(&client->cost, now_ns, cpu_ns, msgs_n);
	if (cpu_ns > (int64_t)msgs_n * IVS_COST_SLOW_NS)
		pause_slow(server, cpu_ns);
	server->lost_n += client->cost.excessive;
}

/* Send messages to a client. Return: like ivs_socket_send(). */
static int send_batch(struct ivs_server *server, struct ivs_client *client,
		      struct ivs_v0_message *msgs, unsigned int msgs_n)
{
	bool greeted = ivs_roster_greeted(server->roster, client->id);
	int64_t began_ns;
	unsigned int sent_n;
	int result;

	if (!server->mark.now_ns || ivs_cost_is_slow(&client->cost))
		server->mark = take_mark();
	ivs_roster_begin_send(server->roster, client->id);
	began_ns = ivs_clock_ns();
	result = ivs_socket_send(client->sock_fd, msgs, msgs_n, &sent_n);
	record_cost(server, client, began_ns, sent_n);
	ivs_roster_end_send(server->roster, client->id, msgs, sent_n);
	ivs_flight_sent(server, client, msgs, sent_n);
	server->totals.messages += sent_n;
	/* The greeting is complete: other clients may now be told of this one. */
	if (!greeted && ivs_roster_greeted(server->roster, client->id))
		server->changed = server->greeted = true;
	return result;
}

bool ivs_server_send_due(struct ivs_server *server, struct ivs_client *client)
{
	struct ivs_v0_message msgs[IVS_COST_BATCH];
	unsigned int msgs_n = ivs_roster_due(server->roster, client->id, msgs,
					     ivs_cost_batch(&client->cost, ivs_clock_ns()));
	unsigned int allowed_n;
	int result;

	if (!msgs_n)
		return false;
	for (unsigned int i = 0; i < msgs_n; i++)
		msgs[i].fd = fd_of_message(server, &msgs[i]);
	allowed_n = ivs_flight_allows(server, client, msgs, msgs_n);
	result = allowed_n ? send_batch(server, client, msgs, allowed_n) : 0;
	switch (result) {
	case 0:
		/* The client has more to read, and reading it raises EPOLLOUT. */
		client->blocked = allowed_n < msgs_n;
		return !client->blocked;
	case IVS_SOCKET_E_AGAIN:
		client->blocked = true;
		return false;
	case IVS_SOCKET_E_LATER:
		wait_for_kernel(server);
		return false;
	default:
		client->send_result = result;
		server->lost_n++;
		return false;
	}
}
