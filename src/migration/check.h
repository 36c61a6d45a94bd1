/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What must be true of the two VMs before a migration: otherwise QEMU fails, or loses a VM, or a
 * region's content. Pure.
 */
#ifndef IVS_MIGRATION_CHECK_H
#define IVS_MIGRATION_CHECK_H

#include "migration/side.h"

#define IVS_MIGRATION_PROBLEMS_MAX 32

/**
 * struct ivs_migration_problems - what is wrong
 * @name: what was compared, such as "vectors"
 * @text: a sentence that says what is wrong, and how to fix it; safe to print
 */
struct ivs_migration_problems {
	unsigned int n;
	struct {
		const char *name;
		char text[IVS_ERROR_LEN];
	} list[IVS_MIGRATION_PROBLEMS_MAX];
};

/** ivs_migration_check() - apply all rules */
void ivs_migration_check(const struct ivs_migration_side *source,
			 const struct ivs_migration_side *destination,
			 struct ivs_migration_problems *out);

/** ivs_migration_add() - add a problem that was found in another way, made safe to print */
void ivs_migration_add(struct ivs_migration_problems *problems, const char *name,
		       const char *format, ...) IVS_PRINTF(3, 4);

#endif
