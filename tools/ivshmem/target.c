/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/target.h"

#include <stdio.h>

#include "ivshmem/registers.h"
#include "tools/shared/guard.h"

#define EVENTS_MAX (2 * (IVS_ID_MAX + 1))

int target_option(struct target *target, int option)
{
	if (option == OPTION_ANY_FILE_SYSTEM) {
		target->options.any_file_system = true;
		return 0;
	}
	fprintf(stderr, "Try \"%s --help\".\n", usage_name());
	return STATUS_USAGE;
}

int target_json_option(struct target *target, int option)
{
	if (option != 'j')
		return target_option(target, option);
	target->json = true;
	return 0;
}

int target_operand(struct target *target, char *value)
{
	if (target->text)
		return USAGE_SURPLUS;
	target->text = value;
	return 0;
}

int target_open(struct target *target, bool read_only, struct ivs_peer **out)
{
	struct ivs_error err;
	int status;

	if (!target->text) {
		fprintf(stderr,
			"%s: no ADDRESS: use a name, such as looking-glass, or see --help\n",
			usage_name());
		return STATUS_USAGE;
	}
	status = address_complete(target->text, target->address);
	if (status)
		return status;
	guard_start();
	if (read_only ? ivs_peer_open_read_only(target->address, &target->options, out, &err)
		      : ivs_peer_open(target->address, &target->options, out, &err))
		return usage_failed("%s", err.text);
	return 0;
}

void target_take_joins(struct ivs_peer *peer)
{
	struct ivs_event event;

	/* Each peer joins once; a hostile one that rings all the time must not stall us here. */
	for (unsigned int i = 0; i < EVENTS_MAX && !ivs_peer_next(peer, 0, &event); i++)
		;
}
