/* SPDX-License-Identifier: BSD-3-Clause */
/* Confining the server, and the paths of its files after chroot(2). */
#ifndef TOOLS_SERVER_CONFINE_H
#define TOOLS_SERVER_CONFINE_H

#include "tools/server/options.h"

/**
 * struct names - paths of the server's files that are valid before and after chroot(2)
 *
 * The path of a file in the new root directory is relative to that directory; others are absolute.
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
 * enter_root() - set @names, and make the new root the working directory
 *
 * Without --chroot, @names are the paths of the command line, and the directory does not change.
 *
 * Return: 0 or -errno.
 */
int enter_root(const struct settings *settings, struct names *names, struct ivs_error *err);

/** may_upgrade() - whether the program can be executed again once it is confined */
bool may_upgrade(const struct settings *settings);

/**
 * confine() - drop privileges, load the filter, and record the filter in @handover
 *
 * Call this after everything has been opened.
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
