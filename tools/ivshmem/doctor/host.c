/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/host.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/access.h"

#define UDMABUF "/dev/udmabuf"

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

static void collect_udmabuf(struct ivs_doctor_host *host)
{
	host->has_udmabuf = !access(UDMABUF, F_OK);
	host->udmabuf_denied = host->has_udmabuf &&
			       faccessat(AT_FDCWD, UDMABUF, R_OK | W_OK, AT_EACCESS) &&
			       errno == EACCES;
	if (host->udmabuf_denied)
		ivs_access_explain(UDMABUF, R_OK | W_OK, host->udmabuf_why);
	host->udmabuf_max = (uint64_t)read_number("/sys/module/udmabuf/parameters/size_limit_mb")
			    << 20;
	host->knows |= IVS_DOCTOR_ACCESS;
}

void collect_host(struct ivs_doctor_host *host)
{
	struct statfs fs;

	collect_udmabuf(host);
	host->in_container = is_container();
	host->ram_len = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	host->protected_regular = read_number("/proc/sys/fs/protected_regular");
	if (!statfs("/dev/shm", &fs)) {
		host->shm_len = (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
		host->knows |= IVS_DOCTOR_SPACE;
	}
}
