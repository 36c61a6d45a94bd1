/* SPDX-License-Identifier: BSD-3-Clause */
/* A doorbell must be rung before the reply is sent, which the ring callback checks. */
#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ivshmem/registers.h"
#include "vfio_user/codec.h"
#include "vfio_user/session.h"

#define RINGS 3

struct watcher {
	int client;
	unsigned int rung;
	bool replied;
};

static void watch_ring(void *context, unsigned int peer, unsigned int vector)
{
	struct watcher *watcher = context;
	char byte;

	cr_expect_eq(peer, 7);
	cr_expect_eq(vector, 1);
	watcher->rung++;
	if (recv(watcher->client, &byte, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EAGAIN)
		watcher->replied = true;
}

static void ignore_due(void *context)
{
	(void)context;
}

static void send_request(int sock, uint16_t command, const void *body, size_t body_len)
{
	uint8_t bytes[128] = {0};

	bytes[2] = (uint8_t)command;
	ivs_put_le32(bytes + 4, (uint32_t)(IVS_VFU_HEADER_LEN + body_len));
	memcpy(bytes + IVS_VFU_HEADER_LEN, body, body_len);
	cr_assert_eq(send(sock, bytes, IVS_VFU_HEADER_LEN + body_len, 0),
		     (ssize_t)(IVS_VFU_HEADER_LEN + body_len));
}

/* Receive a reply if one has been sent. Return: true if a reply was received. */
static bool take_reply(int sock)
{
	uint8_t bytes[1024];

	return recv(sock, bytes, sizeof(bytes), MSG_DONTWAIT) > 0;
}

Test(vfio_user_order, doorbell_before_reply)
{
	static const char version[] = "\0\0\0\0{}"; /* the array includes the terminating NUL */
	const struct ivs_pci_function_options options = {
		.revision = 1, .vectors_n = 1, .memory_len = 4096};
	struct ivs_pci_function *device = calloc(1, sizeof(*device));
	struct watcher watcher = {0};
	struct ivs_loop loop;
	struct ivs_slow slow = {0};
	struct ivs_vfio_user_options opts = {
		.function = device,
		.name = "test",
		.loop = &loop,
		.slow = &slow,
		.memory = {.fd = -1},
		.due = ignore_due,
		.ring = watch_ring,
		.context = &watcher,
	};
	uint8_t doorbell[IVS_VFU_ACCESS_LEN + 4] = {0};
	struct ivs_vfio_user *session;
	int ends[2];

	cr_assert_eq(ivs_pci_init(device, &options, NULL), 0);
	cr_assert_eq(ivs_loop_open(&loop), 0);
	cr_assert_eq(ivs_vfio_user_new(&opts, &session, NULL), 0);
	cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
	watcher.client = ends[0];
	cr_assert_eq(ivs_vfio_user_connect(session, &ends[1]), 0);
	send_request(watcher.client, IVS_VFU_VERSION, version, sizeof(version));
	cr_assert_eq(ivs_vfio_user_serve(session, NULL), 0);
	cr_assert(take_reply(watcher.client));

	ivs_put_le64(doorbell, IVS_REG_DOORBELL);
	ivs_put_le32(doorbell + 12, 4);
	ivs_put_le32(doorbell + IVS_VFU_ACCESS_LEN, IVS_DOORBELL(7, 1));
	for (unsigned int i = 1; i <= RINGS; i++) {
		send_request(watcher.client, IVS_VFU_REGION_WRITE, doorbell, sizeof(doorbell));
		cr_assert_eq(ivs_vfio_user_serve(session, NULL), 0);
		cr_expect_eq(watcher.rung, i);
		cr_expect_not(watcher.replied, "the reply left before the doorbell was rung");
		cr_expect(take_reply(watcher.client));
	}
	ivs_vfio_user_free(session);
	ivs_loop_close(&loop);
	close(watcher.client);
	free(device);
}
