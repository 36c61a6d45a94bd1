/* SPDX-License-Identifier: BSD-3-Clause */
/* Unplug a device from a domain of libvirt. */
#ifndef TOOLS_IVSHMEM_VIRSH_DETACH_H
#define TOOLS_IVSHMEM_VIRSH_DETACH_H

#include "tools/ivshmem/detach_steps.h"

/** virsh_detach() - unplug the device, and print the result. Return: an exit status. */
int virsh_detach(const char *domain, struct detach *detach, bool json);

#endif
