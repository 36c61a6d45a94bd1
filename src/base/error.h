/* SPDX-License-Identifier: BSD-3-Clause */
/* Setting the text of a struct ivs_error. */
#ifndef IVS_BASE_ERROR_H
#define IVS_BASE_ERROR_H

#include "ivshmem/api.h"

/**
 * ivs_error_set() - set the text of an error: what was wrong, the value, and how to fix it
 * @err:    may be NULL
 * @result: returned, so that a function can fail with a single return statement
 */
int ivs_error_set(struct ivs_error *err, int result, const char *format, ...) IVS_PRINTF(3, 4);

/** ivs_error_errno() - like ivs_error_set(), appending the text of @errnum. Return: -@errnum. */
int ivs_error_errno(struct ivs_error *err, int errnum, const char *format, ...) IVS_PRINTF(3, 4);

#endif
