/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about the host itself. */
#include <inttypes.h>

#include "base/parse.h"
#include "doctor/private.h"

#define DOCKER_SHM (UINT64_C(64) << 20) /* what Docker gives a container, unless told otherwise */

static void check_shm(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_host *host = &at->facts->host;
	char text[IVS_SIZE_TEXT_LEN];
	struct ivs_doctor_finding *finding;

	if (!host->in_container || !host->shm_len || host->shm_len > DOCKER_SHM)
		return;
	finding = ivs_doctor_found(findings, "/dev/shm has room for %s only",
				   ivs_size_text(host->shm_len, text));
	ivs_doctor_command(finding, "mount -o remount,size=1G /dev/shm", NULL, "");
	ivs_doctor_advise(finding, "a container that may not mount needs the option "
				   "--shm-size=1g when it is started");
}

static const struct ivs_doctor_rule rules[] = {
	{"host-shm", IVS_DOCTOR_WARNING, IVS_DOCTOR_HOST, IVS_DOCTOR_SPACE,
	 "in a container, /dev/shm has the default size of 64M or less",
	 "regions do not fit, and files without memory end programs by SIGBUS",
	 "start the container with --shm-size=1g", false, check_shm},
};

const struct ivs_doctor_table ivs_doctor_host_rules = {rules, sizeof(rules) / sizeof(*rules)};
