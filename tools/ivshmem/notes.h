/* SPDX-License-Identifier: BSD-3-Clause */
/* Notes to the user about the state of this host, and the output of pieces. */
#ifndef TOOLS_IVSHMEM_NOTES_H
#define TOOLS_IVSHMEM_NOTES_H

#include <jansson.h>
#include <sys/types.h>

#include "config/pieces.h"

#define NOTES_MAX 256
#define NOTE_LEN 9216 /* room for two paths and a sentence */

/**
 * struct note - a sentence about the state that was found, safe for terminals
 * @command: shell command that corrects the state; NULL: the sentence says what to do
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

/** notes_print() - print each note on a line of its own, to standard error */
void notes_print(const struct notes *notes);

void notes_deinit(struct notes *notes);

/**
 * struct wish - how a region should be
 * @address: address of the region, for commands of ivshmem
 * @size:    size in bytes; 0: any
 * @owner:   name or number of the user; NULL: any
 * @group:   name or number of the group; NULL: any
 * @mode:    permission bits; 0: any
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
 * struct look - the actual state of a region
 * @exists: whether anything exists at its path
 * @file:   whether it is a regular file, of the size @size, and not, for example, a device node
 * @odd:    if it is neither a regular file nor a character device, what it is, such as "a symbolic
 *          link"; otherwise NULL
 */
struct look {
	bool exists;
	bool file;
	const char *odd;
	uint64_t size;
	uid_t uid;
	gid_t gid;
	mode_t mode;
};

/** look_at() - look at a path; a symbolic link is not followed */
void look_at(const char *path, struct look *out);

/**
 * notes_compare() - add a note for each difference, with the command that corrects it
 *
 * If that command could be turned against root, because an untrusted user owns what is there, the
 * note advises removing it.
 */
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
