/* SPDX-License-Identifier: BSD-3-Clause */
/* Plug a device into a domain of libvirt. */
#ifndef TOOLS_IVSHMEM_VIRSH_ATTACH_H
#define TOOLS_IVSHMEM_VIRSH_ATTACH_H

#include "tools/ivshmem/attach_steps.h"

/**
 * virsh_attach() - plug the device in, and print the alias that libvirt has given it
 * @attach: the device; its time limit is not used, because libvirt does not show whether the guest
 *          has enabled the device
 *
 * Return: an exit status.
 */
int virsh_attach(const char *domain, struct attach *attach, bool json);

#endif
