/* SPDX-License-Identifier: BSD-3-Clause */
/* Find a bus of a running VM into which a device can be plugged. */
#ifndef TOOLS_IVSHMEM_ATTACH_PORT_H
#define TOOLS_IVSHMEM_ATTACH_PORT_H

#include "tools/ivshmem/monitor.h"

#define BUS_LEN 128

/**
 * attach_port_find() - find a free bus that supports hot-plug
 * @wanted: name of the bus, as given; NULL: any
 * @size:   size of the region: a port has a window at least as large; 0: unknown
 * @out:    name of the bus
 *
 * Return: 0, or an exit status after printing the reason, with the argument that would give QEMU
 * such a bus.
 */
int attach_port_find(struct monitor *monitor, const char *wanted, uint64_t size, char out[BUS_LEN]);

#endif
