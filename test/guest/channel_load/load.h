/* SPDX-License-Identifier: BSD-3-Clause */
/* channel-load: see main.c. */
#ifndef CHANNEL_LOAD_H
#define CHANNEL_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <ivshmem/channel.h>

#define LETTERS "abh"
#define LETTERS_N 3
#define NAME_MAX_LEN 64
#define RECORD_WORDS 11
#define RECORD_MIN 24
#define NO_NUMBER UINT64_MAX
#define DIGEST_START UINT64_C(0xcbf29ce484222325)

/** struct record - a message: its number, then bytes that depend on its number, sender, receiver */
struct record {
	uint64_t words[RECORD_WORDS];
};

/**
 * struct topic_message - what is published
 * @sum:    digest of the other members
 * @seq:    counts all messages that were published
 * @number: of the record, or NO_NUMBER: the message has only acknowledgements
 * @acks:   for each letter: 0 if nothing was received from that peer, otherwise 1 + number of the
 *          next record
 */
struct topic_message {
	uint64_t sum;
	uint64_t seq;
	uint64_t number;
	uint64_t acks[LETTERS_N];
	struct record record;
};

/** struct tally - records in one direction; @n: their number */
struct tally {
	uint64_t n;
	uint64_t digest;
};

/** struct bytes - of a stream; those before @at have been written, or checked */
struct bytes {
	char data[4096];
	size_t at;
	size_t end;
};

/** struct flow - both directions between this peer and another one */
struct flow {
	char peer;
	struct tally out;
	struct tally in;
	bool out_ended;
	bool in_ended;
	struct ivs_queue *sender;
	struct ivs_queue *receiver;
	struct ivs_stream_listener *listener;
	struct ivs_stream *stream;
	struct bytes written;
	struct bytes read;
	struct ivs_topic *subscriber;
	uint64_t first_seq;
	uint64_t got;	   /* messages of the subscriber */
	uint64_t next;	   /* number of the next record of the subscriber */
	uint64_t acked;	   /* by the other side */
	uint64_t reported; /* what this side has acknowledged last */
};

struct load {
	const struct kind *kind;
	char name[NAME_MAX_LEN];
	uint64_t count; /* UINT64_MAX: endless */
	struct flow flows[LETTERS_N - 1];
	unsigned int flows_n;
	struct ivs_topic *publisher;
	uint64_t seq;
	bool ran;
	bool done;
	struct timespec began;
};

/**
 * struct kind - how records are passed
 * @send, @receive: pass a record, or return a result
 * @settle: after the last record; return: 0 if the flow is done, otherwise IVS_CHANNEL_E_TIMEOUT
 */
struct kind {
	const char *name;
	void (*open)(struct load *load, struct flow *flow);
	int (*send)(struct load *load, struct flow *flow);
	int (*receive)(struct load *load, struct flow *flow);
	int (*settle)(struct load *load, struct flow *flow);
	void (*close)(struct load *load, struct flow *flow);
	bool is_paced;
};

extern char own; /* letter of this peer */
extern struct ivs_channels *channels;

extern const struct kind queue_kind, stream_kind, topic_kind, flood_kind;

/* Serve connections to a port of the loopback device, each in a process. Return: exit status. */
int echo_run(uint16_t port);

void fail(const struct load *load, const char *what, int result);
void check(const struct load *load, const char *what, int result);

size_t record_len(uint64_t number);
void record_fill(struct record *record, char from, char to, uint64_t number);
uint64_t digest_of(uint64_t digest, const void *bytes, size_t len);
void tally_add(struct tally *tally, const struct record *record, uint64_t number);
void take(const struct load *load, struct flow *flow, char to, uint64_t number, const void *bytes,
	  size_t len);
const char *name_of(const struct load *load, char from, char to);

#endif
