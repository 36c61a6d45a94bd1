/* SPDX-License-Identifier: BSD-3-Clause */
/* What a user has to know about the state of this host, and pieces on standard output. */
#ifndef TOOLS_IVSHMEM_NOTES_H
#define TOOLS_IVSHMEM_NOTES_H

#include <jansson.h>
#include <sys/types.h>

#include "config/pieces.h"

#define NOTES_MAX 256
#define NOTE_LEN 9216 /* two paths and the rest */

/**
 * struct note - a sentence about the state that was looked at, safe for terminals
 * @command: what mends it, for a shell; NULL: the sentence says it
 */
struct note {
	char *text;
	char *command;
};

/** struct notes - start from {0} */
struct notes {
	struct note items[NOTES_MAX];
	unsigned int n;
};

/** notes_add() - add a formatted sentence, and copy @command, which may be NULL */
IVS_PRINTF(3, 4)
void notes_add(struct notes *notes, const char *command, const char *format, ...);

/** notes_print() - print each on a line of standard error */
void notes_print(const struct notes *notes);

void notes_deinit(struct notes *notes);

/**
 * struct wish - how a region should be
 * @address: for commands of ivshmem
 * @size:    0: any
 * @owner:   names or numbers; NULL: any. So is @group.
 * @mode:    0: any
 */
struct wish {
	const char *address;
	const char *path;
	uint64_t size;
	const char *owner;
	const char *group;
	mode_t mode;
};

/**
 * struct look - a region as it is
 * @exists: there is something at its path
 * @file:   it is a file, which has the size @size; otherwise it is a device node or another thing
 */
struct look {
	bool exists;
	bool file;
	uint64_t size;
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/** look_at() - look at a path */
void look_at(const char *path, struct look *out);

/** notes_compare() - add a note for each difference, with the command that mends it */
void notes_compare(struct notes *notes, const struct wish *wish, const struct look *look);

/**
 * pieces_print() - print pieces to standard output, and the notes
 * @json: an object to which "pieces" and "notes" are added, and which is printed instead; NULL:
 *        print as text
 *
 * Return: an exit status.
 */
int pieces_print(const struct ivs_pieces *pieces, const struct notes *notes, json_t *json);

#endif
