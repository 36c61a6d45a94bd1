/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about the host itself. */
#include <inttypes.h>
#include <stdio.h>

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

static void check_udmabuf(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (at->facts->host.has_udmabuf && at->facts->host.udmabuf_denied)
		ivs_doctor_advise(ivs_doctor_found(findings, "this user may not open /dev/udmabuf"),
				  "%s", at->facts->host.udmabuf_why);
}

static void check_udmabuf_limit(const struct ivs_doctor_case *at,
				struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_host *host = &at->facts->host;
	const struct ivs_host_region *largest = NULL;
	char limit[IVS_SIZE_TEXT_LEN];
	char size[IVS_SIZE_TEXT_LEN];
	struct ivs_doctor_finding *finding;
	char command[128];

	for (size_t i = 0; i < at->facts->regions_n; i++) {
		const struct ivs_doctor_region *region = &at->facts->regions[i];

		if (region->selected && region->knows & IVS_DOCTOR_FILE &&
		    region->host->kind == IVS_HOST_MEMFD &&
		    (!largest || region->host->size > largest->size))
			largest = region->host;
	}
	if (!host->has_udmabuf || !host->udmabuf_max || !largest ||
	    largest->size <= host->udmabuf_max)
		return;
	finding = ivs_doctor_found(
		findings, "udmabuf makes buffers of at most %s, but a region has %s",
		ivs_size_text(host->udmabuf_max, limit), ivs_size_text(largest->size, size));
	snprintf(command, sizeof(command),
		 "echo %" PRIu64 " > /sys/module/udmabuf/parameters/size_limit_mb",
		 (largest->size + (1 << 20) - 1) >> 20);
	ivs_doctor_command(finding, command, NULL, "");
	ivs_doctor_advise(finding, "for the next boot: options udmabuf size_limit_mb=... in "
				   "/etc/modprobe.d, or udmabuf.size_limit_mb=... for the kernel");
}

static const struct ivs_doctor_rule rules[] = {
	{"host-shm", IVS_DOCTOR_WARNING, IVS_DOCTOR_HOST, IVS_DOCTOR_SPACE,
	 "in a container, /dev/shm has the default size of 64M or less",
	 "regions do not fit, and files without memory end programs by SIGBUS",
	 "start the container with --shm-size=1g", false, check_shm},
	{"udmabuf-denied", IVS_DOCTOR_NOTE, IVS_DOCTOR_HOST, IVS_DOCTOR_ACCESS,
	 "the user of the doctor may not open /dev/udmabuf",
	 "programs of this user cannot pass a region to the GPU or to the compositor without "
	 "copying",
	 "give the user access to /dev/udmabuf (group kvm, or the udev tag uaccess)", true,
	 check_udmabuf},
	{"udmabuf-limit", IVS_DOCTOR_WARNING, IVS_DOCTOR_HOST, IVS_DOCTOR_ACCESS,
	 "a region that is a memfd is larger than the largest buffer that udmabuf makes",
	 "a buffer of the whole region cannot be made (\"Invalid argument\")",
	 "raise the module parameter size_limit_mb", true, check_udmabuf_limit},
};

const struct ivs_doctor_table ivs_doctor_host_rules = {rules, sizeof(rules) / sizeof(*rules)};
