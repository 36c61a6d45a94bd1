/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for src/vfio_user/: whole sessions over a socket pair, with fds.
 *
 * Input: a byte that chooses the device (OPTION_*), then records. A record is a byte that holds an
 * operation (OP_*) and, in its upper five bits, a number of fds; a byte with a length; and bytes of
 * that length. Each reply must be valid, no call may block, and at the end no fd may have been
 * leaked.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "daemon/log.h"
#include "pci/function.h"
#include "vfio_user/codec.h"
#include "vfio_user/session.h"
#include "vfio_user/stream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

#define MEMORY_LEN 65536u
#define OPTION_GREETED 0x01
#define OPTION_PIN 0x02
#define OPTION_MEMORY 0x04
#define OPTION_READ_ONLY 0x08
#define OPTION_MODE(option) ((option) >> 4 & 3)

enum op {
	OP_MESSAGE,   /* send a message with a valid header; bytes: command, flags, body */
	OP_STATE,     /* set the migration state */
	OP_LOAD,      /* send MIG_WRITE with the bytes */
	OP_LOAD_SUM,  /* send MIG_WRITE with the checksum of the bytes of all previous OP_LOADs */
	OP_RAW,	      /* send the bytes without a header */
	OP_DOORBELL,  /* ring the device */
	OP_MEMORY,    /* replace or remove the device's region */
	OP_RECONNECT, /* disconnect the client and connect another */
};

/**
 * struct world - the session under test and its client
 * @client: the client's socket, or -1 if it is closed
 * @given:  fds that the client sends
 */
struct world {
	struct ivs_pci_function device;
	struct ivs_loop loop;
	struct ivs_slow slow;
	struct ivs_vfio_user *session;
	struct ivs_vfu_sum sum;
	int client;
	int memory;
	int given[3];
};

static void ignore_due(void *context)
{
	(void)context;
}

static void count_ring(void *context, unsigned int peer, unsigned int vector)
{
	(void)context;
	CHECK(peer <= 65535 && vector <= 65535);
}

/*
 * The device has not sent the rest of a reply yet. Once it has, it may find the next request
 * invalid and disconnect the client, which can still read what was sent before.
 */
static void serve_rest(struct world *world)
{
	struct ivs_error err = {0};
	int result = ivs_vfio_user_serve(world->session, &err);

	CHECK(result >= 0);
	CHECK(!result == ivs_vfio_user_is_connected(world->session));
	CHECK(!result || *err.text);
}

/* Let the client read and check all replies, and close the fds that they carry. */
static void read_replies(struct world *world)
{
	static uint8_t bytes[IVS_VFU_MESSAGE_MAX];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {bytes, IVS_VFU_HEADER_LEN};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
	size_t left;
	int fd;

	for (;;) {
		hdr.msg_control = control.bytes;
		hdr.msg_controllen = sizeof(control.bytes);
		if (recvmsg(world->client, &hdr, MSG_DONTWAIT) != IVS_VFU_HEADER_LEN)
			return;
		CHECK(!(hdr.msg_flags & MSG_CTRUNC));
		if (CMSG_FIRSTHDR(&hdr)) {
			memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&hdr)), sizeof(fd));
			close(fd);
		}
		left = ivs_get_le32(bytes + 4) - IVS_VFU_HEADER_LEN;
		CHECK(left <= sizeof(bytes));
		CHECK((ivs_get_le32(bytes + 8) & ~IVS_VFU_ERROR) == IVS_VFU_TYPE_REPLY);
		CHECK(!(ivs_get_le32(bytes + 8) & IVS_VFU_ERROR) || left == 0);
		while (left) {
			ssize_t n = recv(world->client, bytes, left, MSG_DONTWAIT);

			if (n > 0)
				left -= (size_t)n;
			else if (n < 0 && errno == EAGAIN)
				serve_rest(world);
			else
				return; /* the device has disconnected the client */
		}
	}
}

/* Let the session and the client run until neither has anything left to do. */
static void run_both_sides(struct world *world)
{
	for (unsigned int i = 0; i < 40 && world->client >= 0; i++) {
		struct ivs_error err = {0};
		int result = ivs_vfio_user_serve(world->session, &err);

		CHECK(result >= 0);
		CHECK(!result == ivs_vfio_user_is_connected(world->session));
		CHECK(!result || *err.text);
		read_replies(world);
		if (!ivs_vfio_user_is_connected(world->session)) {
			close(world->client);
			world->client = -1;
		}
		if (i > 1 && !ivs_vfio_user_is_connected(world->session))
			break;
		if (i > 2)
			break;
	}
}

static void send_bytes(struct world *world, const uint8_t *bytes, size_t len, unsigned int fds_n)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(32 * sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)(uintptr_t)bytes, len};
	struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};

	if (world->client < 0 || !len)
		return;
	if (fds_n) {
		struct cmsghdr *cmsg = &control.align;

		hdr.msg_control = control.bytes;
		hdr.msg_controllen = CMSG_SPACE(fds_n * sizeof(int));
		cmsg->cmsg_level = SOL_SOCKET;
		cmsg->cmsg_type = SCM_RIGHTS;
		cmsg->cmsg_len = CMSG_LEN(fds_n * sizeof(int));
		/* Mostly send eventfds, because other fds are invalid as interrupts. */
		for (unsigned int i = 0; i < fds_n; i++)
			memcpy(CMSG_DATA(cmsg) + i * sizeof(int),
			       &world->given[len % 5 ? 0 : (i + len) % 3], sizeof(int));
	}
	CHECK(sendmsg(world->client, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len);
	run_both_sides(world);
}

static void send_message(struct world *world, uint16_t command, uint32_t flags, const uint8_t *body,
			 size_t len)
{
	uint8_t bytes[IVS_VFU_HEADER_LEN + 256];

	ivs_put_le16(bytes, 0x1234);
	ivs_put_le16(bytes + 2, command);
	ivs_put_le32(bytes + 4, (uint32_t)(IVS_VFU_HEADER_LEN + len));
	ivs_put_le32(bytes + 8, flags & IVS_VFU_NO_REPLY);
	ivs_put_le32(bytes + 12, 0);
	memcpy(bytes + IVS_VFU_HEADER_LEN, body, len);
	send_bytes(world, bytes, IVS_VFU_HEADER_LEN + len, flags >> 8);
}

static void send_load(struct world *world, const uint8_t *data, size_t len)
{
	uint8_t body[IVS_VFU_MIG_LEN + 240];

	len = len < 240 ? len : 240;
	ivs_put_le32(body, IVS_VFU_MIG_LEN);
	ivs_put_le32(body + 4, (uint32_t)len);
	memcpy(body + IVS_VFU_MIG_LEN, data, len);
	send_message(world, IVS_VFU_MIG_WRITE, 0, body, IVS_VFU_MIG_LEN + len);
}

static void connect_client(struct world *world, bool greeted)
{
	static const uint8_t version[IVS_VFU_VERSION_LEN];
	int pair[2];

	if (world->client >= 0) {
		struct ivs_error err;

		close(world->client);
		for (unsigned int i = 0; ivs_vfio_user_is_connected(world->session); i++) {
			CHECK(i < 10000);
			CHECK(ivs_vfio_user_serve(world->session, &err) >= 0);
		}
	}
	CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair));
	world->client = pair[0];
	CHECK(!ivs_vfio_user_connect(world->session, &pair[1]) && pair[1] == -1);
	world->sum = (struct ivs_vfu_sum){0};
	if (greeted)
		send_message(world, IVS_VFU_VERSION, 0, version, sizeof(version));
}

static void set_memory(struct world *world, unsigned int option)
{
	const struct ivs_vfio_user_memory memory = {
		.fd = option & OPTION_MEMORY ? world->memory : -1,
		.writable = !(option & OPTION_READ_ONLY),
	};

	ivs_vfio_user_set_memory(world->session, &memory);
}

static void run_record(struct world *world, unsigned int op, const uint8_t *data, size_t len)
{
	uint8_t body[16] = {0};

	switch (op % 8) {
	case OP_MESSAGE:
		if (len >= 2)
			send_message(world, data[0], data[1] | (op >> 3) << 8, data + 2, len - 2);
		return;
	case OP_STATE:
		ivs_put_le32(body, 16);
		ivs_put_le32(body + 4, IVS_VFU_FEATURE_SET | IVS_VFU_FEATURE_MIG_STATE);
		body[8] = len ? data[0] % 8 : 0;
		world->sum = (struct ivs_vfu_sum){0};
		send_message(world, IVS_VFU_FEATURE, 0, body, sizeof(body));
		return;
	case OP_LOAD:
		ivs_vfu_sum_add(&world->sum, data, len < 240 ? len : 240);
		send_load(world, data, len);
		return;
	case OP_LOAD_SUM:
		ivs_vfu_sum_put(&world->sum, body);
		send_load(world, body, sizeof(body));
		return;
	case OP_RAW:
		send_bytes(world, data, len, op >> 3);
		return;
	case OP_DOORBELL:
		ivs_pci_doorbell(&world->device, len ? data[0] : 0);
		ivs_vfio_user_deliver(world->session);
		return;
	case OP_MEMORY:
		set_memory(world, len ? data[0] : 0);
		return;
	default:
		connect_client(world, op & 8);
	}
}

static void make_world(struct world *world, unsigned int option)
{
	struct ivs_pci_function_options device = {
		.revision = option & OPTION_PIN ? 0 : 1,
		.vectors_n = option & OPTION_PIN ? 0 : 3,
		.intx = option & OPTION_PIN,
		.memory_len = MEMORY_LEN,
	};
	struct ivs_vfio_user_options options = {
		.function = &world->device,
		.name = "fuzz",
		.loop = &world->loop,
		.slow = &world->slow,
		.memory = {.fd = -1},
		.migration = (enum ivs_vfio_user_migration)(OPTION_MODE(option) % 3),
		.due = ignore_due,
		.ring = count_ring,
	};
	int pipes[2];

	CHECK(!ivs_pci_init(&world->device, &device, NULL));
	CHECK(!ivs_loop_open(&world->loop));
	CHECK(!ivs_vfio_user_new(&options, &world->session, NULL));
	world->memory = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(!ftruncate(world->memory, MEMORY_LEN));
	if (option & 0x40)
		CHECK(!fcntl(world->memory, F_ADD_SEALS, F_SEAL_SHRINK));
	world->given[0] = eventfd(0, EFD_CLOEXEC);
	CHECK(!pipe2(pipes, O_CLOEXEC));
	world->given[1] = pipes[0];
	world->given[2] = pipes[1];
	set_memory(world, option);
	world->client = -1;
	connect_client(world, option & OPTION_GREETED);
}

static void end_world(struct world *world)
{
	ivs_vfio_user_free(world->session);
	ivs_loop_close(&world->loop);
	if (world->client >= 0)
		close(world->client);
	close(world->memory);
	for (unsigned int i = 0; i < 3; i++)
		close(world->given[i]);
}

/* Return: the lowest free fd number. */
static int next_fd(void)
{
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	CHECK(fd >= 0);
	close(fd);
	return fd;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world world;
	static FILE *nowhere;
	int before;

	if (!size)
		return 0;
	/* Discard log lines of the session, which would mix with the output of the fuzzer. */
	if (!nowhere) {
		nowhere = fopen("/dev/null", "w");
		CHECK(nowhere);
		stderr = nowhere;
	}
	before = next_fd();
	make_world(&world, data[0]);
	for (size_t at = 1; at + 2 <= size;) {
		size_t len = data[at + 1];

		if (len > size - at - 2)
			len = size - at - 2;
		run_record(&world, data[at], data + at + 2, len);
		at += 2 + len;
	}
	end_world(&world);
	CHECK(next_fd() == before);
	return 0;
}

/* Generated inputs are sessions that are mostly valid. */

static unsigned int rng_below(uint64_t *rng, unsigned int n)
{
	*rng = *rng * 6364136223846793005u + 1442695040888963407u;
	return (unsigned int)(*rng >> 33) % n;
}

static size_t make_body(uint64_t *rng, unsigned int command, uint8_t *out)
{
	static const uint8_t lengths[19] = {0,	4,  32, 24, 16, 32, 16, 16, 20, 16,
					    24, 16, 16, 0,  0,	8,  16, 8,  16};
	size_t len = command < sizeof(lengths) ? lengths[command] : rng_below(rng, 60);

	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(rng_below(rng, 3) ? 0 : rng_below(rng, 40));
	if (len >= 8)
		out[0] = 64; /* the field argsz or an offset, depending on the command */
	if (command == IVS_VFU_FEATURE)
		out[6] = (uint8_t)(1 + rng_below(rng, 5));
	if (command == IVS_VFU_REGION_WRITE)
		out[12] = 8;
	return rng_below(rng, 20) ? len : rng_below(rng, 60);
}

size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	uint64_t rng = seed;
	size_t len = 1;

	out[0] = (uint8_t)(rng_below(&rng, 256) | (rng_below(&rng, 10) ? OPTION_GREETED : 0));
	while (len + 80 < max && rng_below(&rng, 30)) {
		unsigned int op = rng_below(&rng, 3) ? OP_MESSAGE : rng_below(&rng, 8);
		unsigned int fds_n = rng_below(&rng, 3) ? 0 : rng_below(&rng, 4) ? 2 : 17;
		unsigned int command = rng_below(&rng, 20);
		size_t body_len = 2 + make_body(&rng, command, out + len + 4);

		out[len] = (uint8_t)(op | fds_n << 3);
		out[len + 1] = (uint8_t)body_len;
		out[len + 2] = (uint8_t)command;
		out[len + 3] = (uint8_t)(rng_below(&rng, 10) ? 0 : IVS_VFU_NO_REPLY);
		len += 2 + body_len;
	}
	return len;
}
