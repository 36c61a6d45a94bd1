/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/host.h"

#include <stdio.h>
#include <sys/statfs.h>
#include <unistd.h>

/* Return: the number in a file of /proc; 0 if there is none. */
static unsigned int read_number(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned int value = 0;

	if (file && fscanf(file, "%u", &value) != 1)
		value = 0;
	if (file)
		fclose(file);
	return value;
}

/* Docker, podman and systemd-nspawn leave these marks. */
static bool is_container(void)
{
	return !access("/.dockerenv", F_OK) || !access("/run/.containerenv", F_OK) ||
	       !access("/run/systemd/container", F_OK);
}

void collect_host(struct ivs_doctor_host *host)
{
	struct statfs fs;

	host->in_container = is_container();
	host->protected_regular = read_number("/proc/sys/fs/protected_regular");
	if (!statfs("/dev/shm", &fs)) {
		host->shm_len = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
		host->knows |= IVS_DOCTOR_SPACE;
	}
}
