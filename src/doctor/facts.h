/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What "ivshmem doctor" has found out about a host or a guest. Programs collect facts; the rules
 * (rule.h) only read them. A fact that could not be found out is missing from @knows, and the rules
 * that need it are not applied.
 */
#ifndef IVS_DOCTOR_FACTS_H
#define IVS_DOCTOR_FACTS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "doctor/guest_facts.h"
#include "doctor/domain_facts.h"
#include "doctor/server_facts.h"
#include "doctor/vm_facts.h"
#include "host/regions.h"
#include "host/vm.h"

#define IVS_DOCTOR_LABEL_LEN 256
#define IVS_DOCTOR_WHY_LEN 400

/**
 * enum ivs_doctor_knows - flags that say which facts about a subject are known
 * @IVS_DOCTOR_FILE:   a region's size, owner and mode
 * @IVS_DOCTOR_SPACE:  how much memory a region occupies, and how much is left
 * @IVS_DOCTOR_ACCESS: whether the user of the doctor may use a region or a device node
 * @IVS_DOCTOR_LABELS: labels of SELinux and profiles of AppArmor
 */
enum ivs_doctor_knows {
	IVS_DOCTOR_FILE = 1,
	IVS_DOCTOR_SPACE = 2,
	IVS_DOCTOR_ACCESS = 4,
	IVS_DOCTOR_LABELS = 8,
};

/**
 * struct ivs_doctor_region - a region, and what is known of its file
 * @host:       the region as the host shows it: file, notes, users
 * @knows:      enum ivs_doctor_knows
 * @selected:   judge it; the others are known only for comparison
 * @named:      the user asked about this region
 * @allocated:  bytes of memory that the file occupies
 * @free_len:   bytes that are free in its file system; for huge pages, bytes of free pages
 * @total_len:  size of its file system
 * @is_safe:    no other user can put another file at the path of the region before a command runs
 * @is_denied:  the user may not read and write the region
 * @denied_why: why, and what to do about it
 * @is_sticky:  its directory is writable for all users and sticky, as /dev/shm is
 * @dir_uid:    owner of its directory
 * @label:      its SELinux label; "" without SELinux
 */
struct ivs_doctor_region {
	const struct ivs_host_region *host;
	unsigned int knows;
	bool selected;
	bool named;
	uint64_t allocated;
	uint64_t free_len;
	uint64_t total_len;
	bool is_safe;
	bool is_denied;
	char denied_why[IVS_DOCTOR_WHY_LEN];
	bool is_sticky;
	uid_t dir_uid;
	char label[IVS_DOCTOR_LABEL_LEN];
};

/**
 * struct ivs_doctor_host - the host itself
 * @knows:             enum ivs_doctor_knows
 * @in_container:      the doctor runs in a container
 * @shm_len:           size of the file system at /dev/shm; 0: none
 * @protected_regular: the sysctl fs.protected_regular
 * @huge_page_len:     size of a huge page by default; 0: unknown
 * @ram_len:           size of the physical memory
 * @has_udmabuf:       /dev/udmabuf exists
 * @udmabuf_denied:    this user may not open it; @udmabuf_why says why, and what to do about it
 * @udmabuf_max:       the largest buffer in bytes (its parameter size_limit_mb); 0: unknown
 */
struct ivs_doctor_host {
	unsigned int knows;
	bool in_container;
	uint64_t shm_len;
	unsigned int protected_regular;
	uint64_t huge_page_len;
	uint64_t ram_len;
	bool has_udmabuf;
	bool udmabuf_denied;
	char udmabuf_why[IVS_DOCTOR_WHY_LEN];
	uint64_t udmabuf_max;
};

/**
 * struct ivs_doctor_facts - everything that is known
 * @has_host: judge the host
 * @regions:  all regions that the host shows
 * @has_guest: judge the guest, and its devices
 * @devices:  its ivshmem devices
 * @servers:  the servers to be judged
 * @domain:   the domain to be judged
 * @vms:      all VMs that the host shows
 */
struct ivs_doctor_facts {
	bool has_host;
	struct ivs_doctor_host host;
	struct ivs_doctor_region *regions;
	size_t regions_n;
	bool has_guest;
	struct ivs_doctor_guest guest;
	struct ivs_doctor_device *devices;
	size_t devices_n;
	struct ivs_doctor_server *servers;
	size_t servers_n;
	struct ivs_doctor_domain domain;
	struct ivs_doctor_vm *vms;
	size_t vms_n;
};

#endif
