/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The mailbox through which the suite and its partner communicate: a page of the region, which
 * every transport maps. The suite sends requests, and the partner answers them. Each side writes
 * all other fields before its counter.
 */
#ifndef CONFORM_MAILBOX_H
#define CONFORM_MAILBOX_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#define PAGE 4096UL
#define MIB (1UL << 20)

/*
 * Layout of the region. The first page and the last usable page are left to the cases that test
 * them.
 */
#define SCRATCH_AT (128UL << 10) /* test data, up to 128 KiB */
#define WORDS_AT (256UL << 10)	 /* counters, never patterns */
#define LARGE_AT MIB		 /* 1 MiB */
#define REGION_MIN (4 * MIB)
#define MAILBOX_AT (REGION_MIN - (128UL << 10)) /* behind the last section of the channels */
#define SECTIONS_N 64				/* of 15 pages each, behind one for the layout */

#define MAILBOX_READY 0x70617274 /* "part" */
#define ARGS_N 5
#define RESULTS_N 3

/* More vectors than any test uses. */
#define VECTORS_MAX 16

/**
 * enum request - requests to the partner
 * @ASK_HELLO: report. results: the partner's id (-1 if it has none), number of its vectors, size
 *             of the region in bytes
 * @ASK_WRITE: write a pattern. args: offset, bytes, seed
 * @ASK_CHECK: check a pattern. args: offset, bytes, seed; results: number of wrong bytes, position
 *             of the first one in the pattern
 * @ASK_ADD:   add 1 to a counter. args: offset, number of times
 * @ASK_RING:  ring a peer. args: slot, id, vector, times, delay in ms; result: that of
 *             ivs_peer_ring()
 * @ASK_TAKE:  wait for a doorbell. args: slot, vector, timeout in ms, offset of a counter; results:
 *             that of ivs_peer_wait(), value of the counter
 * @ASK_JOIN:  open a peer. args: slot; results: that of ivs_peer_open(), id, number of vectors
 * @ASK_LEAVE: close a peer. args: slot
 * @ASK_KNOWS: wait until the partner knows a peer with all vectors. args: id, number of vectors;
 *             result: number of vectors that it knows
 * @ASK_QUIT:  make the partner exit
 * @ASK_CHANNELS_OPEN: open channels. args: slot, section if the peer has no id; result: that of
 *             ivs_channels_open()
 * @ASK_CHANNELS_CLOSE: close channels and their queues. args: slot
 * @ASK_QUEUE_OPEN: open a queue. args: slot, queue, number of its name, 1 for a sender and 0 for a
 *             receiver, and in the upper half the number of messages; result: that of opening
 * @ASK_QUEUE_CLOSE: close a queue. args: slot, queue
 * @ASK_SEND:  send messages. args: slot, queue, number of the first message, number of messages,
 *             time limit for each in ms, and in the upper half a delay in ms; results: that of the
 *             last one, number of messages that were sent
 * @ASK_RECEIVE: receive messages. args: as for ASK_SEND; results: the same, -EBADMSG after a wrong
 *             message
 * @ASK_TOPIC_OPEN: open a topic. args: slot, topic, which is the number of its name, 1 for a
 *             publisher and 0 for a subscriber; of a publisher: number and, in the upper half,
 *             length of messages, number of borrowers and, in the upper half, of loans; of a
 *             subscriber: SUBSCRIBER_*; result: that of opening
 * @ASK_TOPIC_CLOSE: close a topic. args: slot, topic
 * @ASK_PUBLISH: publish messages. args: slot, topic, number of the first message, number of
 *             messages, their length (0: depends on the number), and in the upper half a delay in
 *             ms; results: that of the last one, number of messages that were published
 * @ASK_TOPIC_RECEIVE: receive messages up to a number. args: slot, topic, number of the last
 *             message, time limit in ms, and in the upper half a delay; results: that of the last
 *             one or -EBADMSG, numbers of messages that were received, and that were missed
 * @ASK_BORROW: borrow messages. args: slot, topic, number of messages, time limit for each in ms;
 *             results: that of the last one or -EBADMSG, number of those that are in place, all
 *             bits that are set in any of the addresses
 * @ASK_GIVE_BACK: give back what was borrowed. args: slot, topic; result: -EBADMSG: a message has
 *             changed
 * @ASK_LISTEN: listen. args: slot, number of the name, length of the buffers, and in the upper
 *             half a delay in ms; result: that of listening
 * @ASK_LISTENER_CLOSE: listen no more. args: slot, number of the name
 * @ASK_ACCEPT: accept a stream. args: slot, stream, number of the name, time limit and, in the
 *             upper half, a delay in ms; result: that of accepting
 * @ASK_CONNECT: connect. args: slot, stream, number of the name, time limit and, in the upper half,
 *             a delay in ms, length of the buffer; result: that of connecting
 * @ASK_STREAM_WRITE: write a pattern. args: slot, stream, its seed and, in the upper half, the
 *             first byte's position, number of bytes, time limit for each call and, in the upper
 *             half, a delay in ms; results: that of the last call, number of bytes
 * @ASK_STREAM_READ: read a pattern. args: as for ASK_STREAM_WRITE; results: that of the last call
 *             or -EBADMSG, number of bytes, 1 if the stream is complete
 * @ASK_STREAM_ECHO: write what is read, until it ends; then shut down. args: slot, stream, time
 *             limit for each call; results: 0 after the end, number of bytes, 1 if it is complete
 * @ASK_STREAM_END: end a stream. args: slot, stream, enum stream_end; result: that of a flush
 *
 * A slot holds one of the partner's peers; slot 0 is always open. A peer that leaves while it has
 * channels does not close them, like one that is killed.
 */
enum request {
	ASK_HELLO = 1,
	ASK_WRITE,
	ASK_CHECK,
	ASK_ADD,
	ASK_RING,
	ASK_TAKE,
	ASK_JOIN,
	ASK_LEAVE,
	ASK_KNOWS,
	ASK_QUIT,
	ASK_CHANNELS_OPEN,
	ASK_CHANNELS_CLOSE,
	ASK_QUEUE_OPEN,
	ASK_QUEUE_CLOSE,
	ASK_SEND,
	ASK_RECEIVE,
	ASK_TOPIC_OPEN,
	ASK_TOPIC_CLOSE,
	ASK_PUBLISH,
	ASK_TOPIC_RECEIVE,
	ASK_BORROW,
	ASK_GIVE_BACK,
	ASK_LISTEN,
	ASK_LISTENER_CLOSE,
	ASK_ACCEPT,
	ASK_CONNECT,
	ASK_STREAM_WRITE,
	ASK_STREAM_READ,
	ASK_STREAM_ECHO,
	ASK_STREAM_END,
};

enum subscriber_flags {
	SUBSCRIBER_NEWEST = 1,
	SUBSCRIBER_LAST = 2,
	SUBSCRIBER_BORROWS = 4,
};

enum stream_end {
	STREAM_SHUTDOWN,
	STREAM_FLUSH,
	STREAM_CLOSE,
	STREAM_ABORT,
};

/**
 * struct mailbox - the mailbox, at MAILBOX_AT in the region
 * @ready:    MAILBOX_READY once the partner serves requests
 * @taken:    not 0 once the device, the server or the region's name has been removed (SIGUSR1)
 * @asked:    number of requests so far
 * @answered: number of the last request that the partner has answered
 */
struct mailbox {
	_Atomic uint32_t ready;
	_Atomic uint32_t taken;
	_Atomic uint32_t asked;
	_Atomic uint32_t answered;
	_Atomic uint32_t request;
	_Atomic uint32_t unused;
	_Atomic uint64_t args[ARGS_N];
	_Atomic int64_t results[RESULTS_N];
};

/* Byte @i of a pattern. It differs between nearby offsets and between seeds. */
static inline uint8_t pattern_byte(uint64_t seed, uint64_t i)
{
	return (uint8_t)((i ^ (i >> 8) ^ (i >> 16)) * 31 + seed * 101 + 7);
}

void pattern_write(volatile uint8_t *at, uint64_t len, uint64_t seed);

/* Return: the number of wrong bytes; *first is set to the offset of the first one. */
uint64_t pattern_check(const volatile uint8_t *at, uint64_t len, uint64_t seed, uint64_t *first);

/* The messages in queues: number @number is a pattern with this seed. */
#define MESSAGE_MAX 200u
#define CHANNEL_NAME_LEN 16

static inline size_t message_len(uint64_t number)
{
	return number * 7 % (MESSAGE_MAX + 1);
}

static inline void queue_name(char name[CHANNEL_NAME_LEN], unsigned int number)
{
	snprintf(name, CHANNEL_NAME_LEN, "queue %u", number);
}

static inline void topic_name(char name[CHANNEL_NAME_LEN], unsigned int number)
{
	snprintf(name, CHANNEL_NAME_LEN, "topic %u", number);
}

static inline void stream_name(char name[CHANNEL_NAME_LEN], unsigned int number)
{
	snprintf(name, CHANNEL_NAME_LEN, "stream %u", number);
}

/* A message in a topic begins with its number and its length; a pattern follows. */
#define TOPIC_MESSAGE_MAX (2 * sizeof(uint64_t) + MESSAGE_MAX)
#define TOPIC_ROOM 8192u /* for messages longer than a page */

static inline size_t topic_message_len(uint64_t number)
{
	return 2 * sizeof(uint64_t) + message_len(number);
}

void topic_message_write(void *at, size_t len, uint64_t number);

/* Return: the number of a message; -1 if the message is wrong. */
int64_t topic_message_number(const void *at, size_t len);

/* Sleep 0.1 ms while polling for a state that no event reports. */
void take_a_breath(void);

/* A delay that a request asks for. */
void partner_sleep_ms(uint64_t ms);

int partner_run(const char *address);

#endif
