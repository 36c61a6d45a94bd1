/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsing and formatting numbers. Parsing is strict: the whole string must be the number. */
#ifndef IVS_BASE_PARSE_H
#define IVS_BASE_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "ivshmem/api.h"

/** ivs_parse_uint() - parse a decimal number from @min to @max. Return: whether it is valid. */
IVS_MUST_USE bool ivs_parse_uint(const char *text, uint64_t min, uint64_t max, uint64_t *out);

/** ivs_parse_size() - parse a size in bytes: decimal, with an optional suffix, one of KMGTkmgt */
IVS_MUST_USE bool ivs_parse_size(const char *text, uint64_t *out);

#define IVS_SIZE_TEXT_LEN 32

/** ivs_size_text() - format a size such as "4M", with the largest suffix that is exact */
const char *ivs_size_text(uint64_t size, char out[IVS_SIZE_TEXT_LEN]);

#define IVS_OWNER_TEXT_LEN 40

/** ivs_owner_text() - format an owner such as "uid 5, gid 7"; an id of -1 is left out */
const char *ivs_owner_text(uid_t uid, gid_t gid, char out[IVS_OWNER_TEXT_LEN]);

static inline bool ivs_is_power_of_two(uint64_t n)
{
	return n && !(n & (n - 1));
}

#endif
