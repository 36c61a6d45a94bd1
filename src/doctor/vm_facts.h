/* SPDX-License-Identifier: BSD-3-Clause */
/* What is known of a VM. Included by facts.h. */
#ifndef IVS_DOCTOR_VM_FACTS_H
#define IVS_DOCTOR_VM_FACTS_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/regions.h"

#define IVS_DOCTOR_PROFILE_LEN 256

/**
 * enum ivs_doctor_vm_knows - flags that say which facts about a VM are known
 * @IVS_DOCTOR_VM_FILES:   which files the process uses
 * @IVS_DOCTOR_VM_LIMITS:  the limits and capabilities of the process, and how many fds it has
 * @IVS_DOCTOR_VM_PROFILE: its AppArmor profile
 * @IVS_DOCTOR_VM_DRIVERS: which devices its QEMU has
 */
enum ivs_doctor_vm_knows {
	IVS_DOCTOR_VM_FILES = 1 << 8,
	IVS_DOCTOR_VM_LIMITS = 1 << 9,
	IVS_DOCTOR_VM_PROFILE = 1 << 10,
	IVS_DOCTOR_VM_DRIVERS = 1 << 11,
};

/** enum ivs_doctor_link_state - what is at the path of a socket */
enum ivs_doctor_link_state {
	IVS_DOCTOR_LINK_UNKNOWN,
	IVS_DOCTOR_LINK_ABSENT,
	IVS_DOCTOR_LINK_DEAD, /* no process listens at the socket */
	IVS_DOCTOR_LINK_LIVE,
};

/**
 * struct ivs_doctor_link - a socket that the arguments of a VM name, and the server that listens
 * there
 * @socket:     the socket in the arguments
 * @state:      what is there
 * @runs:       a server that was started with this path runs
 * @is_foreign: that server is QEMU's own
 * @answers:    the server has told the members below
 * @lists_vm:   the VM is one of its clients, or that cannot be told
 * @vectors:    vectors of each client
 * @peers_n:    number of clients
 * @peers_max:  maximum number of clients; 0: none was set
 */
struct ivs_doctor_link {
	const struct ivs_host_socket *socket;
	enum ivs_doctor_link_state state;
	bool runs;
	bool is_foreign;
	bool answers;
	bool lists_vm;
	unsigned int vectors;
	unsigned int peers_n;
	unsigned int peers_max;
};

/**
 * struct ivs_doctor_vm - a process that is a QEMU
 * @qemu:          the process as the host shows it
 * @knows:         enum ivs_doctor_knows, enum ivs_doctor_vm_knows
 * @selected:      judge it; the others are known only for comparison
 * @named:         the user asked about this VM
 * @uid, @gid:     user and group of the process
 * @program:       path of its program, untrusted; "": unknown
 * @fds_n:         number of open fds
 * @fds_max:       maximum number of open fds; UINT64_MAX: none
 * @fds_top:       up to which a user may raise @fds_max
 * @locked_max:    maximum size of locked memory; UINT64_MAX: none
 * @locked_top:    up to which a user may raise @locked_max
 * @may_lock:      the process has the capability to exceed @locked_max
 * @profile:       its AppArmor profile, with the mode: "libvirt-... (enforce)"; untrusted
 * @version:       what its QEMU says about itself; untrusted; "": unknown
 * @has_plain, @has_doorbell, @has_vfio_user: its QEMU has ivshmem-plain, ivshmem-doorbell,
 *                 vfio-user-pci
 * @links:         one for each socket of a doorbell device
 */
struct ivs_doctor_vm {
	const struct ivs_host_qemu *qemu;
	unsigned int knows;
	bool selected;
	bool named;
	uid_t uid;
	gid_t gid;
	char program[PATH_MAX];
	unsigned int fds_n;
	uint64_t fds_max;
	uint64_t fds_top;
	uint64_t locked_max;
	uint64_t locked_top;
	bool may_lock;
	char profile[IVS_DOCTOR_PROFILE_LEN];
	char version[128];
	bool has_plain;
	bool has_doorbell;
	bool has_vfio_user;
	struct ivs_doctor_link *links;
	size_t links_n;
};

#endif
