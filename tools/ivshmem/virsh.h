/* SPDX-License-Identifier: BSD-3-Clause */
/* Running virsh, and finding elements in a domain's XML as libvirt prints it. */
#ifndef TOOLS_IVSHMEM_VIRSH_H
#define TOOLS_IVSHMEM_VIRSH_H

#include <stdbool.h>
#include <stddef.h>

#include "ivshmem/api.h"

#define VIRSH_ALIAS_LEN 80

#define VIRSH_ERROR_LEN 1024

/**
 * virsh_try() - run virsh until it ends, like virsh_run(), but do not print what virsh says
 * @error: set to what virsh says; "" if the reason has been printed
 */
int virsh_try(const char *const *words, const char *input, char **out, char error[VIRSH_ERROR_LEN]);

/**
 * virsh_run() - run virsh until it ends
 * @words: its arguments, ending with NULL
 * @input: its standard input; NULL: none
 * @out:   set to its standard output, which the caller frees
 *
 * Return: 0, or an exit status after printing the reason, which is what virsh says.
 */
int virsh_run(const char *const *words, const char *input, char **out);

/**
 * struct xml_part - a part of an XML document, borrowed from it
 * @text: the element, from its "<" to the end
 */
struct xml_part {
	const char *text;
	size_t len;
};

/**
 * xml_next() - find the next element with a name
 * @from: where to start
 * @out:  set to the element with its content, up to the end of its end tag
 *
 * Elements must not contain elements with the same name. Return: whether there is one.
 */
bool xml_next(const char *from, const char *name, struct xml_part *out);

/**
 * xml_value() - get the value of an attribute
 * @before: the text before the value, such as "<alias name="
 * @out:    "" if there is none, or if it does not fit
 */
void xml_value(const struct xml_part *part, const char *before, char *out, size_t out_len);

/** xml_find_shmem() - find the shmem element with this alias. Return: whether there is one. */
bool xml_find_shmem(const char *xml, const char *alias, struct xml_part *out);

#endif
