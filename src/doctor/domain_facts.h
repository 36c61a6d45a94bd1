/* SPDX-License-Identifier: BSD-3-Clause */
/* What "ivshmem doctor" has found out about a domain of libvirt. */
#ifndef IVS_DOCTOR_DOMAIN_FACTS_H
#define IVS_DOCTOR_DOMAIN_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "doctor/server_facts.h"

#define IVS_DOCTOR_SHMEM_LEN 128
#define IVS_DOCTOR_SHMEMS_MAX 32

/** enum ivs_doctor_model - the model of a domain's shmem element */
enum ivs_doctor_model {
	IVS_DOCTOR_MODEL_OLD, /* "ivshmem", which is also the default */
	IVS_DOCTOR_MODEL_PLAIN,
	IVS_DOCTOR_MODEL_DOORBELL,
};

/**
 * struct ivs_doctor_shmem - a shmem element of a domain
 * @name:         its name, which is a name in /dev/shm
 * @master:       its role is "master"
 * @size:         size= in bytes; 0: none
 * @file_known:   the members up to @file_mode are known
 * @has_file:     /dev/shm/NAME exists
 * @file_size:    its size
 * @is_denied:    libvirt's VMs may not read and write it
 * @default_path: the element has no path, so @path is libvirt's default
 * @path:         path of the server's socket
 * @socket_known: @socket is known
 * @socket:       what is at @path, without connecting
 */
struct ivs_doctor_shmem {
	char name[IVS_DOCTOR_SHMEM_LEN];
	enum ivs_doctor_model model;
	bool master;
	uint64_t size;
	bool file_known;
	bool has_file;
	uint64_t file_size;
	bool is_denied;
	uid_t file_uid;
	gid_t file_gid;
	mode_t file_mode;
	bool default_path;
	char path[IVS_HOST_SOCKET_LEN];
	bool socket_known;
	enum ivs_doctor_socket socket;
};

/**
 * struct ivs_doctor_domain - a domain of libvirt
 * @name:   as the user has given it; "": no domain is to be judged
 * @user:   name of the user that runs its VM
 * @uid:    that user
 * @gid:    that user's group
 * @shmems: its shmem elements
 */
struct ivs_doctor_domain {
	char name[IVS_DOCTOR_SHMEM_LEN];
	char user[IVS_DOCTOR_PROGRAM_LEN];
	uid_t uid;
	gid_t gid;
	struct ivs_doctor_shmem shmems[IVS_DOCTOR_SHMEMS_MAX];
	size_t shmems_n;
};

#endif
