/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of a peer that learns of joins and leaves from the roster page: its events, capabilities
 * and usable length. */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ivshmem/peer.h"
#include "ivshmem/region.h"
#include "roster_page/writer.h"
#include "support/c/fds.h"

#define LEN 65536
#define SOON_MS 20000 /* long enough for a loaded machine; 100 ms usually suffices */

static struct ivs_region *region;
static struct ivs_roster_page_writer *page;
static struct ivs_peer *peer;
static char address[64];
static unsigned int fds_before;

static void setup(void)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;

	fds_before = test_fds_open();
	opts.size = LEN;
	snprintf(address, sizeof(address), "shm:ivs-test-peer-roster-%d", (int)getpid());
	cr_assert_eq(ivs_region_open(address, &opts, &region, NULL), 0);
}

static void teardown(void)
{
	ivs_peer_close(peer);
	ivs_roster_page_writer_free(page);
	if (ivs_region_remove(region))
		abort();
	ivs_region_close(region);
	test_fds_check(fds_before);
}

TestSuite(peer_roster, .init = setup, .fini = teardown);

static void open_page(uint32_t entries_n)
{
	ivs_roster_page_writer_free(page);
	cr_assert_eq(ivs_roster_page_writer_new(region, entries_n, &page, NULL), 0);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
}

static void join(unsigned int id, uint32_t vectors_n)
{
	ivs_roster_page_writer_join(page, id, vectors_n, 0);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
}

static void leave(unsigned int id)
{
	ivs_roster_page_writer_leave(page, id);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
}

static void open_peer(void)
{
	struct ivs_error err;

	cr_assert_eq(ivs_peer_open(address, NULL, &peer, &err), 0, "%s", err.text);
}

static void expect(int timeout_ms, enum ivs_event_type type, unsigned int id)
{
	struct ivs_event event = {0};

	cr_assert_eq(ivs_peer_next(peer, timeout_ms, &event), 0);
	cr_expect_eq(event.type, type);
	cr_expect_eq(event.id, id);
}

static void expect_nothing(void)
{
	struct ivs_event event;

	cr_expect_eq(ivs_peer_next(peer, 0, &event), IVS_PEER_E_TIMEOUT);
}

Test(peer_roster, without_a_page_there_is_no_roster)
{
	struct ivs_roster_info info;
	struct ivs_event event;

	open_peer();
	cr_expect_eq(ivs_peer_usable_len(peer), LEN);
	cr_expect_eq(ivs_peer_caps(peer), IVS_CAP_CACHED | IVS_CAP_WRITE);
	cr_expect_geq(ivs_peer_fd(peer), 0, "the region's file can change");
	cr_expect_eq(ivs_peer_next(peer, 0, &event), IVS_PEER_E_TIMEOUT);
	cr_expect_eq(ivs_peer_read_roster(peer, &info, NULL, 0), IVS_PEER_E_ABSENT);
	cr_expect_eq(ivs_peer_roster(peer, NULL, 0), 0);
}

Test(peer_roster, the_page_is_not_usable)
{
	open_page(252);
	open_peer();
	cr_expect_eq(ivs_peer_usable_len(peer), LEN - 4096);
	ivs_peer_close(peer);
	open_page(300);
	open_peer();
	cr_expect_eq(ivs_peer_usable_len(peer), LEN - 3 * 4096);
}

Test(peer_roster, peers_that_joined_earlier_and_later)
{
	unsigned int ids[4];

	open_page(252);
	join(3, 2);
	join(9, 1);
	open_peer();
	cr_expect_eq(ivs_peer_caps(peer), IVS_CAP_ROSTER | IVS_CAP_CACHED | IVS_CAP_WRITE);
	cr_expect_null(ivs_peer_cap_reason(peer, IVS_CAP_ROSTER));
	cr_expect_eq(ivs_peer_roster(peer, ids, 4), 0, "nothing has been reported yet");
	expect(0, IVS_EVENT_JOIN, 3);
	expect(0, IVS_EVENT_JOIN, 9);
	expect_nothing();
	leave(3);
	join(1, 2048);
	expect(0, IVS_EVENT_JOIN, 1);
	expect(0, IVS_EVENT_LEAVE, 3);
	expect_nothing();
	cr_assert_eq(ivs_peer_roster(peer, ids, 4), 2);
	cr_expect_eq(ids[0], 1);
	cr_expect_eq(ids[1], 9);
	cr_expect_eq(ivs_peer_vectors_of(peer, 1), 2048);
	cr_expect_eq(ivs_peer_vectors_of(peer, 3), 0);
	cr_expect_eq(ivs_peer_roster(peer, ids, 1), 2);
}

Test(peer_roster, another_peer_with_the_same_id_is_a_leave_and_a_join)
{
	open_page(252);
	join(3, 2);
	open_peer();
	expect(0, IVS_EVENT_JOIN, 3);
	leave(3);
	join(3, 2);
	expect(0, IVS_EVENT_LEAVE, 3);
	expect(0, IVS_EVENT_JOIN, 3);
	expect_nothing();
}

/* P-8: a change to the roster page ends a wait, even one in poll(2), although no peer rings. */
Test(peer_roster, a_change_ends_waiting)
{
	pid_t pid;

	open_page(252);
	open_peer();
	expect_nothing();
	pid = fork();
	cr_assert_geq(pid, 0);
	if (!pid) {
		usleep(50000);
		ivs_roster_page_writer_join(page, 5, 1, 0);
		_exit(ivs_roster_page_writer_flush(page) != 0);
	}
	expect(SOON_MS, IVS_EVENT_JOIN, 5);
	cr_assert_eq(waitpid(pid, NULL, 0), pid);
}

Test(peer_roster, a_change_makes_the_fd_readable)
{
	struct pollfd pfd = {.events = POLLIN};

	open_page(252);
	open_peer();
	expect_nothing();
	join(5, 1);
	pfd.fd = ivs_peer_fd(peer);
	cr_expect_eq(poll(&pfd, 1, SOON_MS), 1);
	expect(0, IVS_EVENT_JOIN, 5);
}

/* PROTOCOL.md, P-7 */
Test(peer_roster, the_end_of_a_server_and_the_next_server)
{
	open_page(252);
	join(3, 2);
	open_peer();
	expect(0, IVS_EVENT_JOIN, 3);
	ivs_roster_page_writer_finish(page);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
	expect(0, IVS_EVENT_SERVER_LOST, 0);
	expect_nothing();
	cr_expect_eq(ivs_peer_caps(peer), IVS_CAP_CACHED | IVS_CAP_WRITE);
	cr_expect_not_null(strstr(ivs_peer_cap_reason(peer, IVS_CAP_ROSTER), "has exited"));
	cr_expect_eq(ivs_peer_vectors_of(peer, 3), 2);
	open_page(100);
	join(3, 1);
	expect(0, IVS_EVENT_LEAVE, 3);
	expect(0, IVS_EVENT_JOIN, 3);
	expect_nothing();
	cr_expect_eq(ivs_peer_caps(peer), IVS_CAP_ROSTER | IVS_CAP_CACHED | IVS_CAP_WRITE);
}

Test(peer_roster, peers_of_a_server_that_has_ended_are_not_reported)
{
	struct ivs_roster_info info;
	struct ivs_roster_entry one;

	open_page(252);
	join(3, 2);
	ivs_roster_page_writer_finish(page);
	cr_assert_eq(ivs_roster_page_writer_flush(page), 0);
	open_peer();
	cr_expect_eq(ivs_peer_caps(peer), IVS_CAP_CACHED | IVS_CAP_WRITE);
	expect_nothing();
	cr_expect_eq(ivs_peer_usable_len(peer), LEN - 4096);
	cr_assert_eq(ivs_peer_read_roster(peer, &info, &one, 1), 0);
	cr_expect_not(info.maintained);
	cr_expect_eq(info.listed_n, 1);
	cr_expect_eq(one.id, 3);
}

Test(peer_roster, reading_is_sorted_and_bounded)
{
	struct ivs_roster_entry peers[3] = {[2] = {.id = 77}};
	struct ivs_roster_info info;

	open_page(4);
	for (unsigned int id = 6; id; id--)
		join(id, id);
	open_peer();
	cr_assert_eq(ivs_peer_read_roster(peer, &info, peers, 2), 0);
	cr_expect_eq(info.peers_n, 6);
	cr_expect_eq(info.listed_n, 4);
	cr_expect_eq(info.generation, 7);
	cr_expect(info.maintained);
	cr_expect_eq(peers[0].id, 3);
	cr_expect_eq(peers[0].vectors_n, 3);
	cr_expect_eq(peers[0].since, 5);
	cr_expect_eq(peers[1].id, 4);
	cr_expect_eq(peers[2].id, 77);
}

/* P-4, P-9: reading a half-written page is retried, then fails; a damaged page counts as absent. */
Test(peer_roster, half_written_or_damaged)
{
	struct ivs_roster_info info;
	uint8_t *header;

	open_page(252);
	join(3, 2);
	open_peer();
	expect(0, IVS_EVENT_JOIN, 3);
	header = (uint8_t *)ivs_peer_memory(peer, NULL) + LEN - 4096;
	header[IVS_ROSTER_PAGE_SEQUENCE_AT] |= 1;
	cr_expect_eq(ivs_peer_read_roster(peer, &info, NULL, 0), IVS_PEER_E_BUSY);
	expect_nothing();
	header[0] = 'X';
	cr_expect_eq(ivs_peer_read_roster(peer, &info, NULL, 0), IVS_PEER_E_ABSENT);
	expect_nothing();
	cr_expect_eq(ivs_peer_usable_len(peer), LEN - 4096, "the length at opening is kept");
	join(4, 2);
	expect(0, IVS_EVENT_JOIN, 4);
}
