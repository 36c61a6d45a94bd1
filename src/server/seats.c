/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/seats.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/eventfd.h"
#include "server/departed.h"
#include "server/service_manager.h"

/* The signal 0 is not sent: the call checks whether the process exists. */
IVS_SYSCALLS(ivs_seats_syscalls, {"kill", {IVS_ARG_IS(2, 0)}}, {"clock_gettime"},
	     {"clock_gettime64"});

/*
 * Resetting an eventfd wakes everything that waits for it, and a peer can make that expensive with
 * many epoll instances. A seat whose eventfds were slow to reset SLOW_MAX times is given up. A
 * single slow reset is not enough, because the host may have taken the processor away for a while.
 */
#define RESET_CPU_NS(vectors_n) (IVS_NS_PER_MS + (vectors_n)*INT64_C(5000))

#define SLOW_MAX 3

/* Limit on the processes that are looked up when a client joins. */
#define CHECKS_MAX 64

static void set_held(struct ivs_server *server, struct ivs_client *seat, bool held)
{
	if (seat->held == held)
		return;
	seat->held = held;
	if (held)
		ivs_users_hold(&server->users, seat->user);
	else
		ivs_users_unhold(&server->users, seat->user);
}

/* Remove a seat from the tables. */
static void remove_seat(struct ivs_server *server, struct ivs_client *seat)
{
	set_held(server, seat, false);
	server->seats[seat->id] = NULL;
	server->seats_n--;
	seat->user->seats_n--;
}

static void give_up(struct ivs_server *server, struct ivs_client *seat)
{
	remove_seat(server, seat);
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
	ivs_server_update_store(server); /* its fds are closed when the manager has dropped them */
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

void ivs_server_trim_seats(struct ivs_server *server)
{
	while (are_too_many(server) && ivs_server_give_up_seat(server))
		;
}

/* @held: whether the seat is held back */
static void add_seat(struct ivs_server *server, struct ivs_client *seat, bool held)
{
	struct ivs_user *user = seat->user;

	seat->held = false;
	set_held(server, seat, held);
	ivs_roster_set_note(server->roster, seat->id, NOTE_HELD, held);
	seat->left_ns = ivs_clock_ns();
	server->seats[seat->id] = seat;
	server->seats_n++;
	if (user->seats_n++ >= IVS_SEATS_USER_MAX)
		give_up(server, oldest_seat(server, user));
	ivs_server_trim_seats(server);
}

/* Create a seat with the fds of @client. */
static int keep_seat(struct ivs_server *server, struct ivs_client *client)
{
	struct ivs_client *seat;
	int result = ivs_client_split(client, &seat);

	if (!result)
		add_seat(server, seat, client->held);
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

	if (!process) /* the previous server crashed before it had recorded the process */
		return IVS_HANDOVER_E_ABSENT;
	result = ivs_users_find(&server->users, (uid_t)process, ivs_clock_ns(), &user);
	if (!result)
		result = ivs_handover_take_client(server->handover, &which, &seat);
	if (result)
		return result;
	seat->cred = (struct ucred){.pid = (pid_t)(process >> 32), .uid = (uid_t)process};
	seat->quiet = ivs_roster_quiet(server->roster, id);
	seat->user = user;
	ivs_roster_set_owner(server->roster, id, &user->ids);
	add_seat(server, seat, ivs_roster_note(server->roster, id, NOTE_HELD));
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

/* Return: false if resetting the eventfds has failed, or was too expensive too often. */
static bool reset_seat(struct ivs_client *seat)
{
	int64_t began_ns = ivs_clock_cpu_ns();

	for (unsigned int i = 0; i < seat->vectors_n; i++) {
		if (ivs_eventfd_take(seat->eventfds[i]) < 0)
			return false;
		if (ivs_clock_cpu_ns() - began_ns <= RESET_CPU_NS(seat->vectors_n))
			continue;
		if (++seat->slow_n >= SLOW_MAX)
			return false;
		began_ns = ivs_clock_cpu_ns();
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

void ivs_server_update_held(struct ivs_server *server, const struct ivs_user *user)
{
	unsigned int checks_n = 0;
	unsigned int id = 0;

	for (; (id = ivs_roster_next_vacant(server->roster, id)) <= IVS_ID_MAX; id++) {
		struct ivs_client *seat = server->seats[id];

		if (seat->user != user || !seat->held)
			continue;
		if (is_gone(seat->cred.pid))
			set_held(server, seat, false);
		else if (++checks_n == CHECKS_MAX)
			break;
	}
}

unsigned int ivs_server_count_held(const struct ivs_server *server, const struct ivs_user *user,
				   pid_t pid)
{
	unsigned int id = 0;
	unsigned int n = 0;

	for (; user->held_n && (id = ivs_roster_next_vacant(server->roster, id)) <= IVS_ID_MAX;
	     id++)
		n += server->seats[id]->user == user && server->seats[id]->held &&
		     server->seats[id]->cred.pid == pid;
	return n;
}

/* State of the search for a seat. */
struct search {
	const struct ivs_user *user;
	pid_t pid;
	pid_t alive;		/* a process that exists: it can have left many seats */
	unsigned int checks_n;	/* number of processes that were looked up */
	unsigned int own_n;	/* number of seats that were held back because of @pid */
	struct ivs_client *own; /* the oldest of them */
};

/* Return: whether the newcomer may take @seat. */
static bool is_available(struct ivs_server *server, struct search *search, struct ivs_client *seat)
{
	if (seat->user != search->user || seat->vectors_n != server->vectors_n)
		return false;
	if (!seat->held)
		return true;
	if (seat->cred.pid == search->pid) {
		search->own_n++;
		if (!search->own || seat->left_ns < search->own->left_ns)
			search->own = seat;
		return false;
	}
	if (seat->cred.pid == search->alive || search->checks_n == CHECKS_MAX)
		return false;
	search->checks_n++;
	if (is_gone(seat->cred.pid))
		return true;
	search->alive = seat->cred.pid;
	return false;
}

struct ivs_client *ivs_server_find_seat(struct ivs_server *server, const struct ivs_user *user,
					pid_t pid, unsigned int lowest)
{
	struct search search = {.user = user, .pid = pid, .alive = -1};
	struct ivs_client *seat = NULL;
	unsigned int id = lowest;

	for (; (id = ivs_roster_next_vacant(server->roster, id)) <= IVS_ID_MAX; id++) {
		seat = server->seats[id];
		if (is_available(server, &search, seat))
			break;
		seat = NULL;
	}
	if (!seat && search.own_n >= IVS_SEATS_PROCESS_MAX)
		seat = search.own;
	if (!seat || reset_seat(seat))
		return seat;
	give_up(server, seat);
	ivs_server_update_store(server);
	return NULL;
}

void ivs_server_seat_taken(struct ivs_server *server, struct ivs_client *seat)
{
	remove_seat(server, seat);
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
