/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of the capability that rule R-9 defines, as read by a program in a guest without our
 * driver, from valid and invalid configuration spaces.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "pci/function.h"
#include "peer/pci_identity.h"

/* Copy the configuration space of a device that ivshmem-device serves. */
static void make(uint8_t config[256], const char *name, unsigned int vectors_n)
{
	const struct ivs_pci_function_options options = {
		.revision = 1, .vectors_n = vectors_n, .memory_len = 4096, .name = name};
	struct ivs_pci_function *device = calloc(1, sizeof(*device));

	cr_assert_eq(ivs_pci_init(device, &options, NULL), 0);
	ivs_pci_read(device, IVS_PCI_CONFIG, 0, config, 256);
	free(device);
}

Test(pci_identity, name_is_found)
{
	static const char *const names[] = {
		"a", "demo", "looking-glass", "A.b_c-9",
		"0123456789012345678901234567890123456789012345678901234"
		"56789012"};
	uint8_t config[256];
	char name[IVS_PCI_CAP_NAME_MAX + 1];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		for (unsigned int vectors_n = 0; vectors_n < 2; vectors_n++) {
			make(config, names[i], vectors_n);
			cr_expect(ivs_pci_identity(config, 256, name));
			cr_expect_str_eq(name, names[i]);
		}
	}
}

Test(pci_identity, no_capability)
{
	uint8_t config[256];
	char name[IVS_PCI_CAP_NAME_MAX + 1] = "x";

	make(config, NULL, 1);
	cr_expect_not(ivs_pci_identity(config, 256, name));
	cr_expect_str_empty(name);
	make(config, NULL, 0);
	cr_expect_not(ivs_pci_identity(config, 256, name));
}

/* Capabilities are told apart by id and, if there are several with the same id, by order. */
Test(pci_identity, capability)
{
	uint8_t config[256];

	make(config, "demo", 1);
	cr_expect_eq(ivs_pci_capability(config, 256, 0x11, 0), 0x40);
	cr_expect_eq(ivs_pci_capability(config, 256, 0x09, 0), 0x4c);
	cr_expect_eq(ivs_pci_capability(config, 256, 0x09, 1), 0);
	cr_expect_eq(ivs_pci_capability(config, 256, 0x05, 0), 0);
	config[0x41] = 0x40; /* a loop */
	cr_expect_eq(ivs_pci_capability(config, 256, 0x09, 0), 0);
}

/* Linux lets an unprivileged process read only 64 bytes of configuration space, and any read may be
 * short. */
Test(pci_identity, truncated_configuration_space)
{
	uint8_t config[256];
	char name[IVS_PCI_CAP_NAME_MAX + 1];

	make(config, "demo", 1);
	for (size_t len = 0; len <= 256; len++) {
		/* A buffer of the exact length lets a sanitizer detect reads beyond it. */
		uint8_t *exact = malloc(len ? len : 1);
		const bool whole = len >= 0x4c + IVS_PCI_CAP_NAME_OFFSET + 4;

		memcpy(exact, config, len);
		cr_expect_eq(ivs_pci_identity(exact, len, name), whole, "%zu bytes", len);
		free(exact);
	}
}

/*
 * Set each byte to each value: the name must be empty or contain only characters that R-9 allows.
 */
Test(pci_identity, wrong_bytes_are_refused)
{
	uint8_t config[256];
	char name[IVS_PCI_CAP_NAME_MAX + 1];

	for (unsigned int at = 0; at < 256; at++) {
		for (unsigned int value = 0; value < 256; value++) {
			make(config, "demo", 1);
			config[at] = (uint8_t)value;
			if (ivs_pci_identity(config, 256, name))
				cr_expect_eq(strspn(name, IVS_PCI_CAP_NAME_BYTES), strlen(name));
			else
				cr_expect_str_empty(name);
		}
	}
}

Test(pci_identity, circular_list_of_capabilities)
{
	uint8_t config[256] = {0};
	char name[IVS_PCI_CAP_NAME_MAX + 1];

	config[0x06] = 0x10;
	config[0x34] = 0x40;
	config[0x41] = 0x44;
	config[0x45] = 0x40;
	cr_expect_not(ivs_pci_identity(config, 256, name));
}
