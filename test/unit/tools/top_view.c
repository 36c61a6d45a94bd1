/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of the lines that "ivshmem top" shows. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "tools/ivshmem/top_view.h"

#define PEERS_N 40

static struct top_doorbell doorbells[PEERS_N][2];
static struct top_peer peers[PEERS_N];
static struct top_server servers[2];
static struct top_model model;
static struct top_view view;
static struct top_lines lines;

/* One server with 40 peers, of which peer 7 does not read, and one that is gone. */
static void make(void)
{
	for (unsigned int i = 0; i < PEERS_N; i++) {
		peers[i] = (struct top_peer){.id = i,
					     .pid = (pid_t)(1000 - i),
					     .since_ms = 1000 * (int64_t)(i + 1),
					     .vectors_n = 2,
					     .greeted = true,
					     .counted = true,
					     .reads = TOP_READS_ALL,
					     .doorbells = doorbells[i],
					     .doorbells_n = 2};
		snprintf(peers[i].program, sizeof(peers[i].program), "program%02u", i % 10);
		snprintf(peers[i].user, sizeof(peers[i].user), "alice");
	}
	doorbells[7][1] = (struct top_doorbell){.unread = 1, .rate = 0, .same_n = TOP_SAME_MAX};
	peers[7].unread = 1;
	peers[7].reads = TOP_READS_NOT;
	doorbells[9][0] = (struct top_doorbell){.unread = 50, .rate = 2.5F, .same_n = 1};
	peers[9].unread = 50;
	peers[9].rate = 2.5;
	peers[9].reads = TOP_READS_LATE;
	snprintf(peers[12].vm, sizeof(peers[12].vm), "caf\xc3\xa9 win10");
	peers[15].behind = 3;
	servers[0] = (struct top_server){.state = TOP_OK,
					 .pid = 77,
					 .sampled_ns = 1,
					 .peers = peers,
					 .peers_n = PEERS_N,
					 .unread = 51,
					 .rate = 2.5,
					 .not_n = 1,
					 .joined = 41};
	snprintf(servers[0].socket, sizeof(servers[0].socket), "/run/a/very/long/path/of/a/%s",
		 "directory/in/which/there/is/a/socket");
	top_reasons_add(&servers[0].refused, "max_peers", 2);
	top_reasons_add(&servers[0].refused, "no_fd", 1);
	servers[1] = (struct top_server){.state = TOP_GONE, .rate = -1, .gone_ms = 90000};
	strcpy(servers[1].control, "/tmp/gone");
	model = (struct top_model){
		.interval_ms = 2000, .samples_n = 3, .servers = servers, .servers_n = 2};
	view = (struct top_view){0};
	lines = (struct top_lines){0};
}

static void show(size_t width, size_t height)
{
	top_lines_deinit(&lines);
	cr_assert_eq(top_view_show(&view, &model, width, height, 100000, &lines), 0);
	cr_assert_leq(lines.n, height);
	for (size_t i = 0; i < lines.n; i++)
		cr_assert_leq(ivs_text_columns(lines.list[i].text), width);
}

/* Return: the line that contains a text; -1: none. */
static int line_with(const char *text)
{
	for (size_t i = 0; i < lines.n; i++) {
		if (strstr(lines.list[i].text, text))
			return (int)i;
	}
	return -1;
}

/* Return: the id in the first row of the peers. */
static int first_id(void)
{
	int titles = line_with("PROGRAM");
	int number;
	int id = -1;

	cr_assert_geq(titles, 0);
	if ((size_t)titles + 1 < lines.n)
		sscanf(lines.list[titles + 1].text, "%d %d", &number, &id);
	return id;
}

static void end(void)
{
	top_lines_deinit(&lines);
}

TestSuite(top_view, .init = make, .fini = end);

Test(top_view, everything_at_80_by_24)
{
	show(80, 24);
	cr_expect_eq(lines.n, 24);
	cr_expect_str_eq(lines.list[0].text, "servers 2, regions 0, peers 40 (1 not reading), "
					     "unread 51, seen 2.5/s");
	cr_expect_str_eq(lines.list[1].text, "joined 41, refused 3 (max_peers 2, no_fd 1), left 0");
	cr_expect_geq(line_with(" 2 /tmp/gone"), 0);
	cr_expect_geq(line_with("gone 10s"), 0);
	cr_expect_eq(first_id(), 7);
	cr_expect_eq(lines.list[line_with("PROGRAM") + 1].style, TOP_ALERT);
	cr_expect_eq(lines.list[line_with("PROGRAM") + 2].style, TOP_PLAIN);
	cr_expect_eq(line_with("USER"), -1);
	cr_expect_geq(line_with("q end"), 23);
}

/* The ends of paths differ, so their beginnings are cut off. */
Test(top_view, long_path)
{
	show(80, 24);
	cr_expect_geq(line_with(" 1 ..y/in/which/there/is/a/socket "), 0);
}

Test(top_view, wide_screen_has_more_columns)
{
	show(TOP_WIDE, 24);
	cr_expect_geq(line_with("USER"), 0);
	cr_expect_geq(line_with("alice"), 0);
}

Test(top_view, any_size)
{
	for (view.page = 0; view.page < TOP_PAGES_N; view.page++) {
		for (size_t height = 0; height < 30; height++) {
			for (size_t width = 0; width < 130; width += 3) {
				view.scroll = 1000;
				view.help = width % 2;
				show(width, height);
			}
		}
	}
	view.page = TOP_PAGE_REGIONS;
	show(5000, 300);
}

Test(top_view, orders)
{
	static const int first[TOP_SORTS_N] = {
		[TOP_SORT_UNREAD] = 7, [TOP_SORT_SEEN] = 9,	[TOP_SORT_BEHIND] = 15,
		[TOP_SORT_AGE] = 39,   [TOP_SORT_PROGRAM] = 12, [TOP_SORT_PID] = 39,
		[TOP_SORT_ID] = 0,
	};

	for (view.order.sort = 0; view.order.sort < TOP_SORTS_N; view.order.sort++) {
		show(80, 24);
		cr_expect_eq(first_id(), first[view.order.sort], "%s: %d",
			     top_sort_name(view.order.sort), first_id());
	}
	view.order.sort = TOP_SORT_ID;
	view.order.reverse = true;
	show(80, 24);
	cr_expect_eq(first_id(), 39);
}

Test(top_view, filter)
{
	strcpy(view.order.filter, "CAF\xc3\xa9 WIN");
	show(80, 24);
	cr_expect_eq(first_id(), 12);
	cr_expect_eq(line_with("/tmp/gone"), -1);
	strcpy(view.order.filter, "no such text");
	show(80, 24);
	cr_expect_eq(first_id(), -1);
	strcpy(view.order.filter, "there/is/a/socket");
	show(80, 24);
	cr_expect_eq(first_id(), 7);
}

Test(top_view, scrolling_ends_at_the_last_row)
{
	view.order.sort = TOP_SORT_ID;
	view.scroll = 3;
	show(80, 24);
	cr_expect_eq(first_id(), 3);
	view.scroll = SIZE_MAX / 2;
	show(80, 24);
	cr_expect_eq(view.scroll + view.page_n, PEERS_N);
	cr_expect_eq(first_id(), (int)view.scroll);
}

Test(top_view, doorbells)
{
	view.page = TOP_PAGE_DOORBELLS;
	show(80, 24);
	cr_expect_eq(first_id(), 7);
	cr_expect_eq(lines.list[line_with("PROGRAM") + 1].style, TOP_ALERT);
	view.order.sort = TOP_SORT_SEEN;
	show(80, 24);
	cr_expect_eq(first_id(), 9);
}

Test(top_view, servers)
{
	view.page = TOP_PAGE_SERVERS;
	show(80, 24);
	cr_expect_geq(line_with("   joined 41, refused 3 (max_peers 2, no_fd 1), left 0"), 0);
	view.scroll = 1;
	show(80, 24);
	cr_expect_eq(line_with("joined 41, refused 3 (max_peers 2, no_fd 1), left 0,"), -1);
	cr_expect_geq(line_with("/tmp/gone"), 0);
}

Test(top_view, before_the_first_sample)
{
	model = (struct top_model){.interval_ms = 2000};
	show(80, 24);
	cr_expect_geq(line_with("examining this host"), 0);
	cr_expect_eq(first_id(), -1);
}

Test(top_view, without_servers)
{
	model = (struct top_model){.interval_ms = 2000, .samples_n = 1};
	show(80, 24);
	cr_expect_geq(line_with("no servers on this host"), 0);
}

Test(top_view, notice_and_prompt)
{
	strcpy(view.notice, "something");
	view.asks = true;
	strcpy(view.order.filter, "tex");
	show(80, 24);
	cr_expect_str_eq(lines.list[22].text, "something");
	cr_expect_str_eq(lines.list[23].text, "/tex");
}
