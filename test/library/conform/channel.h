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
#define SOON_MS 5000 /* a wait that no doorbell ends takes twice as long */
/* Sections of peers without ids. Servers assign lower ids. */
#define OWN_SECTION 40
#define PARTNER_SECTION 41
#define OTHER_SECTION 42

/**
 * struct own - the channels of the peer under test
 * @queues: closed after the case
 */
struct own {
	struct ivs_channels *channels;
	struct ivs_queue *queues[OWN_QUEUES_MAX];
};

extern struct own own;

#define CHANNEL_CASE(name)                                                                         \
	static void name##_in_channels(struct conform *c);                                         \
	static void name(struct conform *c)                                                        \
	{                                                                                          \
		channel_run(c, name##_in_channels);                                                \
	}                                                                                          \
	static void name##_in_channels(struct conform *c)

void channel_run(struct conform *c, void (*run)(struct conform *c));

/* Fill the layout, and the beginning of each section, with zeroes. */
void channel_clear(struct conform *c);

/* Return: the result of opening the channels of the peer under test. */
int channel_open(struct conform *c, struct ivs_error *err);

/* Close the queues and channels of the peer under test. */
void channel_close(void);

/* Make the partner's peer in @slot open channels. */
bool channel_ask_open(struct conform *c, unsigned int slot);

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

#endif
