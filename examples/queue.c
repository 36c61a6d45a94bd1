/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Send messages from one peer to another through a queue in the region. No message is lost, and it
 * does not matter which program starts first:
 *
 *   queue unix:/tmp/ivshmem_socket receive       prints messages until it is interrupted
 *   queue unix:/tmp/ivshmem_socket send hello    sends a message, and waits until it was received
 *   queue pci: send hello                        does the same from a guest
 *
 * Several senders may run at the same time. On a region without ids, each program must be told
 * which section of the region is its own:
 *
 *   queue shm:my-region receive 0
 *   queue shm:my-region send hello 1
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ivshmem/channel.h>
#include <ivshmem/peer.h>

#define NAME "example"
#define TEXT_MAX 1024 /* the longest message, unless struct ivs_queue_options says otherwise */

static int fail(const char *what, int result)
{
	fprintf(stderr, "queue: %s: %s\n", what,
		result < 0 ? strerror(-result) : ivs_channel_strerror(result));
	return 1;
}

static int send_text(struct ivs_channels *channels, const char *text)
{
	struct ivs_queue *queue;
	int result = ivs_queue_open_sender(channels, NAME, NULL, &queue);

	if (result)
		return fail("cannot open the queue", result);
	result = ivs_queue_send(queue, text, strlen(text), 0); /* the queue is not full */
	/* A message that no receiver has found would be lost when the queue is closed. */
	while (!result && (result = ivs_queue_flush(queue, -1)) == -EINTR)
		result = 0; /* retry after the process was stopped (Ctrl-Z, fg) */
	ivs_queue_close(queue);
	if (result)
		return fail("cannot send", result);
	printf("queue: sent: %s\n", text);
	return 0;
}

static void print_text(char *text, size_t len)
{
	text[len] = 0;
	for (char *c = text; *c; c++)
		*c = isprint((unsigned char)*c) ? *c : '?'; /* print no terminal escape sequences */
	printf("queue: received: %s\n", text);
}

static int receive_texts(struct ivs_channels *channels)
{
	struct ivs_queue *queue;
	int result = ivs_queue_open_receiver(channels, NAME, &queue);

	if (result)
		return fail("cannot open the queue", result);
	printf("queue: waiting for messages\n");
	for (;;) {
		char text[TEXT_MAX + 1];
		size_t len;

		result = ivs_queue_receive(queue, text, TEXT_MAX, &len, -1);
		if (!result)
			print_text(text, len);
		else if (result == IVS_CHANNEL_E_ENDED)
			printf("queue: the last sender has left\n"); /* another one may come */
		else if (result != -EINTR)
			break;
	}
	ivs_queue_close(queue);
	return fail("cannot receive", result);
}

static int usage(int is_help)
{
	fputs("usage: queue ADDRESS send TEXT [SECTION] | queue ADDRESS receive [SECTION]\n",
	      is_help ? stdout : stderr);
	return is_help ? 0 : 2;
}

/* Return: whether @text is a number; it is then stored in *@section. */
static int parse_section(const char *text, uint32_t *section)
{
	char *end;

	*section = (uint32_t)strtoul(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end;
}

int main(int argc, char **argv)
{
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	int sends = argc > 3 && !strcmp(argv[2], "send");
	int words_n = sends ? 4 : 3;
	struct ivs_channels *channels;
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(1);
	if (argc < words_n || argc > words_n + 1 || (!sends && strcmp(argv[2], "receive")))
		return usage(0);
	if (argc > words_n && !parse_section(argv[words_n], &opts.section))
		return usage(0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (ivs_peer_open(argv[1], NULL, &peer, &err)) {
		fprintf(stderr, "queue: %s\n", err.text);
		return 1;
	}
	if (ivs_channels_open(peer, &opts, &channels, &err)) {
		fprintf(stderr, "queue: %s\n", err.text);
		ivs_peer_close(peer);
		return 1;
	}
	status = sends ? send_text(channels, argv[3]) : receive_texts(channels);
	ivs_channels_close(channels);
	ivs_peer_close(peer);
	return status;
}
