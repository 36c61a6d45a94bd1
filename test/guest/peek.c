/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests: read and write the region, and ring and wait, through any transport.
 *
 *   peek ADDRESS id                 print the peer's own id and its transport
 *   peek ADDRESS read OFFSET        print the text at the offset
 *   peek ADDRESS write OFFSET TEXT
 *   peek ADDRESS ring PEER VECTOR
 *   peek ADDRESS wait VECTOR        wait up to 30 s for a doorbell, or print why that fails
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ivshmem/peer.h>

#define TEXT_LEN 64

static int number(const char *text)
{
	return (int)strtol(text, NULL, 10);
}

static int result(int code, const char *why)
{
	if (code)
		printf("peek: result %d: %s\n", code, why ? why : "");
	else
		printf("peek: done\n");
	return code != 0;
}

static int run(struct ivs_peer *peer, int argc, char **argv)
{
	size_t len;
	char *memory = ivs_peer_memory(peer, &len);

	if (!strcmp(argv[2], "id")) {
		printf("peek: id %d through %s, %zu bytes, %u vectors\n", ivs_peer_id(peer),
		       ivs_peer_transport(peer), len, ivs_peer_vectors(peer));
		return 0;
	}
	if (argc == 4 && !strcmp(argv[2], "read")) {
		printf("peek: %.*s\n", TEXT_LEN, memory + number(argv[3]));
		return 0;
	}
	if (argc == 5 && !strcmp(argv[2], "write")) {
		strcpy(memory + number(argv[3]), argv[4]);
		return 0;
	}
	if (argc == 5 && !strcmp(argv[2], "ring"))
		return result(ivs_peer_ring(peer, (unsigned int)number(argv[3]),
					    (unsigned int)number(argv[4])),
			      ivs_peer_cap_reason(peer, IVS_CAP_RING));
	if (argc == 4 && !strcmp(argv[2], "wait")) {
		printf("peek: waiting\n");
		return result(ivs_peer_wait(peer, (unsigned int)number(argv[3]), 30000),
			      ivs_peer_cap_reason(peer, IVS_CAP_WAIT));
	}
	printf("peek: unknown command\n");
	return 2;
}

int main(int argc, char **argv)
{
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 3)
		return 2;
	if (ivs_peer_open(argv[1], NULL, &peer, &err)) {
		printf("peek: cannot open: %s\n", err.text);
		return 1;
	}
	status = run(peer, argc, argv);
	ivs_peer_close(peer);
	return status;
}
