/* SPDX-License-Identifier: BSD-3-Clause */
/* Finds a directory in which files consist of huge pages. */
#ifndef IVS_REGION_HUGETLBFS_H
#define IVS_REGION_HUGETLBFS_H

#include <stdbool.h>
#include <stddef.h>

/**
 * ivs_hugetlbfs_find() - find a mounted hugetlbfs: /dev/hugepages, or another one
 * @point: set to the directory where it is mounted
 *
 * Return: whether there is one.
 */
bool ivs_hugetlbfs_find(char *point, size_t point_len);

#endif
