/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of parsing "info ramblock", as QEMU 7.2 and 11.1 print it, and of damaged output. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "migration/side.h"

static struct ivs_migration_side side;

Test(migration_side, blocks_of_7_2)
{
	ivs_migration_parse_blocks(
		"              Block Name    PSize              Offset               Used"
		"              Total\n"
		"                    ram0    4 KiB  0x0000000000000000 0x0000000004000000 "
		"0x0000000004000000\n"
		"    /rom@etc/acpi/tables    4 KiB  0x0000000004280000 0x0000000000020000 "
		"0x0000000000200000\n"
		"0000:00:02.0/ivshmem.bar2    4 KiB  0x0000000004180000 0x0000000000100000 "
		"0x0000000000100000\n",
		&side);
	cr_assert_eq(side.blocks_n, 3);
	cr_assert_str_eq(side.blocks[0].name, "ram0");
	cr_assert_eq(side.blocks[0].offset, 0);
	cr_assert_eq(side.blocks[0].size, 0x4000000);
	cr_assert_str_eq(side.blocks[1].name, "/rom@etc/acpi/tables");
	cr_assert_eq(side.blocks[1].size, 0x200000);
	cr_assert_str_eq(side.blocks[2].name, "0000:00:02.0/ivshmem.bar2");
	cr_assert_eq(side.blocks[2].offset, 0x4180000);
}

Test(migration_side, blocks_of_11_1)
{
	ivs_migration_parse_blocks(
		"              Block Name    PSize              Offset               Used"
		"              Total                HVA  RO\r\n"
		"                    ram0    2 MiB  0x0000000000000000 0x0000000004000000 "
		"0x0000000004000000 0x00007efd0be00000  rw\r\n",
		&side);
	cr_assert_eq(side.blocks_n, 1);
	cr_assert_eq(side.blocks[0].size, 0x4000000);
}

Test(migration_side, lines_that_are_not_understood)
{
	static const char *const lines[] = {
		"",
		"\n\n",
		"ram0",
		"ram0 4 KiB 0x0 0x0",
		"ram0 4 KiB 0x0 0x0 12",
		"ram0 4 KiB 0x0 0x0 0x",
		"ram0 4 KiB 0x0 0x0 0x00000000000000001",
		"ram0 4 KiB 0x0 0x0 0x0000000g00000000",
		"ram0 4 KiB 0x0 0x0\n0x0000000000000001",
	};

	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		ivs_migration_parse_blocks(lines[i], &side);
		cr_assert_eq(side.blocks_n, 0, "%s", lines[i]);
	}
}

Test(migration_side, limits)
{
	static char text[400 * 80];
	static char line[IVS_MIGRATION_NAME_LEN + 80];
	size_t len = 0;

	for (unsigned int i = 0; i < 400; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "b%u 4 KiB 0x1 0x2 0x3\n",
					i);
	ivs_migration_parse_blocks(text, &side);
	cr_assert_eq(side.blocks_n, IVS_MIGRATION_BLOCKS_MAX);
	cr_assert(side.blocks_left);
	memset(line, 'n', IVS_MIGRATION_NAME_LEN);
	strcpy(line + IVS_MIGRATION_NAME_LEN - 1, " 4 KiB 0x1 0x2 0x3\n");
	ivs_migration_parse_blocks(line, &side);
	cr_assert_eq(side.blocks_n, 1, "a name that just fits");
	cr_assert_not(side.blocks_left);
	strcpy(line + IVS_MIGRATION_NAME_LEN, " 4 KiB 0x1 0x2 0x3\n");
	line[IVS_MIGRATION_NAME_LEN - 1] = 'n';
	ivs_migration_parse_blocks(line, &side);
	cr_assert_eq(side.blocks_n, 0, "a name that does not");
}
