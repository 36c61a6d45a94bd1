/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Make a region for VMs with ivshmem-plain (Looking Glass, for instance): of the right size, with
 * the right owner and mode, and with its memory reserved. Prints what to tell QEMU.
 *
 *   region shm:looking-glass 32M                     mode 0600, owned by who runs this
 *   region shm:looking-glass 32M 0660 $(id -u) $(getent group kvm | cut -d: -f3)
 *
 * If it exists with that size, nothing happens; with another, it says what to do.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ivshmem/region.h>

/* "32M": bytes, with K, M or G. What is no size becomes 0, which is refused. */
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
		fprintf(stderr, "region: \"%s\" is no size: use a number with K, M or G\n",
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
	printf("-object memory-backend-file,id=shm0,share=on,size=%s,mem-path=%s "
	       "-device ivshmem-plain,memdev=shm0\n",
	       argv[2], ivs_region_path(region));
	ivs_region_close(region);
	return 0;
}
