/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Accounts for each user's use of the shared resources: the number of clients, ids, joins per
 * minute, and file descriptors in flight. Users are distinguished by uid.
 *
 * Pure: no system calls except for memory allocation, and no clock.
 *
 * A user may have IVS_USERS_SHARE times as many clients and ids as are left for others, and as many
 * file descriptors in flight as are left. So one user has at most 15/16 of the former and 1/2 of
 * the latter, and n users leave 1 / (15 n + 1) and 1 / (n + 1) of them for the next.
 */
#ifndef IVS_SERVER_USERS_H
#define IVS_SERVER_USERS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "roster/roster.h"

#define IVS_USERS_SHARE 15
#define IVS_USERS_SHARED_MIN 256 /* if fewer clients are possible, one user may have them all */
#define IVS_USERS_BUCKETS 4096
/*
 * Up to this many of a user's former clients whose fds are still open are not counted in
 * @clients_n.
 */
#define IVS_USERS_LEAVING_FREE 8

/**
 * struct ivs_user - the clients of one user
 * @clients_n: clients; former clients that may still have file descriptors in flight to them; all
 *             of @leaving_n except IVS_USERS_LEAVING_FREE; and @held_n
 * @leaving_n: former clients whose own file descriptors are still open
 * @extra_n:   file descriptors in flight to the user's clients, not counting the first to each
 *             client
 * @seats_n:   vacant seats (seats.h)
 * @held_n:    vacant seats that are held back
 * @ids:       ids in use, or that a connected client knows
 * @full_ns:   when the user will again have all its joins per minute
 * @held:      it has been logged that messages to the user's clients are held back
 * @next:      the next user in the same bucket
 */
struct ivs_user {
	uid_t uid;
	unsigned int clients_n;
	unsigned int leaving_n;
	unsigned int extra_n;
	unsigned int seats_n;
	unsigned int held_n;
	struct ivs_roster_owner ids;
	int64_t full_ns;
	bool held;
	struct ivs_user *next;
};

/**
 * struct ivs_users - all users; initially zero except for the limits
 * @clients_max: maximum number of clients; 0: do not limit the clients of a user
 * @share:       a user may have at most @share times as many clients as are left for others
 * @joins_max:   joins of a user per minute; 0: no limit
 * @extra_max:   file descriptors in flight to all clients, not counting the first to each; 0: no
 *               limit
 * @clients_n, @extra_n: the sums over all users
 * @kept_n:      number of former clients to which fds may be in flight; part of @clients_n
 * @held_n:      number of vacant seats that are held back; part of @clients_n
 * @users_n:     number of users in the table
 */
struct ivs_users {
	unsigned int clients_max;
	unsigned int share;
	unsigned int joins_max;
	unsigned int extra_max;
	unsigned int clients_n;
	unsigned int extra_n;
	unsigned int kept_n;
	unsigned int held_n;
	unsigned int users_n;
	struct ivs_user *buckets[IVS_USERS_BUCKETS];
};

enum ivs_users_error {
	IVS_USERS_E_SHARE = 1, /* the user has reached its limit on clients */
	IVS_USERS_E_JOINS,     /* the user has joined too often in the last minute */
};

/**
 * ivs_users_find() - the user with this uid; it is added to the table if necessary
 *
 * The user is valid until the next ivs_users_find(), or as long as it has clients.
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_users_find(struct ivs_users *users, uid_t uid, int64_t now_ns,
				struct ivs_user **out);

/** ivs_users_check() - whether the user may have another client. Return: 0, IVS_USERS_E_*. */
IVS_MUST_USE int ivs_users_check(const struct ivs_users *users, const struct ivs_user *user,
				 int64_t now_ns);

/** ivs_users_count_join() - count a join of the user, even if it fails later */
void ivs_users_count_join(const struct ivs_users *users, struct ivs_user *user, int64_t now_ns);

/** ivs_users_add() - count another client of the user, to which nothing is in flight */
void ivs_users_add(struct ivs_users *users, struct ivs_user *user);

/** ivs_users_remove() - stop counting a client that is gone and has nothing in flight any more */
void ivs_users_remove(struct ivs_users *users, struct ivs_user *user);

/** ivs_users_leave() - count a client that has left, but whose fds are still open */
void ivs_users_leave(struct ivs_users *users, struct ivs_user *user);

/** ivs_users_left() - undo ivs_users_leave(): the fds of that client have been closed */
void ivs_users_left(struct ivs_users *users, struct ivs_user *user);

/** ivs_users_hold() - count a vacant seat that is held back */
void ivs_users_hold(struct ivs_users *users, struct ivs_user *user);

/** ivs_users_unhold() - undo ivs_users_hold(): the seat is not held back any more, or it is gone */
void ivs_users_unhold(struct ivs_users *users, struct ivs_user *user);

/** ivs_users_room() - how many more fds may be in flight to a client that has @flight_n now */
IVS_MUST_USE unsigned int ivs_users_room(const struct ivs_users *users, const struct ivs_user *user,
					 unsigned int flight_n);

/** ivs_users_set_flight() - set @flight_n, a client's number of fds in flight, to @n */
void ivs_users_set_flight(struct ivs_users *users, struct ivs_user *user, unsigned int *flight_n,
			  unsigned int n);

/** ivs_users_free() - free the table, not the structure; its users become invalid */
void ivs_users_free(struct ivs_users *users);

#endif
