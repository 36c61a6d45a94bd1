/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a command line says about a VM: whether it is that of QEMU, and which regions it names.
 * Pure.
 */
#ifndef IVS_HOST_VM_H
#define IVS_HOST_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"

#define IVS_HOST_VM_LEN 128

enum ivs_host_vm_error {
	IVS_HOST_VM_E_OTHER = 1, /* the command line is not QEMU's */
};

/**
 * struct ivs_host_memory - a memory backend with a file
 * @id:      id of the backend; "" if it has none
 * @memfd:   the memory is a memfd, so it has no path
 * @path:    value of mem-path=, shorter than PATH_MAX; untrusted
 * @size:    value of size=; 0: unknown
 * @shared:  share=on is set, so other processes see what the VM writes
 * @ivshmem: an ivshmem-plain device uses it; otherwise it is the VM's RAM
 * @discard: discard-data=on is set, so QEMU discards the content when it ends
 */
struct ivs_host_memory {
	char *id;
	char *path;
	uint64_t size;
	bool memfd;
	bool shared;
	bool ivshmem;
	bool discard;
};

/**
 * struct ivs_host_socket - a socket to which a device of the VM connects
 * @id:       id of the character device; "" if it has none
 * @path:         path of the socket; untrusted
 * @doorbell: an ivshmem-doorbell device uses the socket, which therefore belongs to an
 *            ivshmem-server
 * @vfio:     a vfio-user-pci device uses the socket, which may belong to an ivshmem-device
 * @reconnects: QEMU is to connect again if the connection is lost
 */
struct ivs_host_socket {
	char *id;
	char *path;
	bool doorbell;
	bool vfio;
	bool reconnects;
};

/**
 * struct ivs_host_device - an ivshmem device; members that do not apply are "" or 0
 * @driver:  "ivshmem-plain", "ivshmem-doorbell", or "ivshmem", which QEMU 4.0 removed
 * @id:      untrusted, like all texts here
 * @memdev:  id of the memory backend
 * @chardev: id of the character device
 * @shm:     for "ivshmem", the name in /dev/shm
 * @size:    for "ivshmem", the size of the region; 0: unknown
 * @vectors: number of vectors
 * @master:  master=on is set
 */
struct ivs_host_device {
	char *driver;
	char *id;
	char *memdev;
	char *chardev;
	char *shm;
	uint64_t size;
	unsigned int vectors;
	bool master;
};

/**
 * struct ivs_host_vm - a VM, according to QEMU's arguments
 *
 * Devices that were added later (hot-plug) are not in the arguments.
 *
 * @name:        name of the VM, safe to print; "" if it has none
 * @memories:    all memory backends with a file
 * @sockets:     all sockets that an ivshmem-doorbell or vfio-user-pci may use
 * @devices:      the ivshmem devices
 * @ram_size:     size of the VM's RAM; 0: unknown
 * @phys_bits:    number of bits of a physical address in the guest; 0: unknown
 * @has_virtiofs: a vhost-user-fs device is present
 * @has_vfio:     a vfio-pci device is present, for which QEMU locks the RAM and the regions
 * @locks_memory: QEMU locks all of its memory (-overcommit mem-lock=on)
 */
struct ivs_host_vm {
	char name[IVS_HOST_VM_LEN];
	struct ivs_host_memory *memories;
	size_t memories_n;
	struct ivs_host_socket *sockets;
	size_t sockets_n;
	struct ivs_host_device *devices;
	size_t devices_n;
	uint64_t ram_size;
	unsigned int phys_bits;
	bool has_virtiofs;
	bool has_vfio;
	bool locks_memory;
};

/** ivs_host_vm_is_qemu() - whether this is the path or name of a QEMU that runs VMs */
bool ivs_host_vm_is_qemu(const char *program);

/**
 * ivs_host_vm_parse() - parse the bytes of /proc/PID/cmdline
 * @cmdline: the arguments, each with its NUL; may be cut off
 * @out:     set on success; free it with ivs_host_vm_deinit()
 *
 * Return: 0, IVS_HOST_VM_E_OTHER, -ENOMEM.
 */
IVS_MUST_USE int ivs_host_vm_parse(const char *cmdline, size_t len, struct ivs_host_vm *out);

void ivs_host_vm_deinit(struct ivs_host_vm *vm);

#endif
