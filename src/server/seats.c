/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/seats.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/eventfd.h"
#include "server/departed.h"

/* The signal 0 is not sent: the call checks whether the process exists. */
IVS_SYSCALLS(ivs_seats_syscalls, {"kill", {IVS_ARG_IS(2, 0)}}, {"clock_gettime"},
	     {"clock_gettime64"});

/*
 * Resetting an eventfd wakes all that wait for it, and a peer can make that expensive with many
 * epoll instances. A seat that takes longer is given up.
 */
#define RESET_CPU_NS (10 * IVS_NS_PER_MS)

static void give_up(struct ivs_server *server, struct ivs_client *seat)
{
	server->seats[seat->id] = NULL;
	server->seats_n--;
	seat->user->seats_n--;
	ivs_roster_give_up(server->roster, seat->id);
	ivs_handover_forget_client(server->handover, seat);
	ivs_server_depart(server, seat);
}

/*
 * Return: the oldest seat of @user; NULL: none. Serials of seats say nothing about when they became
 * vacant.
 */
static struct ivs_client *oldest_seat(const struct ivs_server *server, const struct ivs_user *user)
{
	struct ivs_client *oldest = NULL;
	unsigned int id = 0;

	for (; (id = ivs_roster_next_vacant(server->roster, id)) <= IVS_ID_MAX; id++) {
		struct ivs_client *seat = server->seats[id];

		if (seat && seat->user == user && (!oldest || seat->left_ns < oldest->left_ns))
			oldest = seat;
	}
	return oldest;
}

bool ivs_server_give_up_seat(struct ivs_server *server)
{
	const struct ivs_user *most = NULL;
	unsigned int id = 0;

	for (; (id = ivs_roster_next_vacant(server->roster, id)) <= IVS_ID_MAX; id++) {
		const struct ivs_client *seat = server->seats[id];

		if (seat && (!most || seat->user->seats_n > most->seats_n))
			most = seat->user;
	}
	if (!most)
		return false;
	give_up(server, oldest_seat(server, most));
	return true;
}

static bool are_too_many(const struct ivs_server *server)
{
	uint64_t clients_n = ivs_roster_peers(server->roster);
	uint64_t used_n = clients_n * (1 + server->vectors_n);
	uint64_t left_n = server->fds_max > used_n ? server->fds_max - used_n : 0;
	uint64_t seats_fds_n = (uint64_t)server->seats_n * server->vectors_n;

	return seats_fds_n > left_n / 2 || (ivs_service_exists(&server->handover->service) &&
					    seats_fds_n > IVS_SEATS_STORED_MAX);
}

static void add_seat(struct ivs_server *server, struct ivs_client *seat)
{
	struct ivs_user *user = seat->user;

	seat->left_ns = ivs_clock_ns();
	server->seats[seat->id] = seat;
	server->seats_n++;
	if (user->seats_n++ >= IVS_SEATS_USER_MAX)
		give_up(server, oldest_seat(server, user));
	while (are_too_many(server) && ivs_server_give_up_seat(server))
		;
}

/* Create a seat with the fds of @client. */
static int keep_seat(struct ivs_server *server, struct ivs_client *client)
{
	struct ivs_client *seat;
	int result = ivs_client_split(client, &seat);

	if (!result)
		add_seat(server, seat);
	return result;
}

void ivs_server_leave_roster(struct ivs_server *server, struct ivs_client *client)
{
	if (!ivs_roster_leave(server->roster, client->id))
		return;
	if (!client->user || keep_seat(server, client))
		ivs_roster_give_up(server->roster, client->id);
}

/* Return: 0, IVS_HANDOVER_E_ABSENT, -errno. */
static int resume_seat(struct ivs_server *server, unsigned int id)
{
	const struct ivs_handover_client which = {
		.id = id,
		.seat_serial = ivs_roster_seat_serial(server->roster, id),
		.vectors_n = ivs_roster_vectors(server->roster, id),
	};
	uint64_t process = ivs_roster_note(server->roster, id, NOTE_PROCESS);
	struct ivs_client *seat;
	struct ivs_user *user;
	int result;

	result = ivs_users_find(&server->users, (uid_t)process, ivs_clock_ns(), &user);
	if (!result)
		result = ivs_handover_take_client(server->handover, &which, &seat);
	if (result)
		return result;
	seat->cred = (struct ucred){.pid = (pid_t)(process >> 32), .uid = (uid_t)process};
	seat->quiet = ivs_roster_quiet(server->roster, id);
	seat->user = user;
	ivs_roster_set_owner(server->roster, id, &user->ids);
	add_seat(server, seat);
	return 0;
}

void ivs_server_resume_seats(struct ivs_server *server)
{
	unsigned int id = 0;

	ivs_server_sweep_seats(server);
	for (; (id = ivs_roster_next_vacant(server->roster, id)) <= IVS_ID_MAX; id++) {
		if (!server->seats[id] && resume_seat(server, id))
			ivs_roster_give_up(server->roster, id);
	}
}

/* Return: false if resetting the eventfds failed or was too expensive. */
static bool reset_seat(const struct ivs_client *seat)
{
	int64_t began_ns = ivs_clock_cpu_ns();

	for (unsigned int i = 0; i < seat->vectors_n; i++) {
		if (ivs_eventfd_take(seat->eventfds[i]) < 0)
			return false;
		if (ivs_clock_cpu_ns() - began_ns > RESET_CPU_NS)
			return false;
	}
	return true;
}

/*
 * Return: whether the process of a departed client no longer exists. A process in another pid
 * namespace has the pid 0, and may exist forever.
 */
static bool is_gone(pid_t pid)
{
	return pid > 0 && kill(pid, 0) && errno == ESRCH;
}

struct ivs_client *ivs_server_find_seat(struct ivs_server *server, const struct ivs_user *user,
					unsigned int lowest)
{
	pid_t alive = -1; /* one process can have left many seats */
	unsigned int id = lowest;

	for (; (id = ivs_roster_next_vacant(server->roster, id)) <= IVS_ID_MAX; id++) {
		struct ivs_client *seat = server->seats[id];

		if (seat->user != user || seat->vectors_n != server->vectors_n)
			continue;
		if (seat->quiet && (seat->cred.pid == alive || !is_gone(seat->cred.pid))) {
			alive = seat->cred.pid;
			continue;
		}
		if (reset_seat(seat))
			return seat;
		give_up(server, seat);
	}
	return NULL;
}

void ivs_server_seat_taken(struct ivs_server *server, struct ivs_client *seat)
{
	server->seats[seat->id] = NULL;
	server->seats_n--;
	seat->user->seats_n--;
	ivs_client_free(seat);
}

void ivs_server_sweep_seats(struct ivs_server *server)
{
	unsigned int id = 0;

	for (; (id = ivs_roster_next_vacant(server->roster, id)) <= IVS_ID_MAX; id++) {
		if (!ivs_roster_is_needed(server->roster, id) && server->seats[id])
			give_up(server, server->seats[id]);
		else if (!ivs_roster_is_needed(server->roster, id))
			ivs_roster_give_up(server->roster, id);
	}
}
