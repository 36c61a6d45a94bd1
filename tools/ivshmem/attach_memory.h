/* SPDX-License-Identifier: BSD-3-Clause */
/* Wait until QEMU has freed the memory of doorbell devices that were unplugged. */
#ifndef TOOLS_IVSHMEM_ATTACH_MEMORY_H
#define TOOLS_IVSHMEM_ATTACH_MEMORY_H

#include "tools/ivshmem/monitor.h"

/**
 * attach_await_freed() - wait until no memory of an unplugged doorbell device is left
 *
 * QEMU frees it some 50 ms after the device's character device was removed. If a doorbell device is
 * plugged into the same slot before that, QEMU aborts.
 *
 * Return: as ivs_qmp_execute(); IVS_QMP_E_REFUSED if memory is still left after 10 s.
 */
IVS_MUST_USE int attach_await_freed(struct monitor *monitor, struct ivs_error *err);

#endif
