/* SPDX-License-Identifier: BSD-3-Clause */
#include "migration/side.h"

#include <string.h>

const struct ivs_migration_device *ivs_migration_find(const struct ivs_migration_side *side,
						      const char *slot)
{
	for (unsigned int i = 0; i < side->devices_n; i++) {
		if (!strcmp(side->devices[i].slot, slot))
			return &side->devices[i];
	}
	return NULL;
}

unsigned int ivs_migration_mark(struct ivs_migration_side *source,
				const struct ivs_migration_side *destination)
{
	unsigned int n = 0;

	for (unsigned int i = 0; i < source->devices_n; i++) {
		struct ivs_migration_device *device = &source->devices[i];

		device->replug = !(device->doorbell && device->master) &&
				 !ivs_migration_find(destination, device->slot);
		n += device->replug;
	}
	return n;
}

static int digit_of(char character)
{
	if (character >= '0' && character <= '9')
		return character - '0';
	if (character >= 'a' && character <= 'f')
		return character - 'a' + 10;
	return -1;
}

/* Parse a hexadecimal number of at most 64 bits, such as "0x0000000004000000". */
static bool parse_hex(const char *word, size_t len, uint64_t *out)
{
	uint64_t value = 0;

	if (len < 3 || len > 18 || strncmp(word, "0x", 2) != 0)
		return false;
	for (size_t i = 2; i < len; i++) {
		int digit = digit_of(word[i]);

		if (digit < 0)
			return false;
		value = value << 4 | (uint64_t)digit;
	}
	*out = value;
	return true;
}

/* Take the next word of a line, whose end is at @end. Return: its length; 0 if there is none. */
static size_t next_word(const char **at, const char *end)
{
	while (*at < end && (**at == ' ' || **at == '\t' || **at == '\r'))
		++*at;
	return strcspn(*at, " \t\r\n");
}

/* A line: name, page size ("4 KiB"), offset, used, total; newer versions have more. */
static bool parse_line(const char *at, const char *end, struct ivs_migration_block *out)
{
	uint64_t numbers[3];
	size_t len = next_word(&at, end);

	if (!len || len >= sizeof(out->name))
		return false;
	memcpy(out->name, at, len);
	out->name[len] = '\0';
	at += len;
	at += next_word(&at, end);
	at += next_word(&at, end); /* the unit of the page size */
	for (unsigned int i = 0; i < 3; i++) {
		len = next_word(&at, end);
		if (!parse_hex(at, len, &numbers[i]))
			return false;
		at += len;
	}
	out->offset = numbers[0];
	out->size = numbers[2];
	return true;
}

void ivs_migration_parse_blocks(const char *text, struct ivs_migration_side *side)
{
	struct ivs_migration_block block;

	side->blocks_n = 0;
	side->blocks_left = false;
	while (*text) {
		const char *end = text + strcspn(text, "\n");
		bool found = parse_line(text, end, &block);

		if (found && side->blocks_n < IVS_MIGRATION_BLOCKS_MAX)
			side->blocks[side->blocks_n++] = block;
		else
			side->blocks_left |= found;
		text = *end ? end + 1 : end;
	}
}
