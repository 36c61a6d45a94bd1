/* SPDX-License-Identifier: BSD-3-Clause */
/* The server gives up rights: which, and what its files are called once its root is another. */
#ifndef TOOLS_SERVER_CONFINE_H
#define TOOLS_SERVER_CONFINE_H

#include "tools/server/options.h"

/**
 * struct names - of the server's files, such that they are the same before chroot(2) and after
 *
 * That is: relative to the directory that becomes the root if they are in it, else absolute.
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
 * enter_root() - find @names, and go to the directory that is to be the root
 *
 * Without --chroot the names are those that were given, and nothing else happens. Return: 0 or -errno.
 */
int enter_root(const struct settings *settings, struct names *names, struct ivs_error *err);

/** may_upgrade() - whether the filter lets the program file be executed again */
bool may_upgrade(const struct settings *settings);

/**
 * confine() - everything is open: give up all other rights, and note in @keep which are left
 *
 * Return: 0 or as ivs_sandbox().
 */
int confine(const struct settings *settings, const struct names *names,
	    const struct ivs_region *region, const struct ivs_handover *handover,
	    struct ivs_error *err);

/** confine_suffices() - whether we could serve with the filter @in_force. Return: 0, IVS_SANDBOX_E_MORE, -errno. */
int confine_suffices(const struct settings *settings, const char *in_force, struct ivs_error *err);

#endif
