/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Protocol version 0 between ivshmem-server and its clients: converts bytes to messages and back.
 *
 * Only the server sends. A message is an 8-byte little-endian signed number with at most one fd.
 * Its meaning depends on the number, on whether it has an fd, and on the messages before it: see
 * W-1 to W-14 in PROTOCOL.md.
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
	IVS_V0_E_MORE = 1, /* the message is incomplete: feed more bytes */
	IVS_V0_E_GARBAGE,  /* a message violates the protocol: disconnect; ivs_v0_why() says why */
};

/**
 * enum ivs_v0_type - types of messages
 * @IVS_V0_VERSION: the protocol is version 0. First message.
 * @IVS_V0_ID:      the client's own id is @id. Second message.
 * @IVS_V0_MEMORY:  @fd is the region. Third message; never repeated.
 * @IVS_V0_VECTOR:  @fd rings the next vector of peer @id, which may be the client itself
 * @IVS_V0_LEAVE:   peer @id has left
 */
enum ivs_v0_type {
	IVS_V0_VERSION,
	IVS_V0_ID,
	IVS_V0_MEMORY,
	IVS_V0_VECTOR,
	IVS_V0_LEAVE,
};

/**
 * struct ivs_v0_message - a message
 * @id:     with types ID, VECTOR and LEAVE, an id from 0 to 65535; otherwise 0
 * @vector: with type VECTOR, the number of the vector, from 0. The sender sets it, but it is not
 *          transmitted, because a peer's vectors are sent in ascending order; the decoder sets 0.
 * @fd:     with types MEMORY and VECTOR, the fd; otherwise -1. A decoded fd belongs to the
 *          decoder's caller.
 */
struct ivs_v0_message {
	enum ivs_v0_type type;
	unsigned int id;
	unsigned int vector;
	int fd;
};

/** ivs_v0_put() - encode @msg without its fd, which is sent in a control message */
void ivs_v0_put(const struct ivs_v0_message *msg, uint8_t out[IVS_V0_LEN]);

/**
 * struct ivs_v0_decoder - state of a connection; initialise with IVS_V0_DECODER_INIT
 * @bytes:  the bytes of an incomplete message
 * @have:   number of bytes in @bytes
 * @fd:     the fd that arrived with the first byte of the message; -1: none
 * @stage:  number of greeting messages that have arrived: 0 to 3
 * @own_id: id of this client, from the ID message
 * @why:    how the stream violated the protocol, after which nothing is decoded; NULL: no violation
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
 * ivs_v0_feed() - decode bytes received from a server into a message
 * @dec:    decoder of this connection
 * @in:     received bytes; advanced past the bytes consumed
 * @in_len: number of bytes; reduced by the number consumed
 * @fd:     fd that arrived with the first byte of @in, or -1; set to -1 if it was taken
 * @out:    the message, set when 0 is returned
 *
 * The result does not depend on how the bytes are split, as long as an fd is passed with the first
 * byte of its message. An fd with a later byte violates the protocol.
 *
 * Return: 0, IVS_V0_E_MORE (all of @in was consumed), IVS_V0_E_GARBAGE (permanent). Never negative.
 */
IVS_MUST_USE int ivs_v0_feed(struct ivs_v0_decoder *dec, const uint8_t **in, size_t *in_len,
			     int *fd, struct ivs_v0_message *out);

/**
 * ivs_v0_release() - stop decoding, and take the fd that the decoder still owns
 *
 * Return: the fd of an incomplete or invalid message, now owned by the caller, or -1.
 */
IVS_MUST_USE int ivs_v0_release(struct ivs_v0_decoder *dec);

/** ivs_v0_why() - why ivs_v0_feed() returned IVS_V0_E_GARBAGE; "" if it did not */
const char *ivs_v0_why(const struct ivs_v0_decoder *dec);

#endif
