/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Vacant seats: the id and the eventfds of a departed client, as long as quiet clients know them
 * (roster.h). A newcomer with the same user and the same number of vectors takes the seat with the
 * lowest id.
 *
 * The seat of a departed quiet client is held back while its process exists: QEMU 11.1 without KVM
 * continues to poll the eventfds of a device that was unplugged, and crashes when they are rung.
 * The seat of a client that was dropped is held back, too, because the client may continue to read
 * its doorbells. Each seat costs fds in the QEMUs that are told of it, so seats that are held back
 * count as clients of their user, and a process for which IVS_SEATS_PROCESS_MAX seats are held back
 * gets the oldest of them.
 *
 * Each vacant seat is a struct ivs_client without a socket. Its fds are those that the client had,
 * also in the service manager's store, and are given up when fds or ids are scarce.
 */
#ifndef IVS_SERVER_SEATS_H
#define IVS_SERVER_SEATS_H

#include "base/syscalls.h"
#include "server/private.h"

extern const struct ivs_syscall ivs_seats_syscalls[];

#define IVS_SEATS_PROCESS_MAX 16

/*
 * Number of vacant seats of one user. If there are more, the oldest one is given up. All seats may
 * have half of the fds that clients do not have: closing fds takes time (daemon/closer.h), so fds
 * must be free when clients join.
 */
#define IVS_SEATS_USER_MAX 4096

/*
 * Number of fds of vacant seats in the service manager's store: a quarter of what the unit permits
 * (FileDescriptorStoreMax=), so that there is room for newcomers.
 */
#define IVS_SEATS_STORED_MAX 4096

/**
 * ivs_server_leave_roster() - remove @client from the roster, and keep its eventfds as a vacant
 * seat if the seat is needed; the client then has no vectors
 */
void ivs_server_leave_roster(struct ivs_server *server, struct ivs_client *client);

/** ivs_server_resume_seats() - take the fds of the roster's vacant seats from the handover */
void ivs_server_resume_seats(struct ivs_server *server);

/**
 * ivs_server_find_seat() - find a vacant seat that a newcomer may take, and reset its eventfds
 * @user, @pid: the newcomer's user and process
 * @lowest:     the lowest id that is allowed
 *
 * Return: the seat; NULL: none.
 */
struct ivs_client *ivs_server_find_seat(struct ivs_server *server, const struct ivs_user *user,
					pid_t pid, unsigned int lowest);

/** ivs_server_update_held() - stop holding back seats of @user whose process is gone */
void ivs_server_update_held(struct ivs_server *server, const struct ivs_user *user);

/** ivs_server_count_held() - the number of seats of @user that are held back because of @pid */
unsigned int ivs_server_count_held(const struct ivs_server *server, const struct ivs_user *user,
				   pid_t pid);

/** ivs_server_seat_taken() - free @seat, of which another client now has the id and the eventfds */
void ivs_server_seat_taken(struct ivs_server *server, struct ivs_client *seat);

/** ivs_server_trim_seats() - give up seats until they leave enough fds for newcomers */
void ivs_server_trim_seats(struct ivs_server *server);

/** ivs_server_sweep_seats() - give up the seats that no quiet client knows; call after a leave */
void ivs_server_sweep_seats(struct ivs_server *server);

/**
 * ivs_server_give_up_seat() - give up a seat: the oldest of the user that has the most
 *
 * Return: false: there is none.
 */
bool ivs_server_give_up_seat(struct ivs_server *server);

#endif
