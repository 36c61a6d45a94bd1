/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What every public header needs: attributes, and the text of an error.
 *
 * Results of every function that can fail:
 *   0         done
 *   positive  IVS_*_E_*: documented at the function; the caller must treat it
 *   negative  -errno: the fault is ours or the kernel's; hand it up unchanged
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
 * struct ivs_error - one sentence for a person: what was wrong, with the value, and the fix
 * @text: NUL-terminated, no newline; empty until something failed
 *
 * The caller owns it. Functions that take a pointer to one accept NULL.
 */
struct ivs_error {
	char text[IVS_ERROR_LEN];
};

#ifdef __cplusplus
}
#endif

#endif
