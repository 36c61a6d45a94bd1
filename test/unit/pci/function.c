/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Registers, MSI-X, interrupts and reset must match the PCI Local Bus Specification 3.0 ("PCI 3.0")
 * and PROTOCOL.md ("R-3"). Each row of a table is a command of support/c/device_script.h with its
 * expected output after "=". A "device" command resets the function to its power-on state.
 */
#include <criterion/criterion.h>

#include "support/c/device_rows.h"

/* PROTOCOL.md, R-3 */
Test(device, registers)
{
	device_rows_run("device plain = ok\n"
			"read bar0 0x00 4 = 00000000\n"
			"read bar0 0x04 4 = 00000000\n"
			"read bar0 0x08 4 = 00000000\n"
			"read bar0 0x0c 4 = 00000000\n"
			"read bar0 0x10 4 = 00000000\n"
			"read bar0 0xfc 4 = 00000000\n"
			"id 5\n"
			"read bar0 0x08 4 = 00000005\n"
			"id 65535\n"
			"read bar0 0x08 4 = 0000ffff\n"
			"write bar0 0x08 4 0x12345678\n"
			"read bar0 0x08 4 = 0000ffff\n"
			"id -1\n"
			"read bar0 0x08 4 = ffffffff\n"
			"write bar0 0x10 4 0xffffffff\n"
			"read bar0 0x10 4 = 00000000\n"
			"write bar0 0xfc 4 0xffffffff\n"
			"read bar0 0xfc 4 = 00000000\n"
			"write bar0 0x00 4 0xfedcba98\n"
			"read bar0 0x00 4 = fedcba98\n"
			"read bar0 0x00 4 = fedcba98\n");
}

Test(device, status_is_cleared_by_a_read)
{
	device_rows_run("device plain = ok\n"
			"write bar0 0x04 4 0x12345678\n"
			"read bar0 0x04 4 = 12345678\n"
			"read bar0 0x04 4 = 00000000\n"
			"write bar0 0x04 4 0x12345678\n"
			"read bar0 0x04 1 = 78\n"
			"read bar0 0x04 4 = 00000000\n"
			"write bar0 0x04 4 0x12345678\n"
			"read bar0 0x04 2 = 5678\n"
			"read bar0 0x04 4 = 00000000\n"
			"write bar0 0x04 4 0x12345678\n"
			"read bar0 0x00 8 = 1234567800000000\n"
			"read bar0 0x04 4 = 00000000\n"
			"write bar0 0x04 4 0x12345678\n"
			"read bar0 0x05 1 = 00\n"
			"read bar0 0x06 2 = 0000\n"
			"read bar0 0x07 1 = 00\n"
			"read bar0 0x00 4 = 00000000\n"
			"read bar0 0x04 4 = 12345678\n");
}

Test(device, smaller_accesses)
{
	device_rows_run("device plain = ok\n"
			"id 0x1234\n"
			"write bar0 0x00 4 0x89abcdef\n"
			"read bar0 0x00 1 = ef\n"
			"read bar0 0x00 2 = cdef\n"
			"read bar0 0x01 1 = 00\n"
			"read bar0 0x02 1 = 00\n"
			"read bar0 0x02 2 = 0000\n"
			"read bar0 0x03 1 = 00\n"
			"read bar0 0x08 1 = 34\n"
			"read bar0 0x08 2 = 1234\n"
			"read bar0 0x09 1 = 00\n"
			"read bar0 0x0a 2 = 0000\n"
			"read bar0 0x08 8 = 0000000000001234\n"
			"write bar0 0x00 1 0x77\n"
			"read bar0 0x00 4 = 00000077\n"
			"write bar0 0x00 2 0x6655\n"
			"read bar0 0x00 4 = 00006655\n"
			"write bar0 0x03 1 0x44\n"
			"read bar0 0x00 4 = 00000044\n"
			"write bar0 0x02 2 0x3322\n"
			"read bar0 0x00 4 = 00003322\n"
			"write bar0 0x06 2 0x3322\n"
			"read bar0 0x04 4 = 00003322\n"
			"write bar0 0x00 8 0x1122334455667788\n"
			"read bar0 0x00 4 = 55667788\n"
			"read bar0 0x04 4 = 11223344\n"
			"write bar0 0x09 1 0x11\n"
			"read bar0 0x08 4 = 00001234\n");
}

/* Unaligned and longer accesses are split into pieces of 1, 2 or 4 bytes. */
Test(device, unaligned_and_odd)
{
	device_rows_run("device plain = ok\n"
			"id 0x1234\n"
			"write bar0 0x00 8 0x2222222211111111\n"
			"read bar0 0x01 4 = 22000000\n"
			"write bar0 0x00 8 0x2222222211111111\n"
			"read bar0 0x02 8 = 1234222222220000\n");
}

/* PROTOCOL.md, R-4 */
Test(device, doorbell)
{
	device_rows_run("device plain = ok\n"
			"write bar0 0x0c 4 0x00000000 = ring 0 0\n"
			"write bar0 0x0c 4 0x00050001 = ring 5 1\n"
			"write bar0 0x0c 4 0xffffffff = ring 65535 65535\n"
			"write bar0 0x0c 4 0x00010100 = ring 1 256\n"
			"write bar0 0x0c 4 0xffff0000 = ring 65535 0\n"
			"write bar0 0x0c 1 0x7f = ring 0 127\n"
			"write bar0 0x0c 2 0x1234 = ring 0 4660\n"
			"write bar0 0x0d 1 0x01 = ring 0 1\n"
			"write bar0 0x0e 2 0x0203 = ring 0 515\n"
			"write bar0 0x08 8 0x0005000100000000 = ring 5 1\n"
			"write bar0 0x0c 8 0x1111111100050001 = ring 5 1\n"
			"write bar0 0x10 4 0x00050001\n"
			"write bar0 0x08 4 0x00050001\n"
			"write bar0 0x00 8 0x0005000100050001\n"
			"write bar0 0x09 4 0x00050001 = ring 0 0\n"
			"read bar0 0x0c 4 = 00000000\n");
}

/* An interrupt is sent if it is enabled, unmasked and has a route, and Bus Master is set. */
Test(device, vectors)
{
	device_rows_run("device doorbell vectors=3 = ok\n"
			"next = none\n"
			"route 0\n"
			"route 1\n"
			"route 2\n"
			"write config 0x04 2 0x0006\n"
			"doorbell 1\n"
			"next = none\n"
			"write config 0x42 2 0x8000\n"
			"next = none\n"
			"doorbell 1\n"
			"next = 1\n"
			"next = none\n"
			"doorbell 2\n"
			"doorbell 0\n"
			"doorbell 2\n"
			"next = 0\n"
			"next = 2\n"
			"next = none\n"
			"doorbell 3\n"
			"doorbell 64\n"
			"doorbell 2048\n"
			"doorbell 65535\n"
			"next = none\n");
}

Test(device, masked_as_a_whole)
{
	device_rows_run("device doorbell vectors=2 = ok\n"
			"route 0\n"
			"route 1\n"
			"write config 0x04 2 0x0004\n"
			"write config 0x42 2 0xc000\n"
			"doorbell 1\n"
			"next = none\n"
			"read bar1 0x800 4 = 00000002\n"
			"write config 0x42 2 0x8000\n"
			"next = 1\n"
			"read bar1 0x800 4 = 00000000\n"
			"doorbell 0\n"
			"write config 0x42 2 0x0000\n"
			"next = none\n"
			"read bar1 0x800 4 = 00000001\n"
			"doorbell 1\n"
			"read bar1 0x800 4 = 00000001\n"
			"write config 0x42 2 0x8000\n"
			"next = 0\n"
			"next = none\n");
}

/* PROTOCOL.md, R-7 */
Test(device, bus_master)
{
	device_rows_run("device doorbell = ok\n"
			"route 0\n"
			"write config 0x42 2 0x8000\n"
			"doorbell 0\n"
			"next = none\n"
			"write config 0x04 2 0x0003\n"
			"next = none\n"
			"write config 0x04 2 0x0007\n"
			"next = 0\n");
}

Test(device, routes)
{
	device_rows_run("device doorbell vectors=2 = ok\n"
			"write config 0x04 2 0x0006\n"
			"write config 0x42 2 0x8000\n"
			"route 1\n"
			"doorbell 0\n"
			"doorbell 1\n"
			"next = 1\n"
			"next = none\n"
			"read bar1 0x800 8 = 0000000000000001\n"
			"unroute 1\n"
			"doorbell 1\n"
			"next = none\n"
			"route 0\n"
			"next = 0\n"
			"route 2\n"
			"route 65535\n"
			"unroute 65535\n"
			"next = none\n"
			"route 1\n"
			"next = 1\n");
}

Test(device, many_vectors)
{
	device_rows_run("device doorbell vectors=2048 = ok\n"
			"write config 0x04 2 0x0004\n"
			"write config 0x42 2 0x8000\n"
			"doorbell 0\n"
			"doorbell 63\n"
			"doorbell 64\n"
			"doorbell 2047\n"
			"read bar1 0x8000 8 = 8000000000000001\n"
			"read bar1 0x8008 8 = 0000000000000001\n"
			"read bar1 0x80fc 4 = 80000000\n"
			"read bar1 0x8100 4 = 00000000\n"
			"route 2047\n"
			"next = 2047\n"
			"next = none\n"
			"route 64\n"
			"route 63\n"
			"next = 63\n"
			"next = 64\n"
			"next = none\n"
			"read bar1 0x8000 8 = 0000000000000001\n");
}

/* PCI 3.0, 6.8.2.6: MSI-X table entries are masked after reset. BAR 1 supports accesses of 4 and 8
 * bytes. */
Test(device, table)
{
	device_rows_run("device doorbell vectors=2 = ok\n"
			"read bar1 0x00 8 = 0000000000000000\n"
			"read bar1 0x08 8 = 0000000100000000\n"
			"read bar1 0x18 8 = 0000000100000000\n"
			"read bar1 0x2c 4 = 00000000\n"
			"write bar1 0x00 8 0x11223344fee01000\n"
			"read bar1 0x00 4 = fee01000\n"
			"read bar1 0x04 4 = 11223344\n"
			"write bar1 0x0c 4 0x00000000\n"
			"read bar1 0x0c 4 = 00000000\n"
			"write bar1 0x18 4 0x00004041\n"
			"read bar1 0x18 8 = 0000000100004041\n"
			"write bar1 0x00 1 0xff\n"
			"read bar1 0x00 4 = fee01000\n"
			"write bar1 0x00 2 0xffff\n"
			"read bar1 0x00 4 = fee01000\n"
			"read bar1 0x00 1 = 00\n"
			"read bar1 0x00 2 = 0000\n"
			"write bar1 0x20 4 0xffffffff\n"
			"read bar1 0x20 4 = 00000000\n"
			"write bar1 0x800 8 0xffffffffffffffff\n"
			"read bar1 0x800 8 = 0000000000000000\n"
			"write bar1 0xffc 4 0xffffffff\n"
			"read bar1 0xffc 4 = 00000000\n");
}

Test(device, reset_of_all)
{
	device_rows_run("device doorbell vectors=2 = ok\n"
			"id 7\n"
			"route 0\n"
			"write config 0x04 2 0x0507\n"
			"write config 0x0c 1 0x10\n"
			"write config 0x3c 1 0x0b\n"
			"write config 0x10 4 0xfe000000\n"
			"write config 0x14 4 0xfd000000\n"
			"write config 0x18 8 0x4000000000\n"
			"write config 0x42 2 0xc000\n"
			"write bar0 0x00 8 0x1111111122222222\n"
			"write bar1 0x00 8 0x1111111122222222\n"
			"write bar1 0x0c 4 0x00000000\n"
			"doorbell 0\n"
			"doorbell 1\n"
			"reset\n"
			"read config 0x04 4 = 00100000\n"
			"read config 0x0c 1 = 00\n"
			"read config 0x3c 1 = 00\n"
			"read config 0x10 8 = 0000000000000000\n"
			"read config 0x18 8 = 000000000000000c\n"
			"read config 0x42 2 = 0001\n"
			"read bar0 0x00 8 = 0000000000000000\n"
			"read bar0 0x08 4 = 00000007\n"
			"read bar1 0x00 8 = 0000000000000000\n"
			"read bar1 0x08 8 = 0000000100000000\n"
			"read bar1 0x800 8 = 0000000000000000\n"
			"write config 0x04 2 0x0004\n"
			"write config 0x42 2 0x8000\n"
			"next = none\n"
			"doorbell 1\n"
			"doorbell 0\n"
			"next = 0\n"
			"next = none\n");
}

Test(device, revision_0)
{
	device_rows_run("device legacy intx = ok\n"
			"read config 0x08 4 = 05000000\n"
			"read config 0x3d 1 = 01\n"
			"read config 0x06 2 = 0000\n"
			"read config 0x34 1 = 00\n"
			"len bar1 = 0\n"
			"id -1\n"
			"read bar0 0x08 4 = ffffffff\n"
			"id 0\n"
			"read bar0 0x08 4 = 00000000\n"
			"device legacy = ok\n"
			"read config 0x3d 1 = 01\n"
			"device legacy vectors=4 = ok\n"
			"read config 0x08 1 = 00\n"
			"read config 0x3d 1 = 01\n"
			"read config 0x34 1 = 40\n"
			"read config 0x42 2 = 0003\n"
			"write config 0x04 2 0x0004\n"
			"write config 0x42 2 0x8000\n"
			"route 3\n"
			"doorbell 3\n"
			"next = 3\n"
			"read bar0 0x04 4 = 00000000\n");
}

/* The INTx pin follows Status and Mask. So does Interrupt Status, even while INTx is disabled. */
Test(device, intx)
{
	device_rows_run("device legacy intx = ok\n"
			"intx = down\n"
			"doorbell 0\n"
			"intx = down\n"
			"read config 0x06 2 = 0000\n"
			"write bar0 0x00 4 1\n"
			"intx = up\n"
			"read config 0x06 2 = 0008\n"
			"read config 0x06 1 = 08\n"
			"read config 0x05 1 = 00\n"
			"read config 0x07 1 = 00\n"
			"read config 0x04 4 = 00080000\n"
			"read config 0x05 3 = 000800\n"
			"write config 0x04 2 0x0400\n"
			"intx = down\n"
			"read config 0x04 4 = 00080400\n"
			"write config 0x04 2 0x0000\n"
			"intx = up\n"
			"write bar0 0x00 4 0\n"
			"intx = down\n"
			"write bar0 0x00 4 2\n"
			"intx = down\n"
			"write bar0 0x00 4 0xffffffff\n"
			"intx = up\n"
			"read bar0 0x04 4 = 00000001\n"
			"intx = down\n"
			"read config 0x06 2 = 0000\n"
			"doorbell 1\n"
			"intx = up\n"
			"read bar0 0x04 1 = 01\n"
			"intx = down\n"
			"doorbell 65535\n"
			"intx = up\n"
			"reset\n"
			"intx = down\n"
			"read bar0 0x00 8 = 0000000000000000\n"
			"next = none\n"
			"write bar0 0x04 4 2\n"
			"write bar0 0x00 4 2\n"
			"intx = up\n"
			"write config 0x06 2 0x0008\n"
			"read config 0x06 2 = 0008\n"
			"intx = up\n");
}

Test(device, no_intx_elsewhere)
{
	device_rows_run("device plain = ok\n"
			"write bar0 0x00 8 0xffffffffffffffff\n"
			"intx = down\n"
			"read config 0x06 2 = 0000\n"
			"doorbell 0\n"
			"read bar0 0x04 4 = ffffffff\n"
			"read bar0 0x04 4 = 00000000\n"
			"device legacy = ok\n"
			"write bar0 0x00 4 1\n"
			"doorbell 0\n"
			"intx = down\n"
			"read bar0 0x04 4 = 00000000\n"
			"device legacy vectors=1 = ok\n"
			"write bar0 0x00 4 1\n"
			"doorbell 0\n"
			"intx = down\n"
			"read bar0 0x04 4 = 00000000\n");
}

Test(device, beyond_the_region)
{
	device_rows_run("device plain = ok\n"
			"write bar0 0x00 4 0xffffffff\n"
			"read bar0 0x00 1 = ff\n"
			"read bar0 0xfd 4 = 00000000\n"
			"read bar0 0x100 1 = 00\n"
			"read bar0 0xffffffffffffffff 4 = 00000000\n"
			"read config 0xfd 4 = 00000000\n"
			"read config 0x100 4 = 00000000\n"
			"read config 0xfffffffffffffff0 16 = 00000000000000000000000000000000\n"
			"read bar1 0x00 4 = 00000000\n"
			"write bar1 0x00 4 0xffffffff\n"
			"write config 0x100 4 0xffffffff\n"
			"write bar0 0xfffffffffffffffc 8 0xffffffff\n"
			"write bar0 0x100 4 0xffffffff\n"
			"read bar0 0x00 0\n"
			"read bar0 0x100 0\n");
}

Test(device, moved)
{
	device_rows_run("device doorbell vectors=65 name=x = ok\n"
			"id 3\n"
			"write config 0x04 2 0x0006\n"
			"write config 0x42 2 0x8000\n"
			"write config 0x18 8 0x4000000000\n"
			"write bar0 0x00 8 0x1111111122222222\n"
			"write bar1 0x410 8 0x0123456789abcdef\n"
			"doorbell 64\n"
			"move = ok\n"
			"read config 0x04 2 = 0006\n"
			"read config 0x42 2 = 8040\n"
			"read config 0x18 8 = 000000400000000c\n"
			"read bar0 0x00 8 = 1111111122222222\n"
			"read bar1 0x410 8 = 0000000000000000\n"
			"read bar1 0x808 8 = 0000000000000001\n"
			"route 64\n"
			"next = 64\n"
			"device legacy intx = ok\n"
			"write bar0 0x00 4 1\n"
			"doorbell 0\n"
			"move = ok\n"
			"intx = up\n"
			"read config 0x06 2 = 0008\n");
}
