/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The suite's partner: a peer on the host that serves the requests in the mailbox, and opens and
 * closes further peers. Without a server its peers can only access the memory.
 */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>

#include <ivshmem/peer.h>

#include "partner.h"

#define SLOTS_MAX 8
#define KNOWS_MS 10000
#define LOOK_MS 20
#define LIFE_S 300 /* longer than the suite runs */

struct slot {
	struct ivs_peer *peer;
	struct partner_channels channels;
	bool rung[VECTORS_MAX]; /* vectors whose doorbells look_around() has read */
};

struct partner {
	const char *address;
	struct slot slots[SLOTS_MAX];
	uint8_t *memory;
	struct mailbox *mailbox;
};

static volatile sig_atomic_t taken;

static void on_taken(int number)
{
	(void)number;
	taken = 1;
}

void take_a_breath(void)
{
	const struct timespec breath = {.tv_nsec = 100000};

	nanosleep(&breath, NULL);
}

void pattern_write(volatile uint8_t *at, uint64_t len, uint64_t seed)
{
	for (uint64_t i = 0; i < len; i++)
		at[i] = pattern_byte(seed, i);
}

uint64_t pattern_check(const volatile uint8_t *at, uint64_t len, uint64_t seed, uint64_t *first)
{
	uint64_t wrong = 0;

	for (uint64_t i = 0; i < len; i++) {
		if (at[i] == pattern_byte(seed, i))
			continue;
		if (!wrong++)
			*first = i;
	}
	return wrong;
}

void topic_message_write(void *at, size_t len, uint64_t number)
{
	uint64_t *words = at;

	words[0] = number;
	words[1] = len;
	pattern_write((uint8_t *)(words + 2), len - 2 * sizeof(*words), number);
}

int64_t topic_message_number(const void *at, size_t len)
{
	const uint64_t *words = at;
	uint64_t first;

	if (len < 2 * sizeof(*words) || words[1] != len ||
	    pattern_check((const uint8_t *)(words + 2), len - 2 * sizeof(*words), words[0], &first))
		return -1;
	return (int64_t)words[0];
}

void partner_sleep_ms(uint64_t ms)
{
	const struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};

	nanosleep(&time, NULL);
}

/* Take an event, so that the peer learns of joins and leaves; remember a doorbell for take(). */
static void look_around(struct slot *slot, int timeout_ms)
{
	struct ivs_event event;
	int result;

	if (slot->channels.channels) { /* they process the peer's events */
		/* Unlike ivs_channels_wait() with a time limit of 0, this offers streams. */
		(void)!ivs_channels_begin_wait(slot->channels.channels, &timeout_ms);
		(void)!ivs_channels_end_wait(slot->channels.channels);
		return;
	}
	result = ivs_peer_next(slot->peer, timeout_ms, &event);

	if (!result && event.type == IVS_EVENT_DOORBELL && event.vector < VECTORS_MAX)
		slot->rung[event.vector] = true;
}

/*
 * Wait until the slot's peer knows peer @id with at least @min and at most @max vectors. Return:
 * the number of vectors that it knows.
 */
static unsigned int knows(struct slot *slot, unsigned int id, unsigned int min, unsigned int max)
{
	unsigned int n = ivs_peer_vectors_of(slot->peer, id);

	for (unsigned int ms = 0; (n < min || n > max) && ms < KNOWS_MS; ms += LOOK_MS) {
		look_around(slot, LOOK_MS);
		n = ivs_peer_vectors_of(slot->peer, id);
	}
	return n;
}

static int64_t ring(struct partner *partner, struct slot *slot)
{
	unsigned int id = (unsigned int)partner->mailbox->args[1];
	unsigned int vector = (unsigned int)partner->mailbox->args[2];
	int result = 0;

	knows(slot, id, vector + 1, VECTORS_MAX);
	partner_sleep_ms(partner->mailbox->args[4]);
	for (uint64_t i = 0; i < partner->mailbox->args[3] && !result; i++)
		result = ivs_peer_ring(slot->peer, id, vector);
	return result;
}

static int64_t take(struct partner *partner, struct slot *slot)
{
	unsigned int vector = (unsigned int)partner->mailbox->args[1];
	int result;

	if (vector < VECTORS_MAX && slot->rung[vector]) {
		slot->rung[vector] = false;
		return 0;
	}
	do {
		result = ivs_peer_wait(slot->peer, vector, (int)partner->mailbox->args[2]);
	} while (result == -EINTR);
	return result;
}

static void leave(struct slot *slot)
{
	partner_channels_abandon(&slot->channels);
	ivs_peer_close(slot->peer);
	*slot = (struct slot){0};
}

static void join(struct partner *partner, struct slot *slot)
{
	struct mailbox *mailbox = partner->mailbox;
	struct ivs_error err;

	leave(slot);
	mailbox->results[0] = ivs_peer_open(partner->address, NULL, &slot->peer, &err);
	mailbox->results[1] = slot->peer ? ivs_peer_id(slot->peer) : -1;
	mailbox->results[2] = slot->peer ? ivs_peer_vectors(slot->peer) : 0;
	if (!slot->peer)
		fprintf(stderr, "partner: %s\n", err.text);
}

static void add(struct partner *partner)
{
	_Atomic uint64_t *counter = (_Atomic uint64_t *)(void *)(partner->memory +
								 partner->mailbox->args[0]);

	for (uint64_t i = 0; i < partner->mailbox->args[1]; i++)
		(*counter)++;
}

static void hello(struct partner *partner)
{
	struct mailbox *mailbox = partner->mailbox;
	size_t len;

	ivs_peer_memory(partner->slots[0].peer, &len);
	mailbox->results[0] = ivs_peer_id(partner->slots[0].peer);
	mailbox->results[1] = ivs_peer_vectors(partner->slots[0].peer);
	mailbox->results[2] = (int64_t)len;
}

static void check(struct partner *partner)
{
	struct mailbox *mailbox = partner->mailbox;
	uint64_t first = 0;

	mailbox->results[0] = (int64_t)pattern_check(partner->memory + mailbox->args[0],
						     mailbox->args[1], mailbox->args[2], &first);
	mailbox->results[1] = (int64_t)first;
}

/* Serve the request in the mailbox. Return: false after ASK_QUIT. */
static bool answer(struct partner *partner)
{
	struct mailbox *mailbox = partner->mailbox;
	struct slot *slot = &partner->slots[mailbox->args[0] % SLOTS_MAX];

	switch ((enum request)mailbox->request) {
	case ASK_HELLO:
		hello(partner);
		return true;
	case ASK_WRITE:
		pattern_write(partner->memory + mailbox->args[0], mailbox->args[1],
			      mailbox->args[2]);
		return true;
	case ASK_CHECK:
		check(partner);
		return true;
	case ASK_ADD:
		add(partner);
		return true;
	case ASK_RING:
		mailbox->results[0] = ring(partner, slot);
		return true;
	case ASK_TAKE:
		mailbox->results[0] = take(partner, slot);
		mailbox->results[1] = (int64_t) * (_Atomic uint64_t *)(void *)(partner->memory +
									       mailbox->args[3]);
		return true;
	case ASK_JOIN:
		join(partner, slot);
		return true;
	case ASK_LEAVE:
		leave(slot);
		return true;
	case ASK_KNOWS:
		mailbox->results[0] = knows(&partner->slots[0], (unsigned int)mailbox->args[0],
					    (unsigned int)mailbox->args[1],
					    (unsigned int)mailbox->args[1]);
		return true;
	case ASK_QUIT:
		return false;
	default:
		partner_channels_answer(&slot->channels, slot->peer, mailbox);
		return true;
	}
}

/* Keep reading events: a server that exits sends nothing more to a client whose socket is full. */
static void idle(struct partner *partner)
{
	for (unsigned int i = 0; i < SLOTS_MAX; i++) {
		if (partner->slots[i].peer)
			look_around(&partner->slots[i], 0);
	}
	take_a_breath();
}

static void serve(struct partner *partner)
{
	struct mailbox *mailbox = partner->mailbox;
	time_t end = time(NULL) + LIFE_S;
	bool more = true;

	mailbox->ready = MAILBOX_READY;
	while (more && time(NULL) < end) {
		uint32_t asked = mailbox->asked;

		mailbox->taken = (uint32_t)taken;
		if (asked == mailbox->answered) {
			idle(partner);
			continue;
		}
		more = answer(partner);
		mailbox->answered = asked;
	}
}

int partner_run(const char *address)
{
	const struct sigaction on_usr1 = {.sa_handler = on_taken, .sa_flags = SA_RESTART};
	struct partner partner = {.address = address};
	struct ivs_error err;
	size_t len;

	sigaction(SIGUSR1, &on_usr1, NULL);
	if (ivs_peer_open(address, NULL, &partner.slots[0].peer, &err)) {
		fprintf(stderr, "partner: %s\n", err.text);
		return 1;
	}
	partner.memory = ivs_peer_memory(partner.slots[0].peer, &len);
	if (len < REGION_MIN) {
		fprintf(stderr, "partner: the region has %zu bytes, at least %lu are needed\n", len,
			REGION_MIN);
		return 1;
	}
	partner.mailbox = (struct mailbox *)(void *)(partner.memory + MAILBOX_AT);
	printf("partner: ready\n");
	fflush(stdout);
	serve(&partner);
	for (unsigned int i = 0; i < SLOTS_MAX; i++)
		leave(&partner.slots[i]);
	return 0;
}
