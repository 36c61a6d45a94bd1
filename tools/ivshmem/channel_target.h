/* SPDX-License-Identifier: BSD-3-Clause */
/* Open the channels that a command uses, and handle the options that all such commands have. */
#ifndef TOOLS_IVSHMEM_CHANNEL_TARGET_H
#define TOOLS_IVSHMEM_CHANNEL_TARGET_H

#include <stdint.h>

#include "ivshmem/channel.h"
#include "tools/ivshmem/target.h"

#define CHANNEL_LETTERS "s:t:" TARGET_LETTERS
#define CHANNEL_OPTIONS                                                                            \
	{"section", required_argument, NULL, 's'}, {"timeout", required_argument, NULL, 't'},      \
		TARGET_OPTIONS

#define CHANNEL_HELP                                                                               \
	"  -s, --section N        use section N, for regions without ids (shm:, file:);\n"         \
	"                         no other peer may use the same section\n" TARGET_HELP

/**
 * struct channel_target - the peer and its channels; start from CHANNEL_TARGET_INIT
 * @name:       the channel; NULL if it is missing, or the command uses several
 * @section:    IVS_CHANNEL_SECTION_OF_ID, or the number of --section
 * @timeout_ms: -1: no limit
 */
struct channel_target {
	struct target target;
	char *name;
	uint32_t section;
	int timeout_ms;
	struct ivs_peer *peer;
	struct ivs_channels *channels;
};

#define CHANNEL_TARGET_INIT                                                                        \
	{                                                                                          \
		.section = IVS_CHANNEL_SECTION_OF_ID, .timeout_ms = -1,                            \
	}

/** channel_target_option() - handle an option that all these commands have, or an unknown one */
int channel_target_option(struct channel_target *target, int option, const char *value);

/** channel_target_section() - handle --section. Return: 0, STATUS_USAGE */
int channel_target_section(struct channel_target *target, const char *value);

/**
 * channel_target_check_name() - check the name of a channel
 * @what:  how the message calls it
 * @value: the argument that contains the name
 *
 * Return: 0, or STATUS_USAGE after printing the reason.
 */
int channel_target_check_name(const char *name, const char *what, const char *value);

/** channel_target_operand() - take ADDRESS, then NAME. Return: 0, USAGE_SURPLUS. */
int channel_target_operand(struct channel_target *target, char *value);

/**
 * channel_target_open() - open the peer and its channels, to be closed with channel_target_close()
 *
 * Return: 0, or an exit status after printing the reason.
 */
int channel_target_open(struct channel_target *target);

/** channel_target_open_named() - as channel_target_open(), after checking the operand NAME */
int channel_target_open_named(struct channel_target *target);

/** channel_target_close() - close them, and end this program if signals_stop_peer() is in effect */
void channel_target_close(struct channel_target *target);

/** channel_target_section_len() - about how long the peer's section is */
size_t channel_target_section_len(const struct channel_target *target);

/**
 * channel_target_failed() - print why a call for the channel has failed
 *
 * IVS_CHANNEL_E_BUSY, _FULL and _SECTION are explained. After a signal, nothing is printed.
 *
 * Return: STATUS_FAILED.
 */
int channel_target_failed(const struct channel_target *target, int result);

#endif
