/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about domains of libvirt. Each rule looks at all shmem elements of the domain. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/shell.h"
#include "doctor/private.h"

static const struct ivs_doctor_shmem *next_of(const struct ivs_doctor_case *at, size_t *i)
{
	const struct ivs_doctor_domain *domain = &at->facts->domain;

	return *i < domain->shmems_n ? &domain->shmems[(*i)++] : NULL;
}

static void check_model(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_shmem *shmem;

	for (size_t i = 0; (shmem = next_of(at, &i));) {
		if (shmem->model == IVS_DOCTOR_MODEL_OLD)
			ivs_doctor_advise(
				ivs_doctor_found(findings,
						 "the model of shmem \"%s\" is \"ivshmem\"",
						 shmem->name),
				"virsh edit: set <model type='ivshmem-%s'/>; the guest sees a "
				"device of revision 1",
				*shmem->path && !shmem->default_path ? "doorbell" : "plain");
	}
}

static void check_size(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_shmem *shmem;

	for (size_t i = 0; (shmem = next_of(at, &i));) {
		char address[IVS_DOCTOR_SHMEM_LEN + 8];
		struct ivs_doctor_finding *finding;
		char wanted[IVS_SIZE_TEXT_LEN];
		char size[IVS_SIZE_TEXT_LEN];
		char before[64];

		if (shmem->model == IVS_DOCTOR_MODEL_DOORBELL || !shmem->file_known ||
		    !shmem->has_file || !shmem->file_size || !shmem->size ||
		    shmem->file_size == shmem->size)
			continue;
		ivs_size_text(shmem->size, wanted);
		finding = ivs_doctor_found(
			findings, "the size of shmem \"%s\" is %s, but that of /dev/shm/%s is %s",
			shmem->name, wanted, shmem->name, ivs_size_text(shmem->file_size, size));
		snprintf(before, sizeof(before), "ivshmem resize --size %s ", wanted);
		snprintf(address, sizeof(address), "shm:%s", shmem->name);
		ivs_doctor_command(finding, before, address, "");
		ivs_doctor_advise(finding, "or change <size> with virsh edit; shut the VM down "
					   "first");
	}
}

static bool is_missing(const struct ivs_doctor_shmem *shmem)
{
	return shmem->socket_known && (shmem->socket == IVS_DOCTOR_SOCKET_ABSENT ||
				       shmem->socket == IVS_DOCTOR_SOCKET_DEAD);
}

static void check_socket(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_shmem *shmem;

	for (size_t i = 0; (shmem = next_of(at, &i));) {
		struct ivs_doctor_finding *finding;

		if (shmem->model != IVS_DOCTOR_MODEL_DOORBELL || !is_missing(shmem))
			continue;
		finding = ivs_doctor_found(
			findings, "no server listens at the socket of shmem \"%s\", %s%s",
			shmem->name, shmem->path,
			shmem->default_path ? ", which is libvirt's default, because <server "
					      "path=.../> is missing"
					    : "");
		ivs_doctor_start_server(finding, shmem->path, shmem->name);
		ivs_doctor_advise(finding,
				  "libvirt's user must be able to connect "
				  "(--socket-group, --socket-mode)%s",
				  shmem->default_path ? ". Or add <server path='SOCKET'/> with "
							"virsh edit"
						      : "");
	}
}

static void check_denied(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_domain *domain = &at->facts->domain;
	const struct ivs_doctor_shmem *shmem;

	for (size_t i = 0; (shmem = next_of(at, &i));) {
		char path[IVS_DOCTOR_SHMEM_LEN + 16];
		struct ivs_doctor_finding *finding;
		char word[IVS_DOCTOR_CURE_LEN / 4];
		char before[sizeof(word) + 64];

		if (shmem->model == IVS_DOCTOR_MODEL_DOORBELL || !shmem->file_known ||
		    !shmem->is_denied)
			continue;
		finding = ivs_doctor_found(findings,
					   "user %s, who runs the VM, may not read and write "
					   "/dev/shm/%s (uid %u, gid %u, mode %04o)",
					   domain->user, shmem->name, (unsigned int)shmem->file_uid,
					   (unsigned int)shmem->file_gid,
					   (unsigned int)shmem->file_mode & 07777);
		snprintf(path, sizeof(path), "/dev/shm/%s", shmem->name);
		if (ivs_shell_quote(path, word, sizeof(word))) {
			snprintf(before, sizeof(before), "chgrp %u %s && chmod g+rw ",
				 (unsigned int)domain->gid, word);
			ivs_doctor_command(finding, before, path, "");
		}
		ivs_doctor_advise(finding,
				  "\"ivshmem create --boot\" creates the region so at each boot");
	}
}

static void check_role(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_shmem *shmem;

	for (size_t i = 0; (shmem = next_of(at, &i));) {
		if (shmem->master || shmem->model == IVS_DOCTOR_MODEL_OLD)
			continue;
		ivs_doctor_advise(
			ivs_doctor_found(findings, "shmem \"%s\" does not have the role \"master\"",
					 shmem->name),
			shmem->model == IVS_DOCTOR_MODEL_PLAIN
				? "virsh edit: set <shmem name=... role='master'>, for one of the "
				  "VMs that share the region"
				: "virsh edit: add <qemu:arg value='-global'/> <qemu:arg "
				  "value='ivshmem-doorbell.master=on'/>; the VM must get id 0 "
				  "(ivshmem-server --keep-id-0)");
	}
}

static const struct ivs_doctor_rule rules[] = {
	{"domain-model", IVS_DOCTOR_ERROR, IVS_DOCTOR_DOMAIN, 0,
	 "a domain has a device of the model ivshmem",
	 "QEMU has removed this device in version 4.0",
	 "use the model ivshmem-plain or, with a server, ivshmem-doorbell", false, check_model},
	{"domain-size", IVS_DOCTOR_ERROR, IVS_DOCTOR_DOMAIN, 0,
	 "the size in a domain is not that of the region",
	 "if the region is smaller, QEMU does not start (\"backing store size ... does not "
	 "match\"); "
	 "if it is larger, the guest sees only a part",
	 "resize the region, or change the size in the domain", false, check_size},
	{"domain-socket", IVS_DOCTOR_ERROR, IVS_DOCTOR_DOMAIN, 0,
	 "no server listens at the socket that a domain's device connects to",
	 "the domain does not start",
	 "start a server there, or add the server's path to the domain", false, check_socket},
	{"domain-denied", IVS_DOCTOR_ERROR, IVS_DOCTOR_DOMAIN, 0,
	 "the user that runs libvirt's VMs may not read and write a region",
	 "the domain does not start (\"Permission denied\")", "change group and mode of the region",
	 false, check_denied},
	{"domain-role", IVS_DOCTOR_NOTE, IVS_DOCTOR_DOMAIN, 0,
	 "a device of a domain does not have the role \"master\"",
	 "QEMU refuses to save and migrate the VM (\"peer mode\")",
	 "set role='master' in one of the domains that share the region", false, check_role},
};

const struct ivs_doctor_table ivs_doctor_domain_rules = {rules, sizeof(rules) / sizeof(*rules)};
