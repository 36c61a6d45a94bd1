/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of what must be true before a migration: one row for each rule, with a change to two sides
 * that otherwise match.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "migration/check.h"

static struct ivs_migration_side source;
static struct ivs_migration_side destination;
static struct ivs_migration_problems problems;

static void reset(void)
{
	source = (struct ivs_migration_side){
		.major = 11,
		.minor = 1,
		.state = "running",
		.status = "failed",
		.arguments = true,
		.devices_n = 2,
		.devices = {{.id = "pl0",
			     .slot = "04.0",
			     .master = true,
			     .backend = "m0",
			     .share = true,
			     .size = 1 << 20},
			    {.id = "db0",
			     .slot = "01.0:00.0",
			     .doorbell = true,
			     .master = true,
			     .vectors = 2,
			     .size = 1 << 20}},
		.blocks_n = 2,
		.blocks = {{.name = "ram0", .size = 64 << 20},
			   {.name = "0000:00:04.0/m0", .offset = 64 << 20, .size = 1 << 20}},
	};
	destination = source;
	strcpy(destination.state, "inmigrate");
	strcpy(destination.status, "");
	destination.defer = true;
}

static void nothing(void)
{
}

static void version(void)
{
	destination.minor = 2;
}

static void postmigrate(void)
{
	strcpy(source.state, "postmigrate");
}

#define PEER_REASON "Migration is disabled when using feature 'peer mode' in device 'ivshmem'"

static void active(void)
{
	strcpy(source.status, "active");
}

static void not_waiting(void)
{
	strcpy(destination.state, "running");
}

static void not_deferred(void)
{
	destination.defer = false;
}

static void listens(void)
{
	destination.arguments = false;
	strcpy(destination.status, "setup");
}

static void blocked(void)
{
	strcpy(source.blocked, "VirtFS\x1b is mounted");
}

static void peer(void)
{
	source.devices[1].master = false;
	strcpy(source.blocked, PEER_REASON);
}

static void of_libvirt(void)
{
	source.libvirt = destination.libvirt = true;
}

static void peer_there(void)
{
	destination.devices[1].master = false;
}

static void other_slot(void)
{
	strcpy(destination.devices[1].slot, "05.0");
}

static void other_type(void)
{
	destination.devices[0].doorbell = true;
}

/* The destination lacks a plain device, which is plugged in again. */
static void lacks(void)
{
	destination.devices[0] = destination.devices[1];
	destination.devices_n = 1;
	strcpy(source.devices[0].bus, "rp0");
	strcpy(source.devices[0].file, "/dev/shm/a");
}

static void lacks_on_root_bus(void)
{
	lacks();
	strcpy(source.devices[0].bus, "pcie.0");
}

static void lacks_without_file(void)
{
	lacks();
	source.devices[0].file[0] = '\0';
}

static void lacks_paused(void)
{
	lacks();
	strcpy(source.state, "paused");
}

static void lacks_peer(void)
{
	lacks();
	source.devices[0].master = false;
	strcpy(source.blocked, PEER_REASON);
}

static void lacks_peer_only_migratable(void)
{
	lacks_peer();
	destination.only_migratable = true;
}

/* The destination lacks the doorbell device, which is a peer: it is plugged in again. */
static void lacks_doorbell(void)
{
	destination.devices_n = 1;
	strcpy(source.devices[1].bus, "rp0");
	source.devices[1].master = false;
	strcpy(source.blocked, PEER_REASON);
}

static void lacks_doorbell_on_root_bus(void)
{
	lacks_doorbell();
	strcpy(source.devices[1].bus, "pcie.0");
}

static void lacks_doorbell_master(void)
{
	lacks_doorbell();
	source.devices[1].master = true;
	*source.blocked = '\0';
}

static void plain_peers(void)
{
	source.devices[0].master = destination.devices[0].master = false;
}

static void vectors(void)
{
	destination.devices[1].vectors = 3;
}

static void size(void)
{
	destination.devices[1].size = 2 << 20;
}

static void backend(void)
{
	strcpy(destination.devices[0].backend, "m1");
}

static void private(void)
{
	source.devices[0].share = false;
}

static void memory(void)
{
	destination.blocks[0].size = 32 << 20;
}

static void other_memory(void)
{
	strcpy(destination.blocks[0].name, "pc.ram");
}

static void left_memory(void)
{
	lacks();
	strcpy(source.blocks[1].name, "0000:00:03.0:00.0/m0");
}

/* The memory of a device that is unplugged, and that of a device of another kind */
static void other_memory_of_devices(void)
{
	lacks();
	strcpy(source.blocks[0].name, "0000:00:02.0/vga.vram");
	destination.blocks_n = 0;
}

static void region_first(void)
{
	source.blocks[0].offset = 1 << 20;
	source.blocks[1].offset = 0;
}

static void region_first_with_kvm(void)
{
	region_first();
	source.kvm = true;
}

static void region_first_in_7_2(void)
{
	region_first();
	source.major = destination.major = 7;
}

static void region_as_large(void)
{
	region_first();
	source.blocks[1].size = 64 << 20;
}

static void too_many(void)
{
	source.devices_left = destination.blocks_left = true;
}

/* @names: the problems, in order, each followed by a space */
static const struct row {
	void (*change)(void);
	const char *names;
	const char *text;
} rows[] = {
	{nothing, "", ""},
	{too_many, "limits limits ", "the source has more than 16 ivshmem devices"},
	{version, "version ", "the source is QEMU 11.1, but the destination is QEMU 11.2"},
	{postmigrate, "source ", "in the state \"postmigrate\": it must be running or paused"},
	{active, "active ", "already under way (\"active\")"},
	{not_waiting, "incoming ", "does not wait for a migration: start it with -incoming defer"},
	{not_deferred, "incoming ", "already listens for a migration"},
	{listens, "incoming ", "already listens for a migration"},
	{of_libvirt, "libvirt libvirt ", "the source is a domain of libvirt"},
	{blocked, "blocked ", "QEMU refuses to migrate the source: VirtFS? is mounted"},
	{peer, "master ", "db0 of the source is a peer"},
	{peer_there, "master ", "db0 is the master at the source, but a peer at the destination"},
	{other_slot, "slot surplus ", "db0 is in slot 01.0:00.0 at the source"},
	{other_type, "slot ", "pl0 is an ivshmem-plain, but the device in its slot at the"},
	{lacks, "", ""},
	{lacks_on_root_bus, "replug ", "because it is on the root bus (slot 04.0)"},
	{lacks_without_file, "replug ", "its region has no file with which it could"},
	{lacks_paused, "replug ", "paused and cannot acknowledge that: resume it"},
	{lacks_peer, "", ""},
	{lacks_peer_only_migratable, "replug ", "which has -only-migratable"},
	{lacks_doorbell, "", ""},
	{lacks_doorbell_on_root_bus, "replug ", "because it is on the root bus"},
	{lacks_doorbell_master, "slot ", "the destination has no ivshmem device there"},
	{plain_peers, "master ", "start the destination without this device"},
	{vectors, "vectors ", "db0 has vectors=2 at the source, but vectors=3"},
	{size, "size ", "the region of db0 has 1M at the source, but 2M at the destination"},
	{backend, "backend ", "has the id \"m0\" at the source, but \"m1\" at the destination"},
	{private, "share ", "pl0 has no share=on at the source"},
	{memory, "memory ", "\"ram0\" has 64M at the source, but 32M at the destination"},
	{other_memory, "memory ", "the destination has no memory named \"ram0\""},
	{left_memory, "memory ", "remove it from the source (object-del, id \"m0\")"},
	{other_memory_of_devices, "", ""},
	{region_first, "order ", "the source would abort: under TCG, QEMU 11.1 fails an assertion"},
	{region_first_with_kvm, "", ""},
	{region_first_in_7_2, "", ""},
	{region_as_large, "", ""},
};

Test(migration_check, each_rule)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char names[256] = "";

		reset();
		rows[i].change();
		ivs_migration_mark(&source, &destination);
		ivs_migration_check(&source, &destination, &problems);
		for (unsigned int at = 0; at < problems.n; at++)
			strcat(strcat(names, problems.list[at].name), " ");
		cr_assert_str_eq(names, rows[i].names, "row %zu: %s", i, names);
		cr_assert(!problems.n || strstr(problems.list[0].text, rows[i].text), "row %zu: %s",
			  i, problems.list[0].text);
	}
}

/* However many problems there are, the list does not overflow. */
Test(migration_check, everything_is_wrong)
{
	reset();
	source.devices_n = IVS_MIGRATION_DEVICES_MAX;
	destination.devices_n = IVS_MIGRATION_DEVICES_MAX;
	for (unsigned int i = 0; i < IVS_MIGRATION_DEVICES_MAX; i++) {
		memset(source.devices[i].id, 'a', IVS_MIGRATION_ID_LEN - 1);
		memset(source.devices[i].slot, 'b', IVS_MIGRATION_ID_LEN - 1);
		memset(destination.devices[i].slot, 'c', IVS_MIGRATION_ID_LEN - 1);
		source.devices[i].master = false;
	}
	ivs_migration_check(&source, &destination, &problems);
	cr_assert_eq(problems.n, IVS_MIGRATION_PROBLEMS_MAX);
}
