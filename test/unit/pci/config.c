/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Configuration space must match the PCI Local Bus Specification 3.0 ("PCI 3.0") and PROTOCOL.md
 * ("R-1"). Each row of a table is a command of support/c/device_script.h with its expected output
 * after "=". A "device" command resets the function to its power-on state.
 */
#include <criterion/criterion.h>

#include "pci/function.h"
#include "support/c/device_rows.h"

/* PROTOCOL.md, R-1 */
Test(device_config, identity_of_plain)
{
	device_rows_run("device plain = ok\n"
			"read config 0x00 2 = 1af4\n"
			"read config 0x02 2 = 1110\n"
			"read config 0x00 4 = 11101af4\n"
			"read config 0x08 1 = 01\n"
			"read config 0x09 1 = 00\n"
			"read config 0x0a 1 = 00\n"
			"read config 0x0b 1 = 05\n"
			"read config 0x08 4 = 05000001\n"
			"read config 0x0e 1 = 00\n"
			"read config 0x0f 1 = 00\n"
			"read config 0x2c 2 = 1af4\n"
			"read config 0x2e 2 = 1100\n"
			"read config 0x2c 4 = 11001af4\n"
			"read config 0x3d 1 = 00\n"
			"read config 0x3e 2 = 0000\n"
			"read config 0x04 4 = 00000000\n"
			"read config 0x34 4 = 00000000\n"
			"read config 0x28 4 = 00000000\n"
			"read config 0x00 8 = 0000000011101af4\n"
			"read config 0x01 3 = 11101a\n"
			"read config 0x2b 7 = 000011001af400\n");
}

Test(device_config, identity_is_fixed)
{
	device_rows_run("device doorbell = ok\n"
			"write config 0x00 4 0xffffffff\n"
			"read config 0x00 4 = 11101af4\n"
			"write config 0x08 4 0xffffffff\n"
			"read config 0x08 4 = 05000001\n"
			"write config 0x2c 4 0xffffffff\n"
			"read config 0x2c 4 = 11001af4\n"
			"write config 0x0e 1 0xff\n"
			"read config 0x0e 1 = 00\n"
			"write config 0x0f 1 0xff\n"
			"read config 0x0f 1 = 00\n"
			"write config 0x34 1 0xff\n"
			"read config 0x34 1 = 40\n"
			"write config 0x3d 1 0xff\n"
			"read config 0x3d 1 = 00\n"
			"write config 0x3e 2 0xffff\n"
			"read config 0x3e 2 = 0000\n"
			"write config 0x28 4 0xffffffff\n"
			"read config 0x28 4 = 00000000\n");
}

/* Writable bits of Command: I/O and memory space, bus master, SERR# and INTx disable. */
Test(device_config, command_and_status)
{
	device_rows_run("device plain = ok\n"
			"write config 0x04 2 0xffff\n"
			"read config 0x04 2 = 0507\n"
			"write config 0x04 2 0x0000\n"
			"read config 0x04 2 = 0000\n"
			"write config 0x04 2 0x0002\n"
			"read config 0x04 2 = 0002\n"
			"write config 0x05 1 0x04\n"
			"read config 0x04 2 = 0402\n"
			"write config 0x04 1 0x04\n"
			"read config 0x04 2 = 0404\n"
			"write config 0x06 2 0xffff\n"
			"read config 0x06 2 = 0000\n"
			"write config 0x04 4 0xffffffff\n"
			"read config 0x04 4 = 00000507\n");
}

Test(device_config, scratch_of_the_header)
{
	device_rows_run("device plain = ok\n"
			"write config 0x0c 4 0xffffffff\n"
			"read config 0x0c 4 = 000000ff\n"
			"write config 0x0c 1 0x10\n"
			"read config 0x0c 1 = 10\n"
			"write config 0x3c 1 0x0b\n"
			"read config 0x3c 1 = 0b\n"
			"write config 0x3c 4 0xffffffff\n"
			"read config 0x3c 4 = 000000ff\n"
			"write config 0x3b 3 0x005aff\n"
			"read config 0x3b 3 = 005a00\n");
}

/* PCI 3.0, 6.2.5.1: after writing all ones, read-only bits are 0 or encode the type of the BAR. */
Test(device_config, sizing)
{
	device_rows_run("device doorbell memory=0x400000 = ok\n"
			"read config 0x10 4 = 00000000\n"
			"write config 0x10 4 0xffffffff\n"
			"read config 0x10 4 = ffffff00\n"
			"write config 0x14 4 0xffffffff\n"
			"read config 0x14 4 = fffff000\n"
			"read config 0x18 8 = 000000000000000c\n"
			"write config 0x18 4 0xffffffff\n"
			"read config 0x18 4 = ffc0000c\n"
			"read config 0x1c 4 = 00000000\n"
			"write config 0x1c 4 0xffffffff\n"
			"read config 0x1c 4 = ffffffff\n"
			"read config 0x18 8 = ffffffffffc0000c\n"
			"write config 0x20 4 0xffffffff\n"
			"read config 0x20 4 = 00000000\n"
			"write config 0x24 4 0xffffffff\n"
			"read config 0x24 4 = 00000000\n"
			"write config 0x30 4 0xffffffff\n"
			"read config 0x30 4 = 00000000\n"
			"write config 0x10 4 0xfebf1234\n"
			"read config 0x10 4 = febf1200\n"
			"write config 0x14 4 0xfebf1234\n"
			"read config 0x14 4 = febf1000\n"
			"write config 0x18 8 0x000000401234567f\n"
			"read config 0x18 8 = 000000401200000c\n"
			"write config 0x1b 1 0x80\n"
			"read config 0x18 4 = 8000000c\n");
}

Test(device_config, sizing_of_plain)
{
	device_rows_run("device plain memory=0x1000 = ok\n"
			"write config 0x10 4 0xffffffff\n"
			"read config 0x10 4 = ffffff00\n"
			"write config 0x14 4 0xffffffff\n"
			"read config 0x14 4 = 00000000\n"
			"write config 0x18 8 0xffffffffffffffff\n"
			"read config 0x18 8 = fffffffffffff00c\n"
			"len bar0 = 256\n"
			"len bar1 = 0\n"
			"len config = 256\n");
}

Test(device_config, sizing_beyond_4G)
{
	device_rows_run("device plain memory=0x200000000 = ok\n"
			"write config 0x18 4 0xffffffff\n"
			"read config 0x18 4 = 0000000c\n"
			"write config 0x1c 4 0xffffffff\n"
			"read config 0x1c 4 = fffffffe\n"
			"device plain memory=0x100000000 = ok\n"
			"write config 0x18 8 0xffffffffffffffff\n"
			"read config 0x18 8 = ffffffff0000000c\n"
			"device plain memory=0x8000000000000000 = ok\n"
			"write config 0x18 8 0xffffffffffffffff\n"
			"read config 0x18 8 = 800000000000000c\n");
}

Test(device_config, sizing_of_32_bits)
{
	device_rows_run("device legacy 32bit memory=0x100000 = ok\n"
			"read config 0x18 4 = 00000008\n"
			"write config 0x18 4 0xffffffff\n"
			"read config 0x18 4 = fff00008\n"
			"write config 0x1c 4 0xffffffff\n"
			"read config 0x1c 4 = 00000000\n"
			"device legacy 32bit memory=0x80000000 = ok\n"
			"write config 0x18 4 0xffffffff\n"
			"read config 0x18 4 = 80000008\n");
}

/* PCI 3.0, 6.8.2: BAR 1 contains the MSI-X table and the pending bits. */
Test(device_config, capability_of_msix)
{
	device_rows_run("device doorbell = ok\n"
			"read config 0x06 2 = 0010\n"
			"read config 0x34 1 = 40\n"
			"read config 0x40 1 = 11\n"
			"read config 0x41 1 = 00\n"
			"read config 0x42 2 = 0000\n"
			"read config 0x44 4 = 00000001\n"
			"read config 0x48 4 = 00000801\n"
			"write config 0x40 2 0xffff\n"
			"read config 0x40 2 = 0011\n"
			"write config 0x42 2 0xffff\n"
			"read config 0x42 2 = c000\n"
			"write config 0x44 4 0xffffffff\n"
			"read config 0x44 4 = 00000001\n"
			"write config 0x48 4 0xffffffff\n"
			"read config 0x48 4 = 00000801\n"
			"write config 0x43 1 0x40\n"
			"read config 0x42 2 = 4000\n"
			"write config 0x42 1 0xff\n"
			"read config 0x42 2 = 4000\n"
			"write config 0x4c 4 0xffffffff\n"
			"read config 0x4c 4 = 00000000\n"
			"write config 0xfc 4 0xffffffff\n"
			"read config 0xfc 4 = 00000000\n");
}

/* PROTOCOL.md, R-2 and R-6: BAR 1 has 4096 bytes unless the MSI-X table needs more. */
Test(device_config, layout_of_bar1)
{
	device_rows_run("device doorbell vectors=2 = ok\n"
			"read config 0x42 2 = 0001\n"
			"len bar1 = 4096\n"
			"device doorbell vectors=127 = ok\n"
			"read config 0x48 4 = 00000801\n"
			"device doorbell vectors=128 = ok\n"
			"read config 0x42 2 = 007f\n"
			"read config 0x48 4 = 00000801\n"
			"len bar1 = 4096\n"
			"device doorbell vectors=129 = ok\n"
			"read config 0x42 2 = 0080\n"
			"read config 0x44 4 = 00000001\n"
			"read config 0x48 4 = 00000811\n"
			"len bar1 = 4096\n"
			"device doorbell vectors=254 = ok\n"
			"read config 0x48 4 = 00000fe1\n"
			"len bar1 = 4096\n"
			"device doorbell vectors=255 = ok\n"
			"read config 0x48 4 = 00000ff1\n"
			"len bar1 = 8192\n"
			"write config 0x14 4 0xffffffff\n"
			"read config 0x14 4 = ffffe000\n"
			"device doorbell vectors=256 = ok\n"
			"read config 0x48 4 = 00001001\n"
			"len bar1 = 8192\n"
			"device doorbell vectors=2048 = ok\n"
			"read config 0x42 2 = 07ff\n"
			"read config 0x48 4 = 00008001\n"
			"len bar1 = 65536\n"
			"write config 0x14 4 0xffffffff\n"
			"read config 0x14 4 = ffff0000\n");
}

/* PROTOCOL.md, R-9 */
Test(device_config, capability_of_the_region)
{
	device_rows_run(
		"device doorbell name=db-1.x uuid = ok\n"
		"read config 0x06 2 = 0010\n"
		"read config 0x34 1 = 40\n"
		"read config 0x41 1 = 4c\n"
		"read config 0x4c 1 = 09\n"
		"read config 0x4d 1 = 00\n"
		"read config 0x4e 1 = 1e\n"
		"read config 0x4f 1 = 01\n"
		"read config 0x50 4 = 4e535649\n"
		"read config 0x54 8 = 0807060504030201\n"
		"read config 0x5c 8 = 100f0e0d0c0b0a09\n"
		"read config 0x64 6 = 782e312d6264\n"
		"read config 0x6a 2 = 0000\n"
		"write config 0x4c 4 0xffffffff\n"
		"read config 0x4c 4 = 011e0009\n"
		"write config 0x64 4 0xffffffff\n"
		"read config 0x64 4 = 312d6264\n"
		"device plain name=a = ok\n"
		"read config 0x06 2 = 0010\n"
		"read config 0x34 1 = 40\n"
		"read config 0x40 4 = 01190009\n"
		"read config 0x48 8 = 0000000000000000\n"
		"read config 0x58 2 = 0061\n"
		"device plain uuid = ok\n"
		"read config 0x40 4 = 01180009\n"
		"read config 0x48 2 = 0201\n"
		"device plain name= = ok\n"
		"read config 0x06 2 = 0000\n"
		"read config 0x34 1 = 00\n"
		"device doorbell "
		"name=0123456789012345678901234567890123456789012345678901234567890_Z uuid = ok\n"
		"read config 0x4e 1 = 57\n"
		"read config 0xa1 3 = 005a5f\n");
}

Test(device_config, invalid_options)
{
	device_rows_run(
		"device revision=2 = the device has no revision 2: use 0 or 1\n"
		"device vectors=2049 = 2049 vectors are more than MSI-X supports: use at most "
		"2048\n"
		"device intx = a device of revision 1 has no INTx: use revision 0\n"
		"device legacy intx vectors=2 = INTx is for a device without vectors, but this one "
		"has 2: use one or the other\n"
		"device memory=2048 = a region of 2048 bytes cannot be BAR 2: its size must be a "
		"power of two of at least 4096\n"
		"device memory=12288 = a region of 12288 bytes cannot be BAR 2: its size must be "
		"a power of two of at least 4096\n"
		"device memory=0 = a region of 0 bytes cannot be BAR 2: its size must be a power "
		"of two of at least 4096\n"
		"device 32bit memory=0x100000000 = a region of 4294967296 bytes is too large for a "
		"32-bit BAR 2: use at most 2147483648, or a 64-bit BAR 2\n"
		"device name=a/b = the name a/b of the region contains the byte 0x2f: only "
		"letters, "
		"digits and \"._-\" are allowed\n"
		"device name=0123456789012345678901234567890123456789012345678901234567890123 = "
		"the name 012345678901234567890123456789012345678901234567890123456789012... of "
		"the region has 64 bytes: use at most 63\n");
}

/* Changing the region's length must yield the same function as creating it with that length. */
Test(device_config, changed_length)
{
	static const uint64_t lens[] = {4096, 1 << 20, UINT64_C(1) << 31, UINT64_C(1) << 40};
	static const uint64_t bad[] = {0, 2048, 4097, 3 << 20, UINT64_MAX};
	static struct ivs_pci_function device, other;

	for (unsigned int i = 0; i < 16; i++) {
		struct ivs_pci_function_options options = {.revision = IVS_PCI_REVISION,
							   .vectors_n = i % 2 * 3};
		struct ivs_pci_function_options wanted;

		options.memory_len = lens[i / 4];
		wanted = options;
		wanted.memory_len = lens[i % 4];
		cr_assert_eq(ivs_pci_init(&device, &options, NULL), 0);
		cr_assert_eq(ivs_pci_init(&other, &wanted, NULL), 0);
		cr_expect_eq(ivs_pci_set_memory_len(&device, wanted.memory_len, NULL), 0);
		cr_expect_arr_eq(&device, &other, sizeof(device));
		cr_expect_eq(ivs_pci_set_memory_len(&device, bad[i % 5], NULL), IVS_PCI_E_OPTIONS);
		cr_expect_arr_eq(&device, &other, sizeof(device), "the device has changed");
	}
}

Test(device_config, changed_length_of_32_bits)
{
	struct ivs_pci_function_options options = {
		.revision = IVS_PCI_REVISION_LEGACY, .bar2_32bit = true, .memory_len = 1 << 20};
	static struct ivs_pci_function device;

	cr_assert_eq(ivs_pci_init(&device, &options, NULL), 0);
	cr_expect_eq(ivs_pci_set_memory_len(&device, UINT64_C(1) << 32, NULL), IVS_PCI_E_OPTIONS);
	cr_expect_eq(ivs_pci_set_memory_len(&device, UINT64_C(1) << 31, NULL), 0);
	cr_expect_eq(device.options.memory_len, UINT64_C(1) << 31);
}
