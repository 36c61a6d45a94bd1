/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is known about a VM that is to be migrated, or that waits for the migration. All of it is
 * untrusted.
 */
#ifndef IVS_MIGRATION_SIDE_H
#define IVS_MIGRATION_SIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "ivshmem/api.h"

#define IVS_MIGRATION_DEVICES_MAX 16
#define IVS_MIGRATION_BLOCKS_MAX 256
#define IVS_MIGRATION_NAME_LEN 256
#define IVS_MIGRATION_ID_LEN 128
#define IVS_MIGRATION_REASON_LEN 320
#define IVS_MIGRATION_PATH_LEN 512

/**
 * struct ivs_migration_device - an ivshmem device
 * @id:       its id in QEMU
 * @slot:     its slot, and those of the ports on the way to it, as in the names of RAM blocks:
 *            "02.0", "01.0:00.0"
 * @doorbell: it is ivshmem-doorbell, not ivshmem-plain
 * @master:   QEMU migrates its memory: it is the master
 * @vectors:  doorbell devices only: value of vectors=
 * @backend:  plain devices only: id of the memory backend
 * @share:    plain devices only: the backend has share=on
 * @size:     size of the region
 * @port:     path of the object that has its bus, such as "/machine/peripheral/rp0"
 * @bus:      name of its bus
 * @file:     the file of its region; "" if it has none. For a doorbell device, it is known only if
 *            the device is unplugged and plugged in again
 * @option:   plain devices only: an option of its backend with which it cannot be plugged in again,
 *            such as "offset="; "" if there is none
 * @replug:   it is unplugged before the migration, and plugged in again after it, because the
 *            destination lacks it: set by ivs_migration_mark()
 */
struct ivs_migration_device {
	char id[IVS_MIGRATION_ID_LEN];
	char slot[IVS_MIGRATION_ID_LEN];
	bool doorbell;
	bool master;
	uint32_t vectors;
	char backend[IVS_MIGRATION_ID_LEN];
	bool share;
	uint64_t size;
	char port[IVS_MIGRATION_PATH_LEN];
	char bus[IVS_MIGRATION_ID_LEN];
	char file[IVS_MIGRATION_PATH_LEN];
	char option[16];
	bool replug;
};

/**
 * struct ivs_migration_block - a RAM block, by which QEMU names memory in the migration stream
 * @offset: where QEMU has put it among its RAM blocks
 */
struct ivs_migration_block {
	char name[IVS_MIGRATION_NAME_LEN];
	uint64_t offset;
	uint64_t size;
};

/**
 * struct ivs_migration_side - one of the two VMs
 * @major, @minor:  QEMU's version
 * @state:          its run state, from query-status
 * @status:         the state of a migration, from query-migrate; "" if there was none
 * @kvm:            it runs with KVM
 * @blocked:        why QEMU refuses to migrate it; "" if it does not
 * @arguments:      the command line is known, and so are the members below
 * @defer:          it has -incoming defer
 * @only_migratable: it has -only-migratable
 * @libvirt:        libvirt has started it
 * @devices_left, @blocks_left: it has more devices or RAM blocks than fit below
 */
struct ivs_migration_side {
	unsigned int major;
	unsigned int minor;
	char state[32];
	char status[32];
	bool kvm;
	char blocked[IVS_MIGRATION_REASON_LEN];
	bool arguments;
	bool defer;
	bool only_migratable;
	bool libvirt;
	bool devices_left;
	bool blocks_left;
	unsigned int devices_n;
	unsigned int blocks_n;
	struct ivs_migration_device devices[IVS_MIGRATION_DEVICES_MAX];
	struct ivs_migration_block blocks[IVS_MIGRATION_BLOCKS_MAX];
};

/** ivs_migration_find() - the device in the same slot; NULL if there is none */
const struct ivs_migration_device *ivs_migration_find(const struct ivs_migration_side *side,
						      const char *slot);

/**
 * ivs_migration_mark() - decide which devices of the source are unplugged and plugged in again
 *
 * Return: their number.
 */
unsigned int ivs_migration_mark(struct ivs_migration_side *source,
				const struct ivs_migration_side *destination);

/**
 * ivs_migration_parse_blocks() - parse the output of "info ramblock"
 *
 * Lines that are not understood are ignored. Blocks beyond IVS_MIGRATION_BLOCKS_MAX are left out,
 * and blocks_left says so.
 */
void ivs_migration_parse_blocks(const char *text, struct ivs_migration_side *side);

#endif
