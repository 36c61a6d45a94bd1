/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A writer puts messages into the region and rings all readers, which print them.
 *
 *   one-to-many read unix:/tmp/ivshmem_socket          any number of readers
 *   date | one-to-many write unix:/tmp/ivshmem_socket  each line is a message
 *   one-to-many read pci:                              in a guest
 *   date | one-to-many write pci: 0 1 2                in a guest; 0 1 2 are the ids of the
 *                                                      readers, which are not needed with
 *                                                      ivshmem-server --roster
 *
 * The writer never waits. A reader that starts late or is slow prints only the last 64 messages and
 * the number of messages that it missed. Run only one writer at a time.
 *
 * Readers do not trust the region: they copy and check each number before they use it, and read at
 * most 64 cells before they wait again. So a hostile peer can make readers print nonsense, but
 * cannot make them hang or read outside the region.
 */
#include <ctype.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ivshmem/peer.h>

#define CELLS_N 64
#define WORDS_N 30
#define TEXT_LEN (WORDS_N * sizeof(uint64_t))
#define LOOK_MS 1000 /* read at least this often, because peers can consume doorbells */

/*
 * Each run of the writer starts a new generation, whose messages are numbered from 1. A message is
 * identified by its stamp, which holds generation and number in one word, so that both are read and
 * written together.
 */
#define STAMP(generation, number) ((uint64_t)(generation) << 32 | (uint32_t)(number))
#define GENERATION(stamp) ((uint32_t)((stamp) >> 32))
#define NUMBER(stamp) ((uint32_t)(stamp))

/*
 * A message protected by a seqlock: a copy is valid if the stamp is the same before and after
 * copying.
 */
struct cell {
	_Atomic uint64_t stamp; /* 0 while the cell is being written */
	_Atomic uint64_t len;
	_Atomic uint64_t words[WORDS_N];
};

struct board {
	_Atomic uint64_t latest;		  /* the stamp of the newest message */
	_Alignas(256) struct cell cells[CELLS_N]; /* message N is in cell N % CELLS_N */
};
_Static_assert(sizeof(struct cell) == 256, "the layout is the same for every peer");

static int fail(const char *what)
{
	fprintf(stderr, "one-to-many: %s\n", what);
	return 1;
}

static void board_put(struct board *board, uint64_t stamp, const char *text)
{
	struct cell *cell = &board->cells[NUMBER(stamp) % CELLS_N];
	uint64_t words[WORDS_N] = {0};
	size_t len = strnlen(text, TEXT_LEN);

	memcpy(words, text, len);
	atomic_store_explicit(&cell->stamp, 0, memory_order_relaxed);
	atomic_thread_fence(memory_order_release); /* make 0 visible before the stores below */
	for (size_t i = 0; i < WORDS_N; i++)
		atomic_store_explicit(&cell->words[i], words[i], memory_order_relaxed);
	atomic_store_explicit(&cell->len, len, memory_order_relaxed);
	atomic_store_explicit(&cell->stamp, stamp, memory_order_release);
	atomic_store_explicit(&board->latest, stamp, memory_order_release);
}

/*
 * Copy the message with this stamp to @text, which has TEXT_LEN + 1 bytes. Return: false if the
 * message has been overwritten.
 */
static bool board_get(struct board *board, uint64_t stamp, char *text)
{
	struct cell *cell = &board->cells[NUMBER(stamp) % CELLS_N];
	uint64_t words[WORDS_N];
	uint64_t len;

	if (atomic_load_explicit(&cell->stamp, memory_order_acquire) != stamp)
		return false;
	for (size_t i = 0; i < WORDS_N; i++)
		words[i] = atomic_load_explicit(&cell->words[i], memory_order_relaxed);
	len = atomic_load_explicit(&cell->len, memory_order_relaxed);
	atomic_thread_fence(
		memory_order_acquire); /* read the stamp again only after the loads above */
	if (atomic_load_explicit(&cell->stamp, memory_order_relaxed) != stamp || len > TEXT_LEN)
		return false;
	memcpy(text, words, len);
	text[len] = 0;
	for (char *c = text; *c; c++)
		*c = isprint((unsigned char)*c) ? *c : '?'; /* print no terminal escape sequences */
	return true;
}

/* Receive joins and leaves, then ring the peers in @names or, if @names is empty, all peers. */
static int ring_readers(struct ivs_peer *peer, char **names)
{
	static unsigned int ids[65536];
	struct ivs_event event;
	unsigned int ids_n = 0;
	int result;

	while (!(result = ivs_peer_next(peer, 0, &event)))
		continue;
	if (result == IVS_PEER_E_DEVICE_GONE)
		return fail(ivs_peer_strerror(result));
	for (; *names && ids_n < 65536; names++)
		ids[ids_n++] = (unsigned int)strtoul(*names, NULL, 10);
	if (!ids_n)
		ids_n = ivs_peer_roster(peer, ids, 65536);
	/* Ignore positive results: the peer has left, or has no vectors. */
	for (unsigned int i = 0; i < ids_n && result >= 0; i++)
		result = ivs_peer_ring(peer, ids[i], 0);
	return result < 0 ? fail(ivs_peer_strerror(result)) : 0;
}

static int write_messages(struct ivs_peer *peer, struct board *board, char **names)
{
	uint32_t generation = GENERATION(atomic_load(&board->latest)) + 1, number = 0;
	char line[TEXT_LEN + 1];

	if (ivs_peer_cap_reason(peer, IVS_CAP_RING))
		return fail(ivs_peer_cap_reason(peer, IVS_CAP_RING));
	if (!*names && ivs_peer_cap_reason(peer, IVS_CAP_ROSTER))
		return fail("name the peers to ring: without a roster they are unknown");
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		board_put(board, STAMP(generation, ++number), line);
		if (ring_readers(peer, names))
			return 1;
	}
	printf("one-to-many: wrote %u messages\n", number);
	return 0;
}

/* Print the messages that are newer than the one with the stamp *@seen, and update *@seen. */
static void print_messages(struct board *board, uint64_t *seen)
{
	uint64_t latest = atomic_load_explicit(&board->latest, memory_order_acquire);
	uint32_t number = GENERATION(latest) == GENERATION(*seen) ? NUMBER(*seen) : 0;
	uint32_t lost = 0;
	char text[TEXT_LEN + 1];

	if (NUMBER(latest) < number)
		number = 0; /* within a generation, numbers decrease only if the writer is faulty */
	if (NUMBER(latest) - number > CELLS_N)
		lost = NUMBER(latest) - number - CELLS_N;
	number += lost;
	while (number != NUMBER(latest)) {
		if (board_get(board, STAMP(GENERATION(latest), ++number), text))
			printf("%u: %s\n", number, text);
		else
			lost++; /* this one has been overwritten */
	}
	if (lost)
		printf("one-to-many: missed %u messages\n", lost);
	*seen = latest;
}

static int read_messages(struct ivs_peer *peer, struct board *board)
{
	uint64_t seen = 0;
	int result;

	if (ivs_peer_cap_reason(peer, IVS_CAP_WAIT))
		return fail(ivs_peer_cap_reason(peer, IVS_CAP_WAIT));
	do {
		print_messages(board, &seen);
		result = ivs_peer_wait(peer, 0, LOOK_MS);
	} while (!result || result == IVS_PEER_E_TIMEOUT || result == -EINTR);
	return fail(ivs_peer_strerror(result));
}

int main(int argc, char **argv)
{
	bool help = argc == 2 && !strcmp(argv[1], "--help");
	bool reads = argc == 3 && !strcmp(argv[1], "read");
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	if (help || !(reads || (argc >= 3 && !strcmp(argv[1], "write")))) {
		fputs("usage: one-to-many read ADDRESS | write ADDRESS [PEER]... < LINES\n",
		      help ? stdout : stderr);
		return help ? 0 : 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (ivs_peer_open(argv[2], NULL, &peer, &err))
		return fail(err.text);
	if (ivs_peer_usable_len(peer) < sizeof(struct board))
		status = fail("the region is too small");
	else if (reads)
		status = read_messages(peer, ivs_peer_memory(peer, NULL));
	else
		status = write_messages(peer, ivs_peer_memory(peer, NULL), argv + 3);
	ivs_peer_close(peer);
	return status;
}
