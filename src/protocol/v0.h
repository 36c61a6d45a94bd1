/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protocol version 0 between ivshmem-server and its clients: bytes to messages and back.
 *
 * The server only talks, a client only listens. A message is an 8-byte little-endian signed number
 * with at most one fd. What it means depends on the number, on whether an fd came with it and on
 * what came before; rules W-1 ... in PROTOCOL.md.
 *
 * Pure: no system call, no allocation, no clock.
 */
#ifndef IVS_PROTOCOL_V0_H
#define IVS_PROTOCOL_V0_H

#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"
#include "ivshmem/registers.h"

#define IVS_V0_LEN 8
#define IVS_V0_VERSION_NUMBER 0

enum ivs_v0_error {
	IVS_V0_E_MORE = 1, /* incomplete: feed more bytes */
	IVS_V0_E_GARBAGE,  /* against the protocol: drop the connection; ivs_v0_why() says why */
};

/**
 * enum ivs_v0_type - what a message says
 * @IVS_V0_VERSION: the protocol is version 0. First message.
 * @IVS_V0_ID:      you are @id. Second message.
 * @IVS_V0_MEMORY:  @fd is the region. Third message; never again.
 * @IVS_V0_VECTOR:  @fd rings the next vector of peer @id (which may be you)
 * @IVS_V0_LEAVE:   peer @id left
 */
enum ivs_v0_type {
	IVS_V0_VERSION,
	IVS_V0_ID,
	IVS_V0_MEMORY,
	IVS_V0_VECTOR,
	IVS_V0_LEAVE,
};

/**
 * struct ivs_v0_message - one message
 * @id:     0 to 65535; ID, VECTOR, LEAVE; else 0
 * @vector: VECTOR: which one. Not on the wire: the how-many-th VECTOR message about @id it is. Set
 *          by whoever sends; the decoder leaves it 0.
 * @fd:     MEMORY, VECTOR; else -1. Decoded: belongs to whoever takes the message.
 */
struct ivs_v0_message {
	enum ivs_v0_type type;
	unsigned int id;
	unsigned int vector;
	int fd;
};

/** ivs_v0_put() - the bytes of @msg; its fd travels beside them */
void ivs_v0_put(const struct ivs_v0_message *msg, uint8_t out[IVS_V0_LEN]);

/**
 * struct ivs_v0_decoder - one connection's state; all zero but @fd is not valid, use _INIT
 * @bytes: the message that is not complete yet
 * @have:  how many bytes of it
 * @fd:    the fd that came with its first byte, or -1
 * @stage: how many messages of the greeting came: 0 to 3
 * @own_id: from the ID message
 * @why:   set by IVS_V0_E_GARBAGE, which is for good
 */
struct ivs_v0_decoder {
	uint8_t bytes[IVS_V0_LEN];
	unsigned int have;
	int fd;
	unsigned int stage;
	unsigned int own_id;
	const char *why;
};

#define IVS_V0_DECODER_INIT                                                                        \
	{                                                                                          \
		{0}, 0, -1, 0, 0, NULL                                                             \
	}

/**
 * ivs_v0_feed() - take bytes received from a server and yield one message
 * @dec:    decoder of this connection
 * @in:     bytes as they came; advanced past what was taken
 * @in_len: how many; reduced by what was taken
 * @fd:     fd that came with the first byte of @in, or -1; set to -1 if taken
 * @out:    the message, valid when 0 is returned
 *
 * The same bytes in any chunking give the same messages, as long as an fd comes with the chunk that
 * its message begins with. An fd with a later byte of a message is garbage.
 *
 * Return: 0, IVS_V0_E_MORE (all of @in was taken), IVS_V0_E_GARBAGE (sticky). Never negative.
 */
IVS_MUST_USE int ivs_v0_feed(struct ivs_v0_decoder *dec, const uint8_t **in, size_t *in_len,
			     int *fd, struct ivs_v0_message *out);

/**
 * ivs_v0_release() - end decoding
 *
 * Return: the fd of an incomplete or refused message, to be closed, or -1.
 */
IVS_MUST_USE int ivs_v0_release(struct ivs_v0_decoder *dec);

/** ivs_v0_why() - why the last feed said garbage; "" if it did not */
const char *ivs_v0_why(const struct ivs_v0_decoder *dec);

#endif
