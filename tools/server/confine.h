/* SPDX-License-Identifier: BSD-3-Clause */
/* Confining the server, and the paths of its files after chroot(2). */
#ifndef TOOLS_SERVER_CONFINE_H
#define TOOLS_SERVER_CONFINE_H

#include "tools/server/options.h"

/**
 * struct names - paths of the server's files that are valid before and after chroot(2)
 *
 * They are relative to the new root directory if they are in it, else absolute.
 */
struct names {
	const char *socket;
	const char *pidfile;
	const char *region;
	const char *control;
	const char *metrics;
	char buffers[5][4096 + sizeof("file:")];
};

/**
 * enter_root() - set @names, and change to the new root directory
 *
 * Without --chroot the names are those of the command line.
 *
 * Return: 0 or -errno.
 */
int enter_root(const struct settings *settings, struct names *names, struct ivs_error *err);

/** may_upgrade() - whether the program can be executed again when it is confined */
bool may_upgrade(const struct settings *settings);

/**
 * confine() - drop privileges, load the filter, and note it in @handover; everything is open by
 * then
 *
 * Return: 0, IVS_SANDBOX_E_*, -errno.
 */
int confine(const struct settings *settings, const struct names *names,
	    const struct ivs_region *region, const struct ivs_handover *handover,
	    struct ivs_error *err);

/**
 * confine_suffices() - check that the filter @in_force permits what this program needs
 *
 * Return: 0, IVS_SANDBOX_E_MORE, -errno.
 */
int confine_suffices(const struct settings *settings, const char *in_force, struct ivs_error *err);

#endif
