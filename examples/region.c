/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Create a region of the given size, mode and owner for VMs with ivshmem-plain (to run Looking
 * Glass, for instance), reserve the region's memory, and print the options for QEMU.
 *
 *   region shm:looking-glass 32M                     mode 0600, owned by the caller
 *   region shm:looking-glass 32M 0660 $(id -u) $(getent group kvm | cut -d: -f3)
 *
 * An existing region of the given size is left unchanged; one of another size is an error. If
 * another user may have created it, a warning is printed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <ivshmem/region.h>

/* Return: the size in bytes that @text stands for ("32M", also with K or G); 0 if it is invalid. */
static uint64_t parse_size(const char *text)
{
	static const char suffixes[] = "KMG";
	char *end;
	uint64_t n = strtoull(text, &end, 10);
	const char *suffix = *end ? strchr(suffixes, *end) : NULL;

	if (suffix)
		return n << (10 * (suffix - suffixes + 1));
	return *end ? 0 : n;
}

/* In /dev/shm, any user can be the first to create an object with this name. */
static void warn_of_others(const struct ivs_region *region)
{
	struct stat st;

	if (ivs_region_created(region) || fstat(ivs_region_fd(region), &st))
		return;
	if (st.st_uid && st.st_uid != geteuid())
		fprintf(stderr, "region: warning: %s existed before and is owned by uid %d\n",
			ivs_region_path(region), (int)st.st_uid);
	if (st.st_mode & S_IWOTH)
		fprintf(stderr, "region: warning: %s existed before and is writable by all users\n",
			ivs_region_path(region));
}

int main(int argc, char **argv)
{
	struct ivs_region_options opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_region *region;
	struct ivs_error err;

	if (argc < 3) {
		fprintf(stderr, "usage: region shm:NAME|file:PATH SIZE [MODE [UID [GID]]]\n");
		return 2;
	}
	opts.size = parse_size(argv[2]);
	if (!opts.size) {
		fprintf(stderr, "region: \"%s\" is not a size: use a number with K, M or G\n",
			argv[2]);
		return 2;
	}
	if (argc > 3)
		opts.mode = (mode_t)strtoul(argv[3], NULL, 8);
	if (argc > 4)
		opts.uid = (uid_t)strtoul(argv[4], NULL, 10);
	if (argc > 5)
		opts.gid = (gid_t)strtoul(argv[5], NULL, 10);
	if (ivs_region_open(argv[1], &opts, &region, &err)) {
		fprintf(stderr, "region: %s\n", err.text);
		return 1;
	}
	warn_of_others(region);
	printf("-object memory-backend-file,id=shm0,share=on,size=%s,mem-path=%s "
	       "-device ivshmem-plain,memdev=shm0\n",
	       argv[2], ivs_region_path(region));
	ivs_region_close(region);
	return 0;
}
