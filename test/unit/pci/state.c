/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of the PCI function's saved state: its format, and how invalid states are refused. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pci/function.h"

#define MEG (1u << 20)
#define CONFIG_AT 24
#define TABLE_AT 288

static const uint8_t uuid[IVS_PCI_UUID_LEN] = {9, 8, 7};

/*
 * Sets of options. A function with one of these sets must refuse the state of a function with any
 * other.
 */
static const struct ivs_pci_function_options kinds[] = {
	{.revision = 1, .memory_len = MEG},
	{.revision = 1, .memory_len = 2 * MEG},
	{.revision = 1, .memory_len = MEG, .bar2_32bit = true},
	{.revision = 1, .memory_len = MEG, .name = "a"},
	{.revision = 1, .memory_len = MEG, .name = "b"},
	{.revision = 1, .memory_len = MEG, .name = "ab"},
	{.revision = 1, .memory_len = MEG, .uuid = uuid},
	{.revision = 1, .memory_len = MEG, .vectors_n = 1},
	{.revision = 1, .memory_len = MEG, .vectors_n = 2, .name = "a", .uuid = uuid},
	{.revision = 1, .memory_len = MEG, .vectors_n = 2048},
	{.revision = 0, .memory_len = MEG},
	{.revision = 0, .memory_len = MEG, .intx = true},
	{.revision = 0, .memory_len = MEG, .vectors_n = 1},
};

#define KINDS_N (sizeof(kinds) / sizeof(kinds[0]))

/* Configuration bits that a guest can change, with 128 vectors and a 64-bit BAR 2 of 1 MiB. */
static const struct {
	size_t at;
	uint8_t bits;
} writable[] = {
	{0x04, 0x07}, {0x05, 0x05}, {0x0c, 0xff}, {0x11, 0xff}, {0x12, 0xff}, {0x13, 0xff},
	{0x15, 0xf0}, {0x16, 0xff}, {0x17, 0xff}, {0x1a, 0xf0}, {0x1b, 0xff}, {0x1c, 0xff},
	{0x1d, 0xff}, {0x1e, 0xff}, {0x1f, 0xff}, {0x3c, 0xff}, {0x43, 0xc0},
};

static void write_le(struct ivs_pci_function *device, enum ivs_pci_space region, size_t at,
		     uint32_t value)
{
	uint8_t bytes[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16),
			    (uint8_t)(value >> 24)};
	struct ivs_pci_ring ring;

	ivs_pci_write(device, region, at, bytes, sizeof(bytes), &ring);
}

static void make_device(struct ivs_pci_function *device,
			const struct ivs_pci_function_options *options)
{
	cr_assert_eq(ivs_pci_init(device, options, NULL), 0);
}

/* Change every part of the state from its power-on value. */
static void use_device(struct ivs_pci_function *device)
{
	write_le(device, IVS_PCI_CONFIG, 0x04, 0x0503);
	write_le(device, IVS_PCI_CONFIG, 0x10, 0xfebf0000);
	write_le(device, IVS_PCI_CONFIG, 0x14, 0xfebe0000);
	write_le(device, IVS_PCI_CONFIG, 0x1c, 0x00000012);
	write_le(device, IVS_PCI_CONFIG, 0x3c, 0x0a);
	write_le(device, IVS_PCI_CONFIG, 0x40, 0x80000000);
	write_le(device, IVS_PCI_BAR0, 0, 0x12345678);
	write_le(device, IVS_PCI_BAR0, 4, 0x9abcdef1);
	for (unsigned int i = 0; i < device->options.vectors_n; i++) {
		write_le(device, IVS_PCI_BAR1, 16 * (size_t)i, 0xfee00000 + i);
		write_le(device, IVS_PCI_BAR1, 16 * (size_t)i + 12, i & 1);
		if (i % 3 == 0)
			ivs_pci_doorbell(device, i);
	}
	ivs_pci_doorbell(device, device->options.vectors_n - 1);
}

/* Save into a buffer of the exact length, so that a sanitizer detects accesses beyond it. */
static uint8_t *save_device(const struct ivs_pci_function *device, size_t *len)
{
	uint8_t *state;

	*len = ivs_pci_state_len(device);
	state = malloc(*len);
	cr_assert(state);
	ivs_pci_save(device, state);
	return state;
}

Test(device_state, save_and_load)
{
	static struct ivs_pci_function device, other;

	for (size_t kind = 0; kind < KINDS_N; kind++) {
		uint8_t *state, *again;
		size_t len;

		make_device(&device, &kinds[kind]);
		make_device(&other, &kinds[kind]);
		use_device(&device);
		state = save_device(&device, &len);
		cr_assert_eq(ivs_pci_load(&other, state, len, NULL), 0);
		again = save_device(&other, &len);
		cr_expect_eq(memcmp(state, again, len), 0, "kind %zu", kind);
		cr_expect_eq(memcmp(&device, &other, sizeof(device)), 0, "kind %zu", kind);
		free(state);
		free(again);
	}
}

Test(device_state, bytes)
{
	static const uint8_t header[CONFIG_AT] = {'I', 'V', 'S', 'D', 'E', 'V', 'S', 'T', 1,   0,
						  0,   0,   1,	 0,   1,   0,	0,   0,	  0x10};
	static const uint8_t rest[] = {0x78, 0x56, 0x34, 0x12, 0xf1, 0xde, 0xbc, 0x9a, 0, 0, 0xe0,
				       0xfe, 0,	   0,	 0,    0,    0,	   0,	 0,    0, 0, 0,
				       0,    0,	   1,	 0,    0,    0,	   0,	 0,    0, 0};
	static struct ivs_pci_function device;
	uint8_t config[IVS_PCI_CONFIG_LEN];
	uint8_t *state;
	size_t len;

	make_device(&device, &kinds[7]);
	use_device(&device);
	ivs_pci_read(&device, IVS_PCI_CONFIG, 0, config, sizeof(config));
	state = save_device(&device, &len);
	cr_assert_eq(len, TABLE_AT + 16 + 8);
	cr_expect_eq(memcmp(state, header, sizeof(header)), 0);
	cr_expect_eq(memcmp(state + CONFIG_AT, config, sizeof(config)), 0);
	cr_expect_eq(memcmp(state + TABLE_AT - 8, rest, sizeof(rest)), 0);
	free(state);
}

Test(device_state, interrupt_status_follows_from_the_registers)
{
	static struct ivs_pci_function device;
	uint8_t *state, status;
	size_t len;

	make_device(&device, &kinds[11]);
	write_le(&device, IVS_PCI_BAR0, 0, 1);
	ivs_pci_doorbell(&device, 0);
	state = save_device(&device, &len);
	cr_expect_eq(state[CONFIG_AT + 6], 0);
	make_device(&device, &kinds[11]);
	cr_assert_eq(ivs_pci_load(&device, state, len, NULL), 0);
	ivs_pci_read(&device, IVS_PCI_CONFIG, 6, &status, 1);
	cr_expect_eq(status, 8);
	cr_expect(ivs_pci_intx(&device));
	free(state);
}

Test(device_state, other_lengths_are_refused)
{
	static struct ivs_pci_function device, before;
	struct ivs_error err;
	uint8_t *state;
	size_t len;

	make_device(&device, &kinds[8]);
	use_device(&device);
	before = device;
	state = save_device(&device, &len);
	for (size_t n = 0; n <= len + 9; n++) {
		uint8_t *cut = calloc(1, n ? n : 1);

		cr_assert(cut);
		memcpy(cut, state, n < len ? n : len);
		err.text[0] = '\0';
		cr_expect_eq(ivs_pci_load(&device, cut, n, &err), n == len ? 0 : IVS_PCI_E_STATE,
			     "%zu bytes", n);
		cr_expect_eq(*err.text == '\0', n == len);
		cr_expect_eq(memcmp(&device, &before, sizeof(device)), 0, "%zu bytes", n);
		free(cut);
	}
	free(state);
}

static bool may_change(const struct ivs_pci_function *device, size_t at, uint8_t bit)
{
	size_t pending_at = TABLE_AT + 16 * (size_t)device->options.vectors_n;

	if (at < CONFIG_AT)
		return false;
	for (size_t i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
		if (at - CONFIG_AT == writable[i].at)
			return writable[i].bits & bit;
	}
	if (at < CONFIG_AT + IVS_PCI_CONFIG_LEN)
		return false;
	if (at < pending_at)
		return true;
	return (at - pending_at) * 8 + (size_t)__builtin_ctz(bit) < device->options.vectors_n;
}

/* A state with a flipped bit is valid only if a guest can change that bit. */
static void flip_bit(const struct ivs_pci_function *original, uint8_t *state, size_t len, size_t at,
		     uint8_t bit)
{
	static struct ivs_pci_function device;
	uint8_t *again;

	device = *original;
	state[at] ^= bit;
	if (may_change(original, at, bit)) {
		cr_expect_eq(ivs_pci_load(&device, state, len, NULL), 0, "at %zu: %02x", at, bit);
		again = save_device(&device, &len);
		cr_expect_eq(memcmp(state, again, len), 0, "at %zu: %02x", at, bit);
		free(again);
	} else {
		cr_expect_eq(ivs_pci_load(&device, state, len, NULL), IVS_PCI_E_STATE,
			     "at %zu: %02x", at, bit);
		cr_expect_eq(memcmp(&device, original, sizeof(device)), 0, "at %zu: %02x", at, bit);
	}
	state[at] ^= bit;
}

Test(device_state, each_bit)
{
	static const unsigned int vectors[] = {1, 2, 63, 64, 65, 128};
	static struct ivs_pci_function device;

	for (size_t i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		struct ivs_pci_function_options options = {
			.revision = 1, .memory_len = MEG, .vectors_n = vectors[i], .name = "abc"};
		uint8_t *state;
		size_t len;

		make_device(&device, &options);
		use_device(&device);
		state = save_device(&device, &len);
		for (size_t at = 0; at < len; at++) {
			for (unsigned int bit = 1; bit < 256; bit *= 2)
				flip_bit(&device, state, len, at, (uint8_t)bit);
		}
		free(state);
	}
}

Test(device_state, other_devices_are_refused)
{
	static struct ivs_pci_function device, other, before;

	for (size_t kind = 0; kind < KINDS_N; kind++) {
		for (size_t i = 0; i < KINDS_N; i++) {
			struct ivs_error err = {0};
			uint8_t *state;
			size_t len;

			make_device(&device, &kinds[kind]);
			make_device(&other, &kinds[i]);
			before = other;
			state = save_device(&device, &len);
			cr_expect_eq(ivs_pci_load(&other, state, len, &err),
				     i == kind ? 0 : IVS_PCI_E_STATE, "%zu to %zu", kind, i);
			cr_expect_eq(*err.text == '\0', i == kind);
			cr_expect_eq(memcmp(&other, &before, sizeof(other)), 0);
			free(state);
		}
	}
}

static void expect_error(size_t kind, size_t at, uint8_t byte, const char *text)
{
	static struct ivs_pci_function device;
	struct ivs_error err = {0};
	uint8_t *state;
	size_t len;

	make_device(&device, &kinds[kind]);
	state = save_device(&device, &len);
	state[at] = byte;
	cr_expect_eq(ivs_pci_load(&device, state, len, &err), IVS_PCI_E_STATE);
	cr_expect_str_eq(err.text, text);
	free(state);
}

Test(device_state, error_messages)
{
	expect_error(0, 0, 'X',
		     "these 288 bytes are not a saved state: they do not begin with IVSDEVST");
	expect_error(0, 8, 2,
		     "the state has version 2, but only 1 is supported: save it with the same "
		     "version of this program");
	expect_error(
		7, 12, 3,
		"the saved device has vectors 3 and this one has 1: configure both identically");
	expect_error(
		0, 14, 0,
		"the saved device has revision 0 and this one has 1: configure both identically");
	expect_error(3, CONFIG_AT + 0x58, 'b',
		     "the state has 0x62 at offset 0x58 of configuration space, where this device "
		     "has 0x61: give both devices the same name and UUID");
	expect_error(7, TABLE_AT + 16, 2,
		     "the state is damaged: a vector is pending after the last of 1");
}
