/* SPDX-License-Identifier: BSD-3-Clause */
/* Printing the result of a command as JSON. */
#ifndef TOOLS_IVSHMEM_JSON_PRINT_H
#define TOOLS_IVSHMEM_JSON_PRINT_H

#include <jansson.h>

/**
 * json_print() - print an object and a newline to standard output, and free the object
 * @object: NULL: memory is exhausted
 *
 * Return: 0, or STATUS_FAILED after printing the reason.
 */
int json_print(json_t *object);

#endif
