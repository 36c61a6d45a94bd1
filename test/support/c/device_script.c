/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/c/device_script.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pci/private.h"

#define LINE_MAX_LEN 512
#define WORDS_MAX 12
#define CANARY 0x50 /* the byte after the buffer, which a read must not change */

/* The words of a line, which is split in place. */
struct words {
	char *word[WORDS_MAX];
	size_t n;
};

static void split_words(char *line, struct words *words)
{
	char *rest = NULL;

	words->n = 0;
	for (char *word = strtok_r(line, " \n", &rest); word && words->n < WORDS_MAX;
	     word = strtok_r(NULL, " \n", &rest))
		words->word[words->n++] = word;
}

static uint64_t word_number(const struct words *words, size_t i)
{
	return i < words->n ? strtoull(words->word[i], NULL, 0) : 0;
}

static bool get_region(const struct words *words, enum ivs_pci_space *out)
{
	const char *word = words->n > 1 ? words->word[1] : "";

	if (strcmp(word, "config") == 0)
		*out = IVS_PCI_CONFIG;
	else if (strcmp(word, "bar0") == 0)
		*out = IVS_PCI_BAR0;
	else if (strcmp(word, "bar1") == 0)
		*out = IVS_PCI_BAR1;
	else
		return false;
	return true;
}

static void set_option(struct device_script *s, const char *word)
{
	const char *value = strchr(word, '=');
	uint64_t n = value ? strtoull(value + 1, NULL, 0) : 0;

	if (strcmp(word, "doorbell") == 0)
		s->options.vectors_n = 1;
	else if (strcmp(word, "legacy") == 0)
		s->options.revision = 0;
	else if (strcmp(word, "intx") == 0)
		s->options.intx = true;
	else if (strcmp(word, "32bit") == 0)
		s->options.bar2_32bit = true;
	else if (strcmp(word, "uuid") == 0)
		s->options.uuid = (const uint8_t *)DEVICE_SCRIPT_UUID;
	else if (strncmp(word, "vectors=", 8) == 0)
		s->options.vectors_n = (unsigned int)n;
	else if (strncmp(word, "memory=", 7) == 0)
		s->options.memory_len = n;
	else if (strncmp(word, "revision=", 9) == 0)
		s->options.revision = (unsigned int)n;
	else if (strncmp(word, "name=", 5) == 0) {
		snprintf(s->name, sizeof(s->name), "%s", value + 1);
		s->options.name = s->name;
	}
}

static bool do_device(struct device_script *s, const struct words *words, char *out)
{
	struct ivs_error err = {0};

	s->options = (struct ivs_pci_function_options){.revision = 1, .memory_len = 1 << 20};
	for (size_t i = 1; i < words->n; i++)
		set_option(s, words->word[i]);
	if (ivs_pci_init(&s->device, &s->options, &err))
		snprintf(out, DEVICE_SCRIPT_OUT, "%s", err.text);
	else
		strcpy(out, "ok");
	return true;
}

static bool do_read(struct device_script *s, const struct words *words, char *out)
{
	uint8_t bytes[256] = {0};
	enum ivs_pci_space region;
	size_t len = word_number(words, 3);

	if (words->n != 4 || !get_region(words, &region) || len >= sizeof(bytes))
		return false;
	bytes[len] = CANARY;
	ivs_pci_read(&s->device, region, word_number(words, 2), bytes, len);
	if (bytes[len] != CANARY)
		abort();
	for (size_t i = len; i-- > 0; out += 2)
		sprintf(out, "%02x", bytes[i]);
	return true;
}

static bool do_write(struct device_script *s, const struct words *words, char *out)
{
	uint8_t bytes[256] = {0};
	enum ivs_pci_space region;
	struct ivs_pci_ring ring;
	size_t len = word_number(words, 3);

	if (words->n != 5 || !get_region(words, &region) || len > sizeof(bytes))
		return false;
	ivs_put_le(word_number(words, 4), bytes, len < 8 ? len : 8);
	ivs_pci_write(&s->device, region, word_number(words, 2), bytes, len, &ring);
	if (ring.rung)
		sprintf(out, "ring %u %u", ring.peer, ring.vector);
	return true;
}

/*
 * Save and load the device. Overwrite the whole struct in between, so that only the saved state is
 * carried over.
 */
static void move_device(struct device_script *s, char *out)
{
	size_t len = ivs_pci_state_len(&s->device);
	uint8_t *state = malloc(len);
	uint32_t id = s->device.id;
	uint64_t routed[IVS_MSIX_VECTORS_MAX / 64];
	struct ivs_error err = {0};

	if (!state)
		abort();
	ivs_pci_save(&s->device, state);
	memcpy(routed, s->device.routed, sizeof(routed));
	memset(&s->device, 0xa5, sizeof(s->device));
	if (ivs_pci_init(&s->device, &s->options, &err) ||
	    ivs_pci_load(&s->device, state, len, &err))
		snprintf(out, DEVICE_SCRIPT_OUT, "%s", err.text);
	else
		strcpy(out, "ok");
	s->device.id = id;
	memcpy(s->device.routed, routed, sizeof(routed));
	free(state);
}

static bool do_other(struct device_script *s, const struct words *words, char *out)
{
	const char *verb = words->word[0];
	enum ivs_pci_space region;
	unsigned int vector;

	if (strcmp(verb, "len") == 0 && get_region(words, &region))
		sprintf(out, "%zu", ivs_pci_space_len(&s->device, region));
	else if (strcmp(verb, "id") == 0)
		ivs_pci_set_id(&s->device, (int)word_number(words, 1));
	else if (strcmp(verb, "reset") == 0)
		ivs_pci_reset(&s->device);
	else if (strcmp(verb, "doorbell") == 0)
		ivs_pci_doorbell(&s->device, (unsigned int)word_number(words, 1));
	else if (strcmp(verb, "route") == 0 || strcmp(verb, "unroute") == 0)
		ivs_pci_route(&s->device, (unsigned int)word_number(words, 1), *verb == 'r');
	else if (strcmp(verb, "next") == 0 && ivs_pci_next_vector(&s->device, &vector))
		sprintf(out, "%u", vector);
	else if (strcmp(verb, "next") == 0)
		strcpy(out, "none");
	else if (strcmp(verb, "intx") == 0)
		strcpy(out, ivs_pci_intx(&s->device) ? "up" : "down");
	else if (strcmp(verb, "move") == 0)
		move_device(s, out);
	else
		return false;
	return true;
}

bool device_script_line(struct device_script *s, const char *line, char out[DEVICE_SCRIPT_OUT])
{
	char copy[LINE_MAX_LEN];
	struct words words;

	*out = '\0';
	if ((size_t)snprintf(copy, sizeof(copy), "%s", line) >= sizeof(copy))
		return false;
	split_words(copy, &words);
	if (!words.n)
		return false;
	if (strcmp(words.word[0], "device") == 0)
		return do_device(s, &words, out);
	if (strcmp(words.word[0], "read") == 0)
		return do_read(s, &words, out);
	if (strcmp(words.word[0], "write") == 0)
		return do_write(s, &words, out);
	return do_other(s, &words, out);
}
