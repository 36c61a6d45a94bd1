/* SPDX-License-Identifier: BSD-3-Clause */
/* The value of a QEMU option: "KEY=VALUE,..." with doubled commas, or a JSON object. Pure. */
#ifndef IVS_HOST_QEMU_OPTION_H
#define IVS_HOST_QEMU_OPTION_H

#include <jansson.h>

#include "ivshmem/api.h"

/**
 * struct ivs_qemu_option - a parsed option
 * @text:    the option's value, borrowed from the caller
 * @implied: name of the first key, which may be left out
 * @json:    the object, if the value is one; otherwise NULL
 */
struct ivs_qemu_option {
	const char *text;
	const char *implied;
	json_t *json;
};

/**
 * ivs_qemu_option_init() - parse @text, which must outlive @option; an invalid value has no keys
 */
void ivs_qemu_option_init(struct ivs_qemu_option *option, const char *text, const char *implied);

void ivs_qemu_option_deinit(struct ivs_qemu_option *option);

/**
 * ivs_qemu_option_get() - get the value of a key; if the key occurs several times, the last value
 * @key: the key; a dot selects a member of a nested object: "socket.path"
 * @out: set to a copy that the caller frees. A key without a value is "on"; a boolean is "on" or
 *       "off". NULL: the option does not have this key
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_qemu_option_get(const struct ivs_qemu_option *option, const char *key,
				     char **out);

#endif
