/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Attributes and the error type that all public headers use.
 *
 * Every function that can fail returns:
 *   0         success
 *   positive  IVS_*_E_*, documented with the function; the caller must handle it
 *   negative  -errno: a failure of the library or the kernel; pass it on unchanged
 */
#ifndef IVSHMEM_API_H
#define IVSHMEM_API_H

#include <stdint.h>

#define IVS_MUST_USE __attribute__((warn_unused_result))
#define IVS_PUBLIC __attribute__((visibility("default")))
#define IVS_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))

#ifdef __cplusplus
extern "C" {
#endif

#define IVS_ERROR_LEN 512

/**
 * struct ivs_error - an error message for the user
 * @text: says what was wrong, names the offending value, and says how to fix it. The text is
 *        NUL-terminated and has no newline; a call that fails sets it
 *
 * The caller owns the structure. Functions that take a pointer to it accept NULL.
 */
struct ivs_error {
	char text[IVS_ERROR_LEN];
};

#ifdef __cplusplus
}
#endif

#endif
