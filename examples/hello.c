/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The smallest useful program: write a word into the region and ring a peer, or wait to be rung.
 * The program runs on the host and in a guest:
 *
 *   hello unix:/tmp/ivshmem_socket         waits for a doorbell, then prints the word in the region
 *   hello unix:/tmp/ivshmem_socket 0 hi    writes "hi" into the region and rings peer 0
 *   hello pci: 0 hi                        does the same from a guest
 */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ivshmem/peer.h>

#define WORD_LEN 64

/* Return: why a call that needs @cap failed with @result. */
static const char *why(const struct ivs_peer *peer, enum ivs_peer_cap cap, int result)
{
	const char *reason = ivs_peer_cap_reason(peer, cap);

	return result == IVS_PEER_E_UNSUPPORTED && reason ? reason : ivs_peer_strerror(result);
}

static int send_word(struct ivs_peer *peer, unsigned int to, const char *word)
{
	char *memory = ivs_peer_memory(peer, NULL);
	int result;

	if (!(ivs_peer_caps(peer) & IVS_CAP_WRITE)) {
		fprintf(stderr, "hello: %s\n", ivs_peer_cap_reason(peer, IVS_CAP_WRITE));
		return 1;
	}
	snprintf(memory, WORD_LEN, "%s", word);
	result = ivs_peer_ring(peer, to, 0);
	if (result) {
		fprintf(stderr, "hello: cannot ring peer %u: %s\n", to,
			why(peer, IVS_CAP_RING, result));
		return 1;
	}
	printf("hello: peer %d told peer %u: %s\n", ivs_peer_id(peer), to, word);
	return 0;
}

static int receive_word(struct ivs_peer *peer)
{
	const char *memory = ivs_peer_memory(peer, NULL);
	char word[WORD_LEN];
	int result;

	if (ivs_peer_caps(peer) & IVS_CAP_WAIT)
		printf("hello: I am peer %d, waiting for a doorbell\n", ivs_peer_id(peer));
	fflush(stdout);
	do {
		result = ivs_peer_wait(peer, 0, -1);
	} while (result == -EINTR); /* retry after the process was stopped (Ctrl-Z, fg) */
	if (result) {
		fprintf(stderr, "hello: cannot wait: %s\n", why(peer, IVS_CAP_WAIT, result));
		return 1;
	}
	/* Copy, then check, then use: other peers may write at any time. */
	memcpy(word, memory, WORD_LEN);
	word[WORD_LEN - 1] = 0;
	for (char *c = word; *c; c++)
		*c = isprint((unsigned char)*c) ? *c : '?'; /* print no terminal escape sequences */
	printf("hello: peer %d was told: %s\n", ivs_peer_id(peer), word);
	return 0;
}

int main(int argc, char **argv)
{
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	if (argc != 2 && argc != 4) {
		fprintf(stderr, "usage: hello ADDRESS [PEER WORD]\n");
		return 2;
	}
	if (ivs_peer_open(argv[1], NULL, &peer, &err)) {
		fprintf(stderr, "hello: %s\n", err.text);
		return 1;
	}
	status = argc == 4 ? send_word(peer, (unsigned int)strtoul(argv[2], NULL, 10), argv[3])
			   : receive_word(peer);
	ivs_peer_close(peer);
	return status;
}
