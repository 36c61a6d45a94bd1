/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helpers of the cases about channels. Such a case is written as CHANNEL_CASE(name) { ... }: it
 * begins with channels of the peer under test and of the partner in a region that has just been
 * divided, and they are closed after it.
 */
#ifndef CONFORM_CHANNEL_H
#define CONFORM_CHANNEL_H

#include <ivshmem/channel.h>

#include "conform.h"

#define OWN_QUEUES_MAX 3
#define OWN_TOPICS_MAX 3
#define OWN_LISTENERS_MAX 2
#define OWN_STREAMS_MAX 20
#define SOON_MS 5000 /* a wait that no doorbell ends takes twice as long */
/* Sections of peers without ids. Servers assign lower ids. */
#define OWN_SECTION 40
#define PARTNER_SECTION 41
#define OTHER_SECTION 42

/** struct own - the channels of the peer under test, which are closed after the case */
struct own {
	struct ivs_channels *channels;
	struct ivs_queue *queues[OWN_QUEUES_MAX];
	struct ivs_topic *topics[OWN_TOPICS_MAX];
	struct ivs_stream_listener *listeners[OWN_LISTENERS_MAX];
	struct ivs_stream *streams[OWN_STREAMS_MAX];
};

extern struct own own;

#define CHANNEL_CASE(name)                                                                         \
	static void name##_in_channels(struct conform *c);                                         \
	static void name(struct conform *c)                                                        \
	{                                                                                          \
		channel_run(c, name##_in_channels);                                                \
	}                                                                                          \
	static void name##_in_channels(struct conform *c)

/* EXPECT_RESULT() for results of enum ivs_channel_error */
#define EXPECT_CHANNEL(c, call, wanted)                                                            \
	do {                                                                                       \
		int came_ = (call);                                                                \
		int wanted_ = (wanted);                                                            \
                                                                                                   \
		EXPECT(c, came_ == wanted_, "%s: expected \"%s\", got \"%s\"", #call,              \
		       channel_result(wanted_), channel_result(came_));                            \
	} while (0)

/* Return: a result as text. */
const char *channel_result(int result);

void channel_run(struct conform *c, void (*run)(struct conform *c));

/* Fill the layout, and the beginning of each section, with zeroes. */
void channel_clear(struct conform *c);

/* Return: the result of opening the channels of the peer under test. */
int channel_open(struct conform *c, struct ivs_error *err);

/* Close the queues and channels of the peer under test. */
void channel_close(void);

/* Make the partner's peer in @slot open channels. */
bool channel_ask_open(struct conform *c, unsigned int slot);

/* Return: whether the partner has opened another peer with channels in slot 1. */
bool channel_other_comes(struct conform *c);

/* Close the channels of that peer, and the peer; also after a failure. */
void channel_other_leaves(struct conform *c);

/*
 * Let that peer leave as if it had been killed. Without a roster, only the next holder of its
 * section shows that it is gone; so another one comes.
 */
bool channel_other_dies(struct conform *c);

/* Expect the partner's result to be @wanted, an enum ivs_channel_error. */
bool channel_answer(struct conform *c, int wanted);

#define ASK_EXPECT(c, wanted, ...)                                                                 \
	(ask_begin(c, &(const struct ask){__VA_ARGS__}), channel_answer(c, wanted))

/* What an argument has in its lower and upper half. */
static inline uint64_t halves(uint32_t low, uint32_t high)
{
	return low | (uint64_t)high << 32;
}

/* Expect a call that began at @start to have been woken up. */
bool channel_was_woken(struct conform *c, int64_t start);

/* Pass time while the partner begins to wait. */
void channel_pass_time(void);

/*
 * Open queue @name as its sender or receiver, with queue @name of the partner's peer in @slot at
 * the other side.
 */
bool channel_send_to(struct conform *c, unsigned int name, uint32_t messages_n);
bool channel_receive_from(struct conform *c, unsigned int name, uint32_t messages_n);

/* Make the partner open queue @name. */
bool channel_ask_sender(struct conform *c, unsigned int slot, unsigned int name,
			uint32_t messages_n);
bool channel_ask_receiver(struct conform *c, unsigned int slot, unsigned int name);

/* Make the partner send or receive @n messages, beginning with number @first. */
bool channel_ask_send(struct conform *c, unsigned int name, uint64_t first, uint64_t n);
bool channel_ask_receive(struct conform *c, unsigned int name, uint64_t first, uint64_t n);

/* Request that, but do not wait: the partner begins after @delay_ms. */
void channel_begin(struct conform *c, enum request request, unsigned int name, uint64_t first,
		   uint64_t n, unsigned int delay_ms);

/* Wait until the partner has sent or received @n messages. */
bool channel_end(struct conform *c, uint64_t n);

/* Send or receive @n messages. */
bool channel_send(struct conform *c, unsigned int name, uint64_t first, uint64_t n);
bool channel_receive(struct conform *c, unsigned int name, uint64_t first, uint64_t n);

/* Return: the result of receiving, without checking the message. */
int channel_receive_result(unsigned int name, int timeout_ms);

/* --- topics: channel_topic_helpers.c. A topic's number is also that of its name. --- */

/* Open a topic of the peer under test, or of the partner's peer in @slot. NULL: the defaults. */
bool topic_open_publisher(struct conform *c, unsigned int topic,
			  const struct ivs_topic_options *opts);
bool topic_open_subscriber(struct conform *c, unsigned int topic, unsigned int flags);
bool topic_ask_publisher(struct conform *c, unsigned int slot, unsigned int topic,
			 const struct ivs_topic_options *opts);
bool topic_ask_subscriber(struct conform *c, unsigned int slot, unsigned int topic,
			  unsigned int flags);

/* Publish @n messages, beginning with number @first. */
bool topic_publish(struct conform *c, unsigned int topic, uint64_t first, uint64_t n);
bool topic_ask_publish(struct conform *c, unsigned int slot, unsigned int topic, uint64_t first,
		       uint64_t n);

/* Receive @n messages, beginning with number @first, and then expect no more. */
bool topic_receive(struct conform *c, unsigned int topic, uint64_t first, uint64_t n);
bool topic_ask_receive(struct conform *c, unsigned int slot, unsigned int topic, uint64_t first,
		       uint64_t n);

/* Receive up to message @last. Return: the number of messages; 0 after a failure. */
uint64_t topic_receive_until(struct conform *c, unsigned int topic, uint64_t last);

/* Let a subscriber find its new publisher, which has published nothing yet. */
bool topic_look(struct conform *c, unsigned int topic);
bool topic_ask_look(struct conform *c, unsigned int slot, unsigned int topic);

/* Return: the result of receiving, without checking the message. */
int topic_result(unsigned int topic, int timeout_ms);

void topic_close(unsigned int topic);

/* --- streams: channel_stream_helpers.c. A stream's number is also the seed of its bytes. --- */

#define BUFFER_LEN 2048u /* of streams, unless a case says otherwise */

/* Listen to a name. */
bool stream_listen(struct conform *c, unsigned int name);
bool stream_ask_listen(struct conform *c, unsigned int slot, unsigned int name);

/* Accept a stream, or connect to a listener. */
bool stream_accept(struct conform *c, unsigned int stream, unsigned int name);
bool stream_ask_accept(struct conform *c, unsigned int slot, unsigned int stream,
		       unsigned int name);
int stream_connect_result(unsigned int stream, unsigned int name, int timeout_ms);
int stream_begin_connect(unsigned int stream, unsigned int name);

/* Connect stream @stream to the partner's peer in @slot, which listens, or to this peer. */
bool stream_to(struct conform *c, unsigned int slot, unsigned int stream);
bool stream_from(struct conform *c, unsigned int slot, unsigned int stream);

/* Write or read @len bytes of the pattern from position @first on. */
bool stream_write(struct conform *c, unsigned int stream, uint64_t first, size_t len);
bool stream_read(struct conform *c, unsigned int stream, uint64_t first, size_t len);
bool stream_ask_write(struct conform *c, unsigned int slot, unsigned int stream, uint32_t first,
		      size_t len);
bool stream_ask_read(struct conform *c, unsigned int slot, unsigned int stream, uint32_t first,
		     size_t len);

/* Write as much as fits. Return: the number of bytes. */
size_t stream_fill(struct conform *c, unsigned int stream);

/* End the partner's stream. */
bool stream_ask_end(struct conform *c, unsigned int slot, unsigned int stream, enum stream_end how);

/* Expect the end of what the other side writes, or of what it reads. */
bool stream_sees_end(struct conform *c, unsigned int stream, bool complete);
bool stream_is_ended(struct conform *c, unsigned int stream);

/* Expect the partner to see the end of what this side writes. */
bool stream_ask_sees_end(struct conform *c, unsigned int stream, bool complete);

/* Return: the result of calls for one byte. */
int stream_read_result(unsigned int stream, int timeout_ms);
int stream_write_result(unsigned int stream, int timeout_ms);

void stream_close(unsigned int stream);
void stream_listener_close(unsigned int name);

#endif
