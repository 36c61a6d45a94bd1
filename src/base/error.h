/* SPDX-License-Identifier: BSD-3-Clause */
/* The text of an error: see struct ivs_error. */
#ifndef IVS_BASE_ERROR_H
#define IVS_BASE_ERROR_H

#include "ivshmem/api.h"

/**
 * ivs_error_set() - say in one sentence what was wrong
 * @err: NULL is fine
 * @result: handed back, so that a failing function ends in one line
 */
int ivs_error_set(struct ivs_error *err, int result, const char *format, ...) IVS_PRINTF(3, 4);

/** ivs_error_errno() - the same; ": " and the text of errno @errnum follow. Returns -@errnum. */
int ivs_error_errno(struct ivs_error *err, int errnum, const char *format, ...) IVS_PRINTF(3, 4);

#endif
