/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/users.h"

#include <criterion/criterion.h>

#define TIMEOUT 60
#define SECOND INT64_C(1000000000)

static struct ivs_user *find(struct ivs_users *users, uid_t uid, int64_t now_ns)
{
	struct ivs_user *user;

	cr_assert_eq(ivs_users_find(users, uid, now_ns, &user), 0);
	cr_assert_eq(user->uid, uid);
	return user;
}

static unsigned int join_all(struct ivs_users *users, struct ivs_user *user, unsigned int most)
{
	unsigned int n = 0;

	for (; n < most && !ivs_users_check(users, user, 0); n++)
		ivs_users_add(users, user);
	return n;
}

Test(users, user_stays_while_something_counts_for_it, .timeout = TIMEOUT)
{
	static struct ivs_users users = {.joins_max = 60};
	struct ivs_user *user = find(&users, 7, 0);

	ivs_users_add(&users, user);
	/* 4096 buckets, so that each is searched. */
	for (uid_t uid = 1000; uid < 100000; uid++)
		(void)find(&users, uid, 0);
	cr_assert_eq(find(&users, 7, 0), user);
	cr_assert_eq(user->clients_n, 1);
	ivs_users_remove(&users, user);
	user->ids.ids_n = 1;
	for (uid_t uid = 1000; uid < 100000; uid++)
		(void)find(&users, uid, 0);
	cr_assert_eq(find(&users, 7, 0)->ids.ids_n, 1);
	user->ids.ids_n = 0;
	ivs_users_count_join(&users, user, 0);
	for (uid_t uid = 1000; uid < 100000; uid++)
		(void)find(&users, uid, SECOND / 2);
	cr_assert_eq(find(&users, 7, SECOND / 2)->full_ns, SECOND);
	/*
	 * Users without anything that counts against a limit are removed when their bucket is
	 * searched.
	 */
	for (uid_t uid = 1000; uid < 100000; uid++)
		(void)find(&users, uid, SECOND);
	cr_assert_lt(users.users_n, 3 * IVS_USERS_BUCKETS);
	ivs_users_free(&users);
}

Test(users, former_clients_whose_fds_are_open, .timeout = TIMEOUT)
{
	static struct ivs_users users;
	struct ivs_user *user = find(&users, 7, 0);

	for (unsigned int n = 1; n <= 2 * IVS_USERS_LEAVING_FREE; n++) {
		ivs_users_leave(&users, user);
		cr_assert_eq(user->clients_n,
			     n > IVS_USERS_LEAVING_FREE ? n - IVS_USERS_LEAVING_FREE : 0);
		cr_assert_eq(users.clients_n, user->clients_n);
	}
	for (unsigned int n = 2 * IVS_USERS_LEAVING_FREE; n; n--)
		ivs_users_left(&users, user);
	cr_assert_eq(user->clients_n, 0);
	cr_assert_eq(users.clients_n, 0);
	ivs_users_free(&users);
}

Test(users, joins_of_a_minute, .timeout = TIMEOUT)
{
	static struct ivs_users users = {.joins_max = 60};
	struct ivs_user *user = find(&users, 0, 5);
	int64_t now = 1000 * SECOND;

	for (unsigned int i = 0; i < 60; i++) {
		cr_assert_eq(ivs_users_check(&users, user, now), 0, "join %u", i);
		ivs_users_count_join(&users, user, now);
	}
	cr_assert_eq(ivs_users_check(&users, user, now), IVS_USERS_E_JOINS);
	cr_assert_eq(ivs_users_check(&users, user, now + SECOND - 1), IVS_USERS_E_JOINS);
	cr_assert_eq(ivs_users_check(&users, user, now + SECOND), 0);
	ivs_users_count_join(&users, user, now + SECOND);
	cr_assert_eq(ivs_users_check(&users, user, now + SECOND), IVS_USERS_E_JOINS);
	cr_assert_eq(ivs_users_check(&users, find(&users, 1, now), now), 0, "another user");
	cr_assert_eq(ivs_users_check(&users, user, now + 3600 * SECOND), 0);
	users.joins_max = 0;
	for (unsigned int i = 0; i < 10000; i++)
		ivs_users_count_join(&users, user, now + 3600 * SECOND);
	cr_assert_eq(ivs_users_check(&users, user, now + 3600 * SECOND), 0, "no limit");
	ivs_users_free(&users);
}

Test(users, share_of_the_places, .timeout = TIMEOUT)
{
	static struct ivs_users users = {.clients_max = 1600, .share = IVS_USERS_SHARE};

	cr_assert_eq(join_all(&users, find(&users, 1, 0), 2000), 1500);
	cr_assert_eq(join_all(&users, find(&users, 2, 0), 2000), 94);
	cr_assert_eq(join_all(&users, find(&users, 3, 0), 6), 6);
	/*
	 * No places are left: file descriptors will run out, unless former clients hold some of the
	 * places.
	 */
	cr_assert_eq(ivs_users_check(&users, find(&users, 4, 0), 0), 0);
	users.kept_n = 1;
	cr_assert_eq(ivs_users_check(&users, find(&users, 4, 0), 0), IVS_USERS_E_SHARE);
	ivs_users_free(&users);
}

Test(users, share_of_what_is_in_flight, .timeout = TIMEOUT)
{
	static struct ivs_users users = {.extra_max = 100};
	struct ivs_user *one = find(&users, 1, 0);
	struct ivs_user *two = find(&users, 2, 0);
	unsigned int flight[3] = {0};

	cr_assert_eq(ivs_users_room(&users, one, 0), 101);
	ivs_users_set_flight(&users, one, &flight[0], 51);
	cr_assert_eq(ivs_users_room(&users, one, 51), 0);
	cr_assert_eq(ivs_users_room(&users, one, 0), 1, "each client is sent at least one");
	cr_assert_eq(ivs_users_room(&users, two, 0), 51);
	ivs_users_set_flight(&users, two, &flight[1], 26);
	cr_assert_eq(ivs_users_room(&users, two, 26), 0);
	ivs_users_set_flight(&users, one, &flight[2], 1);
	cr_assert_eq(users.extra_n, 75);
	ivs_users_set_flight(&users, one, &flight[0], 0);
	cr_assert_eq(one->extra_n, 0);
	cr_assert_eq(ivs_users_room(&users, two, 26), 50);
	ivs_users_set_flight(&users, two, &flight[1], 0);
	ivs_users_set_flight(&users, one, &flight[2], 0);
	cr_assert_eq(users.extra_n, 0);
	ivs_users_free(&users);
}
