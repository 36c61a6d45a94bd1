/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Senders that are killed, and others that begin with the same id, simulated as in simulation.c.
 *
 *   restarts [--runs N] [--seed N]
 *
 * A sender opens several queues one after the other, and closes some at once. It may be killed
 * between any two accesses to shared words, and another may begin with its id, also if no server
 * says so. The receiver gets every message of each queue once, in order and complete, until the
 * sender closes the queue or is killed. No peer sleeps forever while there is work for it. In half
 * of the runs a hostile peer rewrites words: then the others must end.
 */
#include <stdbool.h>
#include <stdint.h>

#define PROGRAM "restarts"
#define PEERS_N 3
#define LIVES_N (PEERS_N + 1)
#define QUEUES_N 3   /* that a sender opens one after another */
#define MESSAGES_N 5 /* of each queue */
#define NAPS_MAX 200

/**
 * struct peer_work - what a peer does
 * @next_from: receiver: number of the next message of each queue of each life
 * @got_from:  receiver: number of messages of each life
 * @sent:      sender: number of messages of each queue
 */
struct peer_work {
	struct ivs_queue *queue;
	uint32_t next_from[LIVES_N][QUEUES_N];
	uint32_t got_from[LIVES_N];
	uint32_t sent[QUEUES_N];
};

#include "unit/channel/simulated_peers.h"

static bool lazy; /* the receiver does not use its queue after the last message */

/* What the peers do */

struct message {
	uint16_t life;
	uint16_t queue;
	uint32_t number;
	uint64_t check[6];
};

static struct message make_message(unsigned int life, unsigned int queue, uint32_t number)
{
	struct message message = {(uint16_t)life, (uint16_t)queue, number, {0}};

	for (unsigned int i = 0; i < 6; i++)
		message.check[i] = (number + 1) * UINT64_C(0x9e3779b97f4a7c15) + i;
	return message;
}

/* In half of the runs, without a blocking call. */
static int send_message(struct ivs_peer *peer, const struct message *message)
{
	int result;

	if (sim.seed % 2)
		return ivs_queue_send(peer->work.queue, message, sizeof(*message), -1);
	while ((result = ivs_queue_send(peer->work.queue, message, sizeof(*message), 0)) ==
		       IVS_CHANNEL_E_TIMEOUT &&
	       !sim.over) {
		result = ivs_channels_wait(peer->channels, -1);
		if (result)
			break;
	}
	return result;
}

/* What was sent arrives even if the queue is closed at once, once it has a receiver. */
static int run_queue(struct ivs_peer *peer, unsigned int queue)
{
	const struct ivs_queue_options opts = {2u << random_below(4), sizeof(struct message)};
	int result = ivs_queue_open_sender(peer->channels, "queue", &opts, &peer->work.queue);

	for (uint32_t i = 0; !result && i < MESSAGES_N; i++) {
		struct message message = make_message((unsigned int)(peer - sim.peers), queue, i);

		result = send_message(peer, &message);
		peer->work.sent[queue] += !result;
	}
	if (!result && (random_below(2) || !ivs_queue_peers(peer->work.queue)))
		result = ivs_queue_flush(peer->work.queue, -1);
	ivs_queue_close(peer->work.queue);
	peer->work.queue = NULL;
	return result;
}

static void run_sender(struct ivs_peer *peer)
{
	int result = 0;

	for (unsigned int queue = 0; queue < QUEUES_N && !result; queue++)
		result = run_queue(peer, queue);
	if (result && !sim.hostile && !sim.over)
		fail("a sender failed");
}

static void check_message(struct ivs_peer *peer, const struct message *got, size_t len)
{
	struct message expected;

	if (len != sizeof(*got) || got->life >= LIVES_N || got->queue >= QUEUES_N) {
		fail("a message is not one that was sent");
		return;
	}
	expected = make_message(got->life, got->queue,
				peer->work.next_from[got->life][got->queue]++);
	peer->work.got_from[got->life]++;
	if (memcmp(got, &expected, sizeof(expected)))
		fail("a message is torn, lost, doubled or out of order");
}

static bool has_all(const struct ivs_peer *peer, unsigned int life)
{
	return peer->work.got_from[life] == QUEUES_N * MESSAGES_N;
}

/* @dead: peer 0 is known to be dead, and what it has sent has been received */
static bool is_satisfied(const struct ivs_peer *peer, bool dead)
{
	return has_all(peer, 1) && (dead || has_all(peer, 0)) &&
	       (has_all(peer, LIVES_N - 1) || (!sim.restarts && !sim.peers[LIVES_N - 1].joined));
}

/* The senders must not need the receiver any more. */
static void be_lazy(void)
{
	for (unsigned int i = 0; i < 100000 && !sim.over; i++) {
		bool all = true;

		for (unsigned int life = 0; life < LIVES_N; life++)
			all = all && (life == PEERS_N - 1 || sim.peers[life].ended ||
				      sim.peers[life].killed);
		if (all)
			return;
		yield();
	}
	if (!sim.over)
		fail("a sender sleeps although everything was received");
}

static void run_receiver(struct ivs_peer *peer)
{
	int result = ivs_queue_open_receiver(peer->channels, "queue", &peer->work.queue);
	unsigned int failures = 0;
	bool dead = false;

	while (!result && !sim.over && !is_satisfied(peer, dead)) {
		struct message message;
		size_t len;

		/* Wait for anything, also for the death of a sender that has no queue yet. */
		dead = sim.peers[0].left;
		if (!dead || !has_all(peer, 1) || sim.restarts || sim.peers[LIVES_N - 1].joined)
			result = ivs_channels_wait(peer->channels, -1);
		while (!result && !sim.over) {
			result = ivs_queue_receive(peer->work.queue, &message, sizeof(message),
						   &len, 0);
			if (!result && !sim.hostile)
				check_message(peer, &message, len);
		}
		if (result == IVS_CHANNEL_E_ENDED || result == IVS_CHANNEL_E_TIMEOUT ||
		    (sim.hostile && result == IVS_CHANNEL_E_BROKEN && ++failures < 8))
			result = 0;
	}
	if (result && !sim.hostile && !sim.over)
		fail("the receiver failed");
	if (lazy && !sim.over && !sim.hostile)
		be_lazy();
	ivs_queue_close(peer->work.queue);
	peer->work.queue = NULL;
}

/* Runs */

static void check_end(void)
{
	const struct peer_work *receiver = &sim.peers[PEERS_N - 1].work;

	if (sim.hostile)
		return;
	check_that_all_ended();
	/*
	 * The queue of a sender that dies before the receiver finds it is lost, and what is left in
	 * it when another peer takes the section.
	 */
	for (unsigned int i = 0; i < QUEUES_N && !sim.peers[LIVES_N - 1].joined; i++) {
		if (receiver->next_from[0][i] &&
		    receiver->next_from[0][i] < sim.peers[0].work.sent[i])
			fail("messages of a killed sender were lost");
	}
}

static void run_once(unsigned long seed, bool hostile)
{
	begin_run(seed, hostile);
	sim.naps_max = NAPS_MAX;
	sim.kill_at = random_below(2) ? 1 + random_below(8000) : 0;
	/* A hostile peer can make the receiver end before another sender begins. */
	sim.restarts = sim.kill_at && !hostile && random_below(2);
	sim.silent = sim.restarts && random_below(2);
	lazy = random_below(2);
	for (unsigned int i = 0; i < LIVES_N; i++)
		start_peer(i, i == PEERS_N - 1 ? run_receiver : run_sender);
	schedule();
	check_end();
	end_run();
}

int main(int argc, char **argv)
{
	return simulate(argc, argv, 1000, run_once);
}
