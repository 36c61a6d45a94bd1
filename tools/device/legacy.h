/* SPDX-License-Identifier: BSD-3-Clause */
/* The options of QEMU's old "-device ivshmem", which was removed in QEMU 4.0. */
#ifndef TOOLS_DEVICE_LEGACY_H
#define TOOLS_DEVICE_LEGACY_H

#include <stddef.h>

#include "device/device.h"

#define LEGACY_SHM_MAX 256 /* including the terminating NUL */

/**
 * struct legacy - a parsed option string
 * @size:    size of the region in bytes
 * @shm:     name of POSIX shared memory; "": none
 * @chardev: path of a server's socket (in QEMU, the id of a chardev); "": none
 * @msi:     whether the device sends interrupts by MSI-X; otherwise it raises the pin
 * @use64:   whether BAR 2 is a 64-bit BAR
 * @role:    IVS_DEVICE_AUTO if the string has no role=
 */
struct legacy {
	uint64_t size;
	char shm[LEGACY_SHM_MAX];
	char chardev[108];
	unsigned int vectors_n;
	bool msi;
	bool ioeventfd;
	bool use64;
	enum ivs_device_role role;
};

/**
 * legacy_parse() - parse an option string, which may begin with "ivshmem,"
 *
 * Return: 0, or 1 if the string is not valid.
 */
int legacy_parse(const char *text, struct legacy *out, struct ivs_error *err);

#endif
