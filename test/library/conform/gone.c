/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The last cases of a run: the device, the server or the region's name is removed. The cases must
 * run in this order, and all of them use the peer that was open before the removal.
 */
#include <dirent.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "conform.h"

#define UNPLUG_MS 30000

/* Threads that are waiting during the removal: one for a vector, one for any event. */
struct waiter {
	struct conform *c;
	pthread_t thread;
	bool next;
	bool started;
	atomic_int tid;
	int result;
};

static struct waiter waiters[] = {{.next = false}, {.next = true}};

#define WAITERS_N (sizeof(waiters) / sizeof(*waiters))

static bool is_ivshmem(const char *bdf)
{
	char text[32] = "";
	char path[320];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/device", bdf);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(text, sizeof(text), file))
		*text = 0;
	fclose(file);
	return !strcmp(text, "0x1110\n");
}

/* Search sysfs for the device, because not every transport reports its removal. */
static bool device_is_there(void)
{
	DIR *dir = opendir("/sys/bus/pci/devices");
	const struct dirent *entry;
	bool found = false;

	while (dir && !found && (entry = readdir(dir)))
		found = is_ivshmem(entry->d_name);
	if (dir)
		closedir(dir);
	return found;
}

static void await_no_device(struct conform *c)
{
	int64_t end = conform_now_ms() + UNPLUG_MS;

	while (device_is_there()) {
		EXPECT(c, conform_now_ms() < end, "the device is still there");
		take_a_breath();
	}
}

static void await_taken(struct conform *c)
{
	int64_t end = conform_now_ms() + UNPLUG_MS;

	while (!c->mailbox->taken) {
		EXPECT(c, conform_now_ms() < end,
		       "the removal has not been reported to the partner");
		take_a_breath();
	}
}

/*
 * The transport sysfs cannot detect the removal, and Linux (6.1) leaves its mappings in place
 * although their addresses may now belong to another device or to none. So the cases must not
 * access them.
 */
static bool is_untouchable(const struct conform *c)
{
	return is_transport(c, "sysfs");
}

/* Return: whether the device disappears immediately. With vfio it remains until it is closed. */
static bool is_lost(const struct conform *c)
{
	return is_transport(c, "driver") || is_transport(c, "sysfs");
}

/* true once the change to the region's file has been reported */
static bool region_reported;

/*
 * Take events up to SERVER_LOST, skipping all other events. Return: 0 after SERVER_LOST,
 * otherwise the error of ivs_peer_next().
 */
static int next_but(struct conform *c, int timeout_ms, struct ivs_event *event)
{
	int result;

	do {
		result = ivs_peer_next(c->peer, timeout_ms, event);
		region_reported |= !result && event->type == IVS_EVENT_REGION;
	} while (!result && event->type != IVS_EVENT_SERVER_LOST);
	return result;
}

static void *wait_for_the_end(void *arg)
{
	struct waiter *waiter = arg;
	struct ivs_event event;

	waiter->tid = gettid();
	waiter->result = waiter->next ? next_but(waiter->c, UNPLUG_MS, &event)
				      : ivs_peer_wait(waiter->c->peer, 1, UNPLUG_MS);
	return NULL;
}

static void start_waiters(struct conform *c)
{
	for (size_t i = 0; i < WAITERS_N; i++) {
		waiters[i].c = c;
		EXPECT(c, !pthread_create(&waiters[i].thread, NULL, wait_for_the_end, &waiters[i]),
		       "cannot create a thread");
		waiters[i].started = true;
		while (!waiters[i].tid)
			take_a_breath();
		EXPECT_OK(conform_await_sleep(c, waiters[i].tid));
	}
}

/* A doorbell handle for the partner, created before the removal. */
static struct ivs_doorbell *handle;

static unsigned int partner_id(const struct conform *c)
{
	return c->partner >= 0 ? (unsigned int)c->partner : 0;
}

static void take_away(struct conform *c)
{
	if (can(c, IVS_CAP_RING))
		EXPECT_RESULT(c, ivs_doorbell_new(c->peer, partner_id(c), 0, &handle), 0);
	if (has_events(c))
		EXPECT_OK(conform_drain(c, c->peer, QUIET_MS));
	if (c->device && can(c, IVS_CAP_WAIT))
		start_waiters(c);
	c->gone = true;
	printf("conform: take it away\n");
	fflush(stdout);
	if (is_lost(c))
		await_no_device(c);
	else
		await_taken(c);
}

/* On the host doorbells outlive the server, whose exit does not end a wait for a vector. */
static void waited(struct conform *c)
{
	if (!c->device || !can(c, IVS_CAP_WAIT)) {
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 1, 0),
			      can(c, IVS_CAP_WAIT) ? IVS_PEER_E_TIMEOUT : IVS_PEER_E_UNSUPPORTED);
		return;
	}
	for (size_t i = 0; i < WAITERS_N; i++) {
		EXPECT(c, waiters[i].started, "the thread was not waiting");
		pthread_join(waiters[i].thread, NULL);
		EXPECT(c, waiters[i].result == IVS_PEER_E_DEVICE_GONE, "%s: expected GONE, got %s",
		       i ? "ivs_peer_next()" : "ivs_peer_wait()",
		       conform_result(waiters[i].result));
	}
}

static void waits(struct conform *c)
{
	if (!can(c, IVS_CAP_WAIT)) {
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, -1), IVS_PEER_E_UNSUPPORTED);
		return;
	}
	if (c->device) {
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), IVS_PEER_E_DEVICE_GONE);
		EXPECT_RESULT(c, ivs_peer_wait(c->peer, 1, 0), IVS_PEER_E_DEVICE_GONE);
		return;
	}
	EXPECT_OK(ask_ring(c, 0, 1));
	EXPECT_RESULT(c, ivs_peer_wait(c->peer, 0, LONG_MS), 0);
}

static void events(struct conform *c)
{
	struct ivs_event event;

	if (!has_events(c)) {
		EXPECT_RESULT(c, ivs_peer_next(c->peer, -1, &event), IVS_PEER_E_UNSUPPORTED);
		return;
	}
	if (c->device && !is_untouchable(c)) {
		EXPECT_RESULT(c, next_but(c, LONG_MS, &event), IVS_PEER_E_DEVICE_GONE);
		EXPECT_RESULT(c, ivs_peer_next(c->peer, 0, &event), IVS_PEER_E_DEVICE_GONE);
		return;
	}
	if (c->device)
		return; /* ivs_peer_next() would read the roster page, which is lost */
	if (can(c, IVS_CAP_ROSTER))
		EXPECT_RESULT(c, next_but(c, LONG_MS, &event), 0);
	EXPECT_RESULT(c, next_but(c, QUIET_MS, &event), IVS_PEER_E_TIMEOUT);
	EXPECT(c, !(ivs_peer_caps(c->peer) & IVS_CAP_ROSTER),
	       "the peer still has the capability ROSTER");
	EXPECT(c, ivs_peer_cap_reason(c->peer, IVS_CAP_ROSTER), "no reason for lacking ROSTER");
}

/* A server's region may have no name. */
static void region_changed(struct conform *c)
{
	unsigned int changes = ivs_peer_region_changes(c->peer);
	struct ivs_event event = {0};
	int result = 0;

	if (c->device) {
		EXPECT(c, !changes, "changes 0x%x were reported in a guest", changes);
		return;
	}
	EXPECT(c, changes == IVS_REGION_NAME_LOST || (is_transport(c, "unix") && !changes),
	       "changes 0x%x", changes);
	while (!result && changes && !region_reported) {
		result = ivs_peer_next(c->peer, LONG_MS, &event);
		region_reported |= !result && event.type == IVS_EVENT_REGION;
	}
	EXPECT(c, region_reported == !!changes, "changes 0x%x, event received: %d", changes,
	       region_reported);
	result = ivs_peer_next(c->peer, QUIET_MS, &event);
	EXPECT(c, result || event.type != IVS_EVENT_REGION, "the change was reported twice");
}

static void poll_fd(struct conform *c)
{
	struct pollfd pfd = {.fd = ivs_peer_fd(c->peer), .events = POLLIN};

	if (!has_events(c)) {
		EXPECT(c, pfd.fd == -1, "expected -1, got %d", pfd.fd);
		return;
	}
	EXPECT(c, pfd.fd >= 0, "the peer has no fd");
	if (c->device && !is_untouchable(c))
		EXPECT(c, poll(&pfd, 1, LONG_MS) == 1, "poll(2) timed out");
}

/* Check the @result of ringing the partner over a transport that can ring. */
static void check_ring(struct conform *c, int result)
{
	if (is_lost(c)) {
		EXPECT(c, result == IVS_PEER_E_DEVICE_GONE, "expected GONE, got %s",
		       conform_result(result));
		return;
	}
	/*
	 * With vfio the device remains until it is closed: ringing succeeds or reports the removal.
	 */
	EXPECT(c, !result || (c->device && result == IVS_PEER_E_DEVICE_GONE), "got %s",
	       conform_result(result));
	if (!c->device)
		EXPECT_OK(ask_rung(c, 0));
}

static void ring_partner(struct conform *c)
{
	int result = ivs_peer_ring(c->peer, partner_id(c), 0);

	if (can(c, IVS_CAP_RING))
		check_ring(c, result);
	else
		EXPECT_RESULT(c, result, IVS_PEER_E_UNSUPPORTED);
}

static void ring_handle(struct conform *c)
{
	if (can(c, IVS_CAP_RING))
		check_ring(c, ivs_doorbell_ring(handle));
	else
		EXPECT(c, !handle, "a handle was created");
}

static void ring_in_child(struct conform *c, void (*ring)(struct conform *c))
{
	int number;

	if (is_untouchable(c) && can(c, IVS_CAP_RING))
		return;
	number = conform_in_child(c, ring);
	EXPECT(c, !number, "the child was killed by %s", strsignal(number));
}

static void ring(struct conform *c)
{
	ring_in_child(c, ring_partner);
}

static void ring_earlier_handle(struct conform *c)
{
	ring_in_child(c, ring_handle);
	ivs_doorbell_free(handle);
}

static void touch(struct conform *c)
{
	volatile uint8_t *at = c->memory + SCRATCH_AT;

	*at = 1;
	(void)*at;
}

static void memory(struct conform *c)
{
	uint64_t first;
	int number;

	if (is_untouchable(c))
		return;
	/*
	 * With the driver, all pages are now mapped to one page of zeroes: read all of them before
	 * writing to any.
	 */
	for (size_t i = 0; i < c->size && is_transport(c, "driver"); i++)
		EXPECT(c, !c->memory[i], "expected 0 at %zu, got %u", i, c->memory[i]);
	number = conform_in_child(c, touch);
	EXPECT(c, !number, "the child was killed by %s", strsignal(number));
	if (is_transport(c, "driver"))
		return;
	EXPECT_OK(ASK(c, ASK_WRITE, {LARGE_AT, MIB, 70}));
	EXPECT(c, !pattern_check(c->memory + LARGE_AT, MIB, 70, &first),
	       "the memory differs from what was written");
}

static void stays(struct conform *c)
{
	int id = ivs_peer_id(c->peer);
	size_t len;

	EXPECT(c, ivs_peer_memory(c->peer, &len) == c->memory && len == c->size,
	       "the memory has changed");
	EXPECT(c, (id >= 0) == can(c, IVS_CAP_ID), "the id is %d", id);
	EXPECT(c, !strcmp(ivs_peer_transport(c->peer), c->transport), "the transport has changed");
	EXPECT(c, ivs_peer_describe(c->peer), "there is no description");
}

static void closed(struct conform *c)
{
	if (!is_lost(c))
		ask_begin(c, &(const struct ask){ASK_QUIT, {0}});
	conform_close(c);
	if (c->device)
		await_no_device(c);
}

static void open_again(struct conform *c)
{
	const struct ivs_peer_options opts = {.timeout_ms = 1000};
	struct ivs_error err = {""};
	int result = conform_open(c, c->address, &opts, NULL, &err);

	EXPECT(c, result == IVS_PEER_E_ABSENT, "expected ABSENT, got %s: %s",
	       conform_result(result), err.text);
	EXPECT(c, *err.text, "the error has no text");
}

const struct conform_case gone_cases[] = {
	{"gone: the device, the server or the name is removed", take_away},
	{"gone: threads that were waiting", waited},
	{"gone: waiting for a vector", waits},
	{"gone: waiting for any event", events},
	{"gone: a change to the region's file", region_changed},
	{"gone: the fd for poll(2)", poll_fd},
	{"gone: ringing", ring},
	{"gone: ringing through a handle created before the removal", ring_earlier_handle},
	{"gone: the memory", memory},
	{"gone: the getters", stays},
	{"gone: closing the peer", closed},
	{"gone: opening the address again", open_again},
	{0},
};
