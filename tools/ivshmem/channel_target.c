/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/channel_target.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "base/parse.h"
#include "channel/layout.h"
#include "channel/section.h"
#include "tools/ivshmem/signals.h"

#define SECONDS_MAX (INT_MAX / 1000)

int channel_target_section(struct channel_target *target, const char *value)
{
	uint64_t number;

	if (!ivs_parse_uint(value, 0, IVS_CHANNEL_SECTIONS_MAX - 1, &number))
		return usage_error("invalid section", value, "use 0 to 4095");
	target->section = (uint32_t)number;
	return 0;
}

int channel_target_option(struct channel_target *target, int option, const char *value)
{
	uint64_t number;

	switch (option) {
	case 's':
		return channel_target_section(target, value);
	case 't':
		if (!ivs_parse_uint(value, 0, SECONDS_MAX, &number))
			return usage_error("invalid time limit", value,
					   "use a number of seconds, such as 10");
		target->timeout_ms = (int)number * 1000;
		return 0;
	default:
		return target_option(&target->target, option);
	}
}

int channel_target_operand(struct channel_target *target, char *value)
{
	if (!target_operand(&target->target, value))
		return 0;
	if (target->name)
		return USAGE_SURPLUS;
	target->name = value;
	return 0;
}

int channel_target_check_name(const char *name, const char *what, const char *value)
{
	if (ivs_endpoint_name_is_valid(name))
		return 0;
	return usage_error(what, value, "use 1 to 39 bytes without control characters");
}

/* Return: 0, or an exit status after printing the reason. */
static int check_operand(const struct channel_target *target)
{
	if (!target->target.text)
		return 0; /* target_open() reports that */
	if (!target->name) {
		fprintf(stderr, "%s: no NAME of a channel: see --help\n", usage_name());
		return STATUS_USAGE;
	}
	return channel_target_check_name(target->name, "invalid NAME", target->name);
}

/* Return: 0, or an exit status after printing the reason. */
static int check_section(const struct channel_target *target)
{
	const char *address = target->target.address;
	int id = ivs_peer_id(target->peer);

	if (id < 0 && target->section == IVS_CHANNEL_SECTION_OF_ID)
		return usage_failed("%s: this peer has no id: give it a section that no other peer "
				    "of the region uses, such as --section 0",
				    address);
	if (id >= 0 && target->section != IVS_CHANNEL_SECTION_OF_ID)
		return usage_failed("%s: this peer has id %d, and so section %d: leave out "
				    "--section %" PRIu32,
				    address, id, id, target->section);
	return 0;
}

static int open_channels(struct channel_target *target)
{
	struct ivs_channels_options options = IVS_CHANNELS_OPTIONS_INIT;
	struct ivs_error err;
	int status = check_section(target);

	if (status)
		return status;
	options.section = target->section;
	if (ivs_channels_open(target->peer, &options, &target->channels, &err))
		return usage_failed("%s: %s", target->target.address, err.text);
	return 0;
}

int channel_target_open(struct channel_target *target)
{
	int status = target_open(&target->target, false, &target->peer);

	if (status)
		return status;
	status = open_channels(target);
	if (status)
		channel_target_close(target);
	return status;
}

int channel_target_open_named(struct channel_target *target)
{
	int status = check_operand(target);

	return status ? status : channel_target_open(target);
}

void channel_target_close(struct channel_target *target)
{
	ivs_channels_close(target->channels);
	signals_forget_peer();
	ivs_peer_close(target->peer);
	target->channels = NULL;
	target->peer = NULL;
	signals_end();
}

size_t channel_target_section_len(const struct channel_target *target)
{
	return (ivs_peer_usable_len(target->peer) - IVS_CHANNEL_LAYOUT_LEN) /
	       ivs_channels_sections(target->channels);
}

int channel_target_failed(const struct channel_target *target, int result)
{
	const char *address = target->target.address;
	const char *name = target->name;

	if (signals_have_stopped())
		return STATUS_FAILED;
	switch (result) {
	case IVS_CHANNEL_E_BUSY:
		return usage_failed("\"%s\" in %s: another peer already receives from this name or "
				    "listens to it: use another name, or end that peer, whose "
				    "section \"ivshmem channels %s\" shows",
				    name, address, address);
	case IVS_CHANNEL_E_FULL:
		return usage_failed("\"%s\" in %s: %s: use a larger region, or fewer sections",
				    name, address, ivs_channel_strerror(result));
	case IVS_CHANNEL_E_SECTION:
		return usage_failed("\"%s\" in %s: another peer has taken section %" PRIu32
				    ", and both have stopped: start each with a --section of its "
				    "own",
				    name, address, ivs_channels_section(target->channels));
	default:
		return usage_failed("\"%s\" in %s: %s", name, address,
				    ivs_channel_strerror(result));
	}
}
