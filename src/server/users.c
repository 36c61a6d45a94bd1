/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/users.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>

#define MINUTE_NS INT64_C(60000000000)

/* Multiply by 2^32 / (golden ratio), which spreads neighbouring uids over many buckets. */
static struct ivs_user **bucket_of(struct ivs_users *users, uid_t uid)
{
	return &users->buckets[(uint32_t)uid * UINT32_C(2654435769) >> 20];
}

/* Return: whether nothing would be lost if the user were not in the table. */
static bool is_idle(const struct ivs_user *user, int64_t now_ns)
{
	return !user->clients_n && !user->leaving_n && !user->ids.ids_n && user->full_ns <= now_ns;
}

int ivs_users_find(struct ivs_users *users, uid_t uid, int64_t now_ns, struct ivs_user **out)
{
	struct ivs_user **bucket = bucket_of(users, uid);
	struct ivs_user *user;

	for (struct ivs_user **at = bucket; (user = *at);) {
		if (user->uid == uid) {
			*out = user;
			return 0;
		}
		if (is_idle(user, now_ns)) {
			*at = user->next;
			free(user);
			users->users_n--;
			continue;
		}
		at = &user->next;
	}
	user = calloc(1, sizeof(*user));
	if (!user)
		return -ENOMEM;
	user->uid = uid;
	user->next = *bucket;
	*bucket = user;
	users->users_n++;
	*out = user;
	return 0;
}

static int64_t join_interval_ns(const struct ivs_users *users)
{
	return users->joins_max ? MINUTE_NS / users->joins_max : 0;
}

/* Return: whether the user has reached its limit on clients. */
static bool has_share(const struct ivs_users *users, const struct ivs_user *user)
{
	uint64_t left;

	if (!users->clients_max)
		return false;
	left = users->clients_max > users->clients_n ? users->clients_max - users->clients_n : 0;
	if (!left) /* then fds or ids run out, unless former clients are in the way */
		return users->kept_n;
	return user->clients_n >= users->share * left;
}

int ivs_users_check(const struct ivs_users *users, const struct ivs_user *user, int64_t now_ns)
{
	if (has_share(users, user))
		return IVS_USERS_E_SHARE;
	/* The user must have at least one of its joins per minute left. */
	if (user->full_ns - now_ns > MINUTE_NS - join_interval_ns(users))
		return IVS_USERS_E_JOINS;
	return 0;
}

void ivs_users_count_join(const struct ivs_users *users, struct ivs_user *user, int64_t now_ns)
{
	if (user->full_ns < now_ns)
		user->full_ns = now_ns;
	user->full_ns += join_interval_ns(users);
}

void ivs_users_add(struct ivs_users *users, struct ivs_user *user)
{
	user->clients_n++;
	users->clients_n++;
}

void ivs_users_remove(struct ivs_users *users, struct ivs_user *user)
{
	user->clients_n--;
	users->clients_n--;
}

void ivs_users_leave(struct ivs_users *users, struct ivs_user *user)
{
	if (user->leaving_n++ >= IVS_USERS_LEAVING_FREE)
		ivs_users_add(users, user);
}

void ivs_users_left(struct ivs_users *users, struct ivs_user *user)
{
	if (--user->leaving_n >= IVS_USERS_LEAVING_FREE)
		ivs_users_remove(users, user);
}

void ivs_users_hold(struct ivs_users *users, struct ivs_user *user)
{
	user->held_n++;
	users->held_n++;
	ivs_users_add(users, user);
}

void ivs_users_unhold(struct ivs_users *users, struct ivs_user *user)
{
	user->held_n--;
	users->held_n--;
	ivs_users_remove(users, user);
}

/*
 * One fd in flight is granted to each client, whatever other clients do, so that no client waits
 * for another: see flight.h.
 */
unsigned int ivs_users_room(const struct ivs_users *users, const struct ivs_user *user,
			    unsigned int flight_n)
{
	unsigned int granted_n = !flight_n;
	uint64_t taken = (uint64_t)users->extra_n + user->extra_n;

	if (!users->extra_max)
		return UINT_MAX;
	return granted_n + (taken < users->extra_max ? users->extra_max - (unsigned int)taken : 0);
}

static unsigned int extra_of(unsigned int flight_n)
{
	return flight_n ? flight_n - 1 : 0;
}

void ivs_users_set_flight(struct ivs_users *users, struct ivs_user *user, unsigned int *flight_n,
			  unsigned int n)
{
	user->extra_n += extra_of(n) - extra_of(*flight_n);
	users->extra_n += extra_of(n) - extra_of(*flight_n);
	*flight_n = n;
}

void ivs_users_free(struct ivs_users *users)
{
	for (unsigned int i = 0; i < IVS_USERS_BUCKETS; i++) {
		for (struct ivs_user *user = users->buckets[i], *next; user; user = next) {
			next = user->next;
			free(user);
		}
		users->buckets[i] = NULL;
	}
	users->users_n = 0;
}
