/* SPDX-License-Identifier: BSD-3-Clause */
/* Open the peer that a command uses, and handle the options that all such commands have. */
#ifndef TOOLS_IVSHMEM_TARGET_H
#define TOOLS_IVSHMEM_TARGET_H

#include <stdbool.h>

#include "ivshmem/peer.h"
#include "tools/shared/address.h"
#include "tools/shared/usage.h"

#define OPTION_ANY_FILE_SYSTEM 256 /* has no short form */

#define TARGET_LETTERS "hV"
#define TARGET_OPTIONS                                                                             \
	{"any-file-system", no_argument, NULL, OPTION_ANY_FILE_SYSTEM},                            \
		{"version", no_argument, NULL, 'V'},                                               \
	{                                                                                          \
		"help", no_argument, NULL, 'h'                                                     \
	}

/* Of commands that can print JSON: see target_json_option() */
#define TARGET_JSON_LETTERS "j" TARGET_LETTERS
#define TARGET_JSON_OPTIONS {"json", no_argument, NULL, 'j'}, TARGET_OPTIONS
#define TARGET_JSON_HELP "  -j, --json             print JSON\n" TARGET_HELP

#define TARGET_HELP                                                                                \
	"      --any-file-system  accept a server's region that is neither memory nor on\n"        \
	"                         a local disk\n"                                                  \
	"  -V, --version          print the version and exit\n"                                    \
	"  -h, --help             print this help and exit\n"

#define TARGET_ADDRESSES                                                                           \
	"ADDRESS is unix:PATH, shm:NAME, file:PATH, pci:, pci:BDF or /dev/ivshmemN. NAME\n"        \
	"alone means shm:NAME, and PATH alone the server's socket or file at that path.\n"

/**
 * struct target - the peer to open; start from zeroes
 * @text: the address as given; NULL if it is missing
 * @json: print JSON
 */
struct target {
	const char *text;
	bool json;
	char address[ADDRESS_LEN];
	struct ivs_peer_options options;
};

/** target_option() - handle an option that all commands have, or an unknown one */
int target_option(struct target *target, int option);

/** target_json_option() - as target_option(), of a command that can print JSON */
int target_json_option(struct target *target, int option);

/** target_operand() - take ADDRESS, the first operand of a command. Return: 0, USAGE_SURPLUS */
int target_operand(struct target *target, char *value);

/**
 * target_open() - open the peer
 * @read_only: map the region for reading only
 * @out:       the peer
 *
 * Return: 0, or an exit status after printing the reason.
 */
int target_open(struct target *target, bool read_only, struct ivs_peer **out);

/** target_take_joins() - take the events that are pending, so that the other peers are known */
void target_take_joins(struct ivs_peer *peer);

#endif
