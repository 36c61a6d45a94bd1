/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of channels between peers that ring each other and learn of joins and leaves, with a peer
 * API that this file supplies: which doorbells are rung, which peers count as alive, and what
 * other peers do between two accesses to shared words.
 */
#include <criterion/criterion.h>
#include <string.h>
#include <time.h>

#include "channel/queue.h"
#include "channel/shared.h"
#include "support/c/peer_stub.h"

#define PEERS_N 3
#define REGION_LEN (4096 + PEERS_N * 65536)
#define EVENTS_MAX 8

struct ivs_peer {
	int id;
	unsigned int caps;
	unsigned int rung;
	struct ivs_event events[EVENTS_MAX];
	unsigned int events_n;
	int failure; /* result of ivs_peer_next() if there is no event; 0: IVS_PEER_E_TIMEOUT */
	int64_t waited_ms;
};

static _Alignas(4096) uint8_t region[REGION_LEN];
static struct ivs_peer peers[PEERS_N];
static struct ivs_channels *channels[PEERS_N];
static struct ivs_queue *sender;
static struct ivs_queue *receiver;
static uint32_t connected; /* bitmap of the peers that a server has announced */
static const char *transport;
static unsigned int steps_left;
static void (*at_step)(void);

/* Run at_step() once: before access number @steps_left to a shared word, or when a peer sleeps. */
void ivs_shared_step(void)
{
	void (*run)(void) = at_step;

	if (!run || steps_left--)
		return;
	at_step = NULL;
	run();
}

void *ivs_peer_memory(const struct ivs_peer *peer, size_t *len)
{
	(void)peer;
	if (len)
		*len = REGION_LEN;
	return region;
}

size_t ivs_peer_usable_len(const struct ivs_peer *peer)
{
	(void)peer;
	return REGION_LEN;
}

unsigned int ivs_peer_caps(const struct ivs_peer *peer)
{
	return peer->caps;
}

const char *ivs_peer_transport(const struct ivs_peer *peer)
{
	(void)peer;
	return transport;
}

int ivs_peer_id(const struct ivs_peer *peer)
{
	return peer->id;
}

unsigned int ivs_peer_vectors(const struct ivs_peer *peer)
{
	(void)peer;
	return 1;
}

int ivs_peer_ring(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	(void)peer;
	if (id >= PEERS_N || vector || !(connected >> id & 1))
		return IVS_PEER_E_ABSENT;
	peers[id].rung++;
	return 0;
}

int ivs_doorbell_new(struct ivs_peer *peer, unsigned int id, unsigned int vector,
		     struct ivs_doorbell **out)
{
	(void)peer;
	(void)vector;
	(void)out;
	return connected >> id & 1 ? 0 : IVS_PEER_E_ABSENT;
}

int ivs_peer_read_roster(struct ivs_peer *peer, struct ivs_roster_info *out,
			 struct ivs_roster_entry *entries, unsigned int n)
{
	(void)peer;
	*out = (struct ivs_roster_info){.maintained = true};
	for (unsigned int id = 0; id < PEERS_N; id++) {
		if (connected >> id & 1 && out->listed_n < n)
			entries[out->listed_n++] = (struct ivs_roster_entry){.id = id};
		out->peers_n += connected >> id & 1;
	}
	return 0;
}

/* A claim that waits for another peer, which waits too, ends at once. */
int nanosleep(const struct timespec *time, struct timespec *left)
{
	(void)time;
	(void)left;
	return 0;
}

int ivs_peer_next(struct ivs_peer *peer, int timeout_ms, struct ivs_event *event)
{
	if (peer->events_n) {
		*event = peer->events[0];
		peer->events_n--;
		memmove(peer->events, peer->events + 1, peer->events_n * sizeof(*event));
		return 0;
	}
	if (peer->failure)
		return peer->failure;
	if (timeout_ms && !peer->rung && at_step) {
		steps_left = 0;
		ivs_shared_step();
	}
	if (peer->rung) {
		peer->rung = 0;
		*event = (struct ivs_event){.type = IVS_EVENT_DOORBELL};
		return 0;
	}
	peer->waited_ms += timeout_ms;
	return IVS_PEER_E_TIMEOUT;
}

static void add_event(unsigned int to, enum ivs_event_type type, unsigned int id)
{
	struct ivs_peer *peer = &peers[to];

	cr_assert_lt(peer->events_n, EVENTS_MAX);
	peer->events[peer->events_n++] = (struct ivs_event){.type = type, .id = id};
}

static void open_peer(unsigned int i)
{
	const struct ivs_channels_options opts = {IVS_CHANNEL_SECTION_OF_ID, PEERS_N, 0};
	struct ivs_error err;

	peers[i].id = (int)i;
	cr_assert_eq(ivs_channels_open(&peers[i], &opts, &channels[i], &err), 0, "%s", err.text);
}

static void open_all(void)
{
	memset(region, 0, sizeof(region));
	transport = "unix";
	connected = 7;
	sender = receiver = NULL;
	for (unsigned int i = 0; i < PEERS_N; i++) {
		peers[i] = (struct ivs_peer){.caps = IVS_CAP_ID | IVS_CAP_RING | IVS_CAP_WAIT |
						     IVS_CAP_ROSTER | IVS_CAP_CACHED |
						     IVS_CAP_WRITE};
		open_peer(i);
	}
}

static void close_all(void)
{
	at_step = NULL;
	ivs_queue_close(sender);
	ivs_queue_close(receiver);
	for (unsigned int i = 0; i < PEERS_N; i++)
		ivs_channels_close(channels[i]);
}

TestSuite(channel_peers, .init = open_all, .fini = close_all);

static void open_pair(uint32_t messages_n, uint32_t message_len)
{
	const struct ivs_queue_options opts = {messages_n, message_len};

	cr_assert_eq(ivs_queue_open_sender(channels[1], "q", &opts, &sender), 0);
	cr_assert_eq(ivs_queue_open_receiver(channels[2], "q", &receiver), 0);
}

static void send_number(struct ivs_queue *queue, uint64_t n)
{
	cr_assert_eq(ivs_queue_send(queue, &n, sizeof(n), 0), 0);
}

static int receive(struct ivs_queue *queue, uint64_t *n)
{
	size_t len;

	return ivs_queue_receive(queue, n, sizeof(*n), &len, 0);
}

static void expect_number(struct ivs_queue *queue, uint64_t expected)
{
	uint64_t n = 0;

	cr_assert_eq(receive(queue, &n), 0);
	cr_expect_eq(n, expected);
}

static int peek_and_release(struct ivs_queue *queue)
{
	const void *message;
	size_t len;
	int result = ivs_queue_peek(queue, &message, &len, 0);

	ivs_queue_release(queue);
	return result;
}

/* The peer's process was killed. */
static void kill_peer(unsigned int i)
{
	for (struct ivs_channel *channel = channels[i]->open, *next; channel; channel = next) {
		struct ivs_queue *queue = (struct ivs_queue *)channel;

		next = channel->next;
		if (!queue->sends)
			free(queue->receiver.inlets);
		free(queue);
	}
	ivs_presence_free(&channels[i]->presence);
	free(channels[i]);
	channels[i] = NULL;
	peers[i].rung = 0;
}

Test(channel_peers, release_of_the_last_message_rings_a_sender_that_flushes)
{
	open_pair(16, 8);
	send_number(sender, 1);
	ivs_outlet_set_sleeps(&sender->outlet, true);
	peers[1].rung = 0;
	expect_number(receiver, 1);
	cr_expect_eq(peers[1].rung, 1);
}

static void receive_one(void)
{
	expect_number(receiver, 0);
}

/* A receiver acts after each possible number of steps of a sender that waits for it. */
Test(channel_peers, wait_ends_when_a_full_queue_has_room)
{
	for (unsigned int step = 0; step < 40; step++) {
		open_pair(2, 8);
		send_number(sender, 0);
		send_number(sender, 1);
		cr_expect_eq(ivs_queue_send(sender, "", 1, 0), IVS_CHANNEL_E_TIMEOUT);
		peers[1].rung = 0;
		peers[1].waited_ms = 0;
		steps_left = step;
		at_step = receive_one;
		cr_expect_eq(ivs_channels_wait(channels[1], -1), 0);
		cr_expect_null(at_step);
		cr_expect_eq(peers[1].waited_ms, 0, "step %u: it is not rung", step);
		ivs_queue_close(sender);
		ivs_queue_close(receiver);
	}
	sender = receiver = NULL;
}

/* What one side does, without which the other would notice it only when it looks by itself. */
Test(channel_peers, each_change_rings_the_other_side)
{
	cr_assert_eq(ivs_queue_open_receiver(channels[2], "q", &receiver), 0);
	peers[2].rung = 0;
	cr_assert_eq(ivs_queue_open_sender(channels[1], "q", NULL, &sender), 0);
	cr_expect_eq(peers[2].rung, 1, "a new sender");
	peers[1].rung = 0;
	ivs_receiver_attach(&receiver->receiver);
	cr_expect_eq(peers[1].rung, 1, "a new reader");
	peers[2].rung = 0;
	send_number(sender, 1);
	cr_expect_eq(peers[2].rung, 1, "the sender has found its reader");
	expect_number(receiver, 1);
	ivs_receiver_set_sleeps(&receiver->receiver, true);
	peers[2].rung = 0;
	send_number(sender, 2);
	cr_expect_eq(peers[2].rung, 1, "a message");
	peers[2].rung = 0;
	ivs_queue_close(sender);
	cr_expect_eq(peers[2].rung, 1, "the end");
	ivs_queue_close(receiver);
	open_pair(4, 8);
	send_number(sender, 1);
	peers[1].rung = 0;
	ivs_queue_close(receiver);
	receiver = NULL;
	cr_expect_eq(peers[1].rung, 1, "the end of the receiver");
}

static struct ivs_queue *rival;
static unsigned int rival_peer;
static int rival_result;

static void open_rival(void)
{
	rival = NULL;
	rival_result = ivs_queue_open_receiver(channels[rival_peer], "q", &rival);
}

/* Another peer opens a receiver after each possible number of accesses of the first. */
Test(channel_peers, name_has_one_receiver)
{
	for (unsigned int first = 0; first <= 2; first += 2) {
		bool acted = true;

		for (unsigned int step = 0; acted; step++) {
			int result;

			rival_peer = 2 - first;
			steps_left = step;
			at_step = open_rival;
			result = ivs_queue_open_receiver(channels[first], "q", &receiver);
			acted = !at_step;
			at_step = NULL;
			if (acted)
				cr_expect(result || rival_result, "step %u: both receive", step);
			if (!result)
				ivs_queue_close(receiver);
			if (acted)
				ivs_queue_close(rival);
		}
	}
	receiver = NULL;
}

/* Publish a receiver that claims the name, as another program would. */
static void claim_name(unsigned int section, uint64_t position)
{
	struct ivs_endpoint_view view = {.state = {IVS_ROLE_QUEUE_RECEIVER, false, 5}, .name = "q"};
	void *memory = ivs_channels_own(channels[section]);

	ivs_endpoint_put(memory, 50, &view);
	ivs_shared_publish(ivs_section_endpoint(memory, 50) + IVS_ENDPOINT_POSITION, position);
}

Test(channel_peers, new_sender_rings_the_receiver_although_another_claims_the_name)
{
	cr_assert_eq(ivs_queue_open_receiver(channels[2], "q", &receiver), 0);
	claim_name(0, 0);
	peers[2].rung = 0;
	cr_assert_eq(ivs_queue_open_sender(channels[1], "q", NULL, &sender), 0);
	cr_expect_eq(peers[2].rung, 1);
}

Test(channel_peers, new_holder_rings_those_that_wait_for_the_former)
{
	open_pair(2, 8);
	send_number(sender, 1);
	send_number(sender, 2);
	ivs_outlet_set_sleeps(&sender->outlet, true);
	receiver = NULL;
	kill_peer(2);
	peers[1].rung = 0;
	open_peer(2);
	cr_expect_eq(peers[1].rung, 1);
	cr_expect_eq(ivs_queue_send(sender, "", 0, 0), IVS_CHANNEL_E_ENDED);
}

/* The sender is killed while the receiver copies; the next peer uses the same memory. */
static void take_over(void)
{
	const struct ivs_queue_options opts = {2, 184};
	uint8_t bytes[184];

	sender = NULL;
	kill_peer(1);
	open_peer(1);
	memset(bytes, 0xee, sizeof(bytes));
	cr_assert_eq(ivs_queue_open_sender(channels[1], "other", &opts, &sender), 0);
	cr_assert_eq(ivs_queue_send(sender, bytes, sizeof(bytes), 0), 0);
	cr_assert_eq(ivs_queue_send(sender, bytes, sizeof(bytes), 0), 0);
}

Test(channel_peers, receiver_gets_no_bytes_of_the_next_use_of_the_memory)
{
	uint8_t sent[120];
	uint8_t got[120] = {0};
	bool ended = false;
	size_t len;

	memset(sent, 0x11, sizeof(sent));
	for (unsigned int step = 0; step < 12; step++) {
		int result;

		open_pair(2, sizeof(sent));
		cr_assert_eq(ivs_queue_send(sender, sent, sizeof(sent), 0), 0);
		cr_assert_eq(ivs_queue_send(sender, sent, sizeof(sent), 0), 0);
		cr_assert_eq(ivs_queue_receive(receiver, got, sizeof(got), &len, 0), 0);
		steps_left = step;
		at_step = take_over;
		result = ivs_queue_receive(receiver, got, sizeof(got), &len, 0);
		at_step = NULL;
		ended = ended || result == IVS_CHANNEL_E_ENDED;
		cr_expect(result == IVS_CHANNEL_E_ENDED ||
				  (!result && !memcmp(got, sent, sizeof(sent))),
			  "step %u: %d, 0x%x", step, result, got[0]);
		ivs_queue_close(sender);
		ivs_queue_close(receiver);
	}
	sender = receiver = NULL;
	cr_expect(ended);
}

/* The receiver finds the sender's endpoint while another peer takes the section. */
static void restart_sender(void)
{
	const struct ivs_queue_options opts = {4, 8};

	sender = NULL;
	kill_peer(1);
	open_peer(1);
	cr_assert_eq(ivs_queue_open_sender(channels[1], "q", &opts, &sender), 0);
	send_number(sender, 1);
}

Test(channel_peers, endpoint_is_not_taken_for_one_of_the_former_life)
{
	bool acted = true;

	for (unsigned int step = 0; acted; step++) {
		unsigned int got = 0;
		uint64_t n;

		cr_assert_eq(ivs_queue_open_receiver(channels[2], "q", &receiver), 0);
		receiver->receiver.seen = 0;
		steps_left = step;
		at_step = restart_sender;
		ivs_receiver_attach(&receiver->receiver);
		acted = !at_step;
		at_step = NULL;
		for (unsigned int i = 0; i < 200; i++) {
			got += !(step % 2 ? receive(receiver, &n) : peek_and_release(receiver));
			ivs_receiver_attach(&receiver->receiver);
		}
		cr_expect_eq(got, acted, "step %u: the message was received %u times", step, got);
		ivs_queue_close(sender);
		sender = NULL;
		ivs_queue_close(receiver);
	}
	receiver = NULL;
}

static void attach_again(void)
{
	receiver->receiver.seen = 0;
	ivs_receiver_attach(&receiver->receiver);
}

/* The receiver looks for senders while another peer begins to hold the section. */
Test(channel_peers, endpoint_of_the_former_life_is_not_taken_for_one_of_the_next)
{
	bool acted = true;

	cr_assert_eq(ivs_queue_open_receiver(channels[2], "q", &receiver), 0);
	for (unsigned int step = 0; acted; step += 7) {
		cr_assert_eq(ivs_queue_open_sender(channels[1], "q", NULL, &sender), 0);
		kill_peer(1);
		sender = NULL;
		steps_left = step;
		at_step = attach_again;
		open_peer(1);
		acted = !at_step;
		at_step = NULL;
		for (unsigned int i = 0; i < receiver->receiver.inlets_n; i++)
			cr_assert_neq(receiver->receiver.inlets[i].writer_life, channels[1]->life);
	}
}

Test(channel_peers, peer_with_an_id_has_the_section_with_that_number)
{
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_channels *wrong = NULL;
	struct ivs_error err;

	opts.section = 2;
	cr_expect_eq(ivs_channels_open(&peers[1], &opts, &wrong, &err), IVS_CHANNEL_E_SECTION);
	cr_expect_neq(strlen(err.text), 0);
	opts.section = 1;
	ivs_channels_close(channels[1]);
	cr_expect_eq(ivs_channels_open(&peers[1], &opts, &channels[1], &err), 0);
}

Test(channel_peers, open_that_fails_leaves_the_section)
{
	struct ivs_channels *failed = NULL;

	ivs_channels_close(channels[1]);
	channels[1] = NULL;
	peers[1].failure = IVS_PEER_E_STOPPED;
	cr_expect_eq(ivs_channels_open(&peers[1], NULL, &failed, NULL), IVS_CHANNEL_E_PEER);
	cr_expect(ivs_section_get_holder(ivs_channels_at(channels[0], 1)).left);
}

/* The joins of the others were reported before. */
Test(channel_peers, channels_that_are_opened_again_see_the_others)
{
	static const char *const transports[] = {"unix", "driver"};

	for (unsigned int i = 0; i < 2; i++) {
		transport = transports[i];
		ivs_channels_close(channels[2]);
		open_peer(2);
		open_pair(4, 8);
		send_number(sender, 7);
		cr_assert_eq(ivs_channels_wait(channels[2], 0), 0);
		expect_number(receiver, 7);
		ivs_queue_close(sender);
		ivs_queue_close(receiver);
	}
	sender = receiver = NULL;
}

Test(channel_peers, peer_that_was_not_announced_is_dead)
{
	static const char *const transports[] = {"unix", "driver"};
	uint64_t n;

	for (unsigned int i = 0; i < 2; i++) {
		transport = transports[i];
		connected = 1 << 0 | 1 << 2;
		ivs_channels_close(channels[2]);
		open_peer(2);
		open_pair(4, 8);
		send_number(sender, 7);
		cr_expect_eq(receive(receiver, &n), IVS_CHANNEL_E_TIMEOUT);
		add_event(2, IVS_EVENT_JOIN, 1);
		cr_assert_eq(ivs_channels_wait(channels[2], 0), 0);
		ivs_receiver_attach(&receiver->receiver);
		expect_number(receiver, 7);
		ivs_queue_close(sender);
		ivs_queue_close(receiver);
	}
	sender = receiver = NULL;
}

/* The next peer with the id has no channels, so the section stays as the former one left it. */
Test(channel_peers, join_of_the_next_peer_does_not_hide_a_death)
{
	uint64_t n;

	open_pair(4, 8);
	cr_expect_eq(receive(receiver, &n), IVS_CHANNEL_E_TIMEOUT);
	cr_assert_eq(ivs_channels_wait(channels[2], 0), 0);
	add_event(2, IVS_EVENT_LEAVE, 1);
	add_event(2, IVS_EVENT_JOIN, 1);
	cr_assert_eq(ivs_channels_wait(channels[2], 0), 0);
	cr_expect_eq(receive(receiver, &n), IVS_CHANNEL_E_ENDED);
}

/* The leave is processed after the next peer with the same id has opened its channels. */
Test(channel_peers, peer_whose_join_comes_late_is_rung_then)
{
	open_pair(4, 8);
	connected = 3; /* peer 1 finds peer 2 before the server announces it */
	send_number(sender, 1);
	peers[2].rung = 0;
	connected = 7;
	add_event(1, IVS_EVENT_JOIN, 2);
	cr_expect(!ivs_channels_wait(channels[1], 0) && peers[2].rung == 1);
}

Test(channel_peers, late_leave_does_not_end_the_next_peer)
{
	uint64_t n;

	open_pair(4, 8);
	cr_expect_eq(receive(receiver, &n), IVS_CHANNEL_E_TIMEOUT);
	sender = NULL;
	kill_peer(1);
	open_peer(1);
	cr_assert_eq(ivs_queue_open_sender(channels[1], "q", NULL, &sender), 0);
	send_number(sender, 3);
	add_event(2, IVS_EVENT_LEAVE, 1);
	add_event(2, IVS_EVENT_JOIN, 1);
	cr_expect_eq(receive(receiver, &n), IVS_CHANNEL_E_ENDED);
	cr_assert_eq(ivs_channels_wait(channels[2], 0), 0);
	ivs_receiver_attach(&receiver->receiver);
	expect_number(receiver, 3);
}
