/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Finds regions by inode and by path. Any user can create a very large number of files, so no
 * search may compare all regions one by one.
 */
#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "host/private.h"

/* A path, and the index of the region that has it. */
struct named {
	const char *path;
	size_t at;
};

static int compare_inodes(const void *left, const void *right)
{
	const struct ivs_host_inode *a = left;
	const struct ivs_host_inode *b = right;

	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return a->at < b->at ? -1 : a->at > b->at;
}

static int compare_paths(const void *left, const void *right)
{
	return strcmp(((const struct named *)left)->path, ((const struct named *)right)->path);
}

int ivs_host_index_inodes(struct ivs_host_index *index, const struct ivs_host_regions *regions)
{
	index->inodes = calloc(regions->n + 1, sizeof(*index->inodes));
	if (!index->inodes)
		return -ENOMEM;
	index->inodes_n = regions->n;
	for (size_t i = 0; i < regions->n; i++)
		index->inodes[i] = (struct ivs_host_inode){regions->list[i].ino, i};
	qsort(index->inodes, regions->n, sizeof(*index->inodes), compare_inodes);
	return 0;
}

size_t ivs_host_index_first(const struct ivs_host_index *index, ino_t ino)
{
	size_t low = 0;
	size_t high = index->inodes_n;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (index->inodes[middle].ino < ino)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

int ivs_host_index_path(struct ivs_host_index *index, const char *path, size_t *at)
{
	struct named *added = malloc(sizeof(*added));
	struct named **found;

	if (!added)
		return -ENOMEM;
	*added = (struct named){path, *at};
	found = tsearch(added, &index->paths, compare_paths);
	if (!found || *found != added)
		free(added);
	if (!found)
		return -ENOMEM;
	*at = (*found)->at;
	return 0;
}

bool ivs_host_index_has_path(const struct ivs_host_index *index, const char *path, size_t *at)
{
	const struct named wanted = {path, 0};
	struct named *const *found = tfind(&wanted, &index->paths, compare_paths);

	if (found)
		*at = (*found)->at;
	return found;
}

void ivs_host_index_deinit(struct ivs_host_index *index)
{
	free(index->inodes);
	tdestroy(index->paths, free);
	*index = (struct ivs_host_index){0};
}
