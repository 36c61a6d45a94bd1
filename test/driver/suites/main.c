// SPDX-License-Identifier: BSD-3-Clause
/* driver-test [-d DEVICE] SUITE [ARGUMENT]...: run one suite on /dev/ivshmemDEVICE (default 0). */
#include "common.h"

static const struct suite {
	const char *name;
	int (*run)(int argc, char **argv);
} suites[] = {
	{"device", suite_device},   {"events", suite_events},	{"grid", suite_grid},
	{"mapgrid", suite_mapgrid}, {"mapping", suite_mapping}, {"user", suite_user},
	{"life", suite_life},	    {"load", suite_load},	{"storm", suite_storm},
	{"dmabuf", suite_dmabuf},   {"pin", suite_pin},		{"worst", suite_worst},
	{"path", suite_path},
};

int main(int argc, char **argv)
{
	if (argc > 2 && !strcmp(argv[1], "-d")) {
		device_number = atoi(argv[2]);
		argv += 2;
		argc -= 2;
	}
	for (size_t i = 0; argc > 1 && i < sizeof(suites) / sizeof(*suites); i++) {
		if (strcmp(suites[i].name, argv[1]))
			continue;
		tap_begin(suites[i].name);
		need(!suites[i].run(argc - 1, argv + 1), "the suite's arguments are valid");
		return tap_end();
	}
	fprintf(stderr, "usage: driver-test [-d DEVICE] SUITE [ARGUMENT]...\n");
	return 2;
}
