/* SPDX-License-Identifier: BSD-3-Clause */
/* The command lines of the commands create, resize and remove. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/parse.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/region_ops.h"
#include "tools/shared/owners.h"

/* Options without a short form */
enum { OPTION_BACKEND = 256, OPTION_BOOT, OPTION_FORCE, OPTION_JSON, OPTION_ROOT };

struct settings {
	struct region_plan plan;
	char root[PATH_MAX];
};

static int take_root(struct settings *settings, const char *value)
{
	struct stat st;

	if (!realpath(value, settings->root) || stat(settings->root, &st) || !S_ISDIR(st.st_mode))
		return usage_error("invalid root", value, "use an existing directory");
	if (!strcmp(settings->root, "/"))
		settings->root[0] = '\0';
	settings->plan.root = settings->root;
	return 0;
}

static int take(void *context, int option, const char *value)
{
	struct settings *settings = context;
	struct ivs_region_options *opts = &settings->plan.options;

	switch (option) {
	case 's':
		if (!ivs_parse_size(value, &opts->size) || !opts->size)
			return usage_error("invalid size of the region", value,
					   "use a number with K, M, G or T, such as 32M");
		return 0;
	case 'o':
		return take_user(value, &opts->uid);
	case 'g':
		return take_group(value, &opts->gid);
	case 'm':
		return take_mode(value, &opts->mode);
	case OPTION_BACKEND:
		return take_backend(value, &settings->plan.backend);
	case OPTION_BOOT:
		settings->plan.boot = true;
		return 0;
	case OPTION_ROOT:
		return take_root(settings, value);
	case OPTION_FORCE:
		settings->plan.force = true;
		return 0;
	case OPTION_JSON:
		settings->plan.json = true;
		return 0;
	default:
		return STATUS_USAGE;
	}
}

static int take_region(void *context, char *value)
{
	struct settings *settings = context;

	if (settings->plan.region)
		return USAGE_SURPLUS;
	settings->plan.region = value;
	return 0;
}

#define OPTIONS_COMMON                                                                             \
	{"json", no_argument, NULL, OPTION_JSON}, {"help", no_argument, NULL, 'h'},                \
	{                                                                                          \
		"version", no_argument, NULL, 'V'                                                  \
	}

static const struct option create_options[] = {
	{"size", required_argument, NULL, 's'},
	{"owner", required_argument, NULL, 'o'},
	{"group", required_argument, NULL, 'g'},
	{"mode", required_argument, NULL, 'm'},
	{"backend", required_argument, NULL, OPTION_BACKEND},
	{"boot", no_argument, NULL, OPTION_BOOT},
	{"root", required_argument, NULL, OPTION_ROOT},
	OPTIONS_COMMON,
	{0},
};

static const struct option resize_options[] = {
	{"size", required_argument, NULL, 's'},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"root", required_argument, NULL, OPTION_ROOT},
	OPTIONS_COMMON,
	{0},
};

static const struct option remove_options[] = {
	{"force", no_argument, NULL, OPTION_FORCE},
	{"root", required_argument, NULL, OPTION_ROOT},
	OPTIONS_COMMON,
	{0},
};

#define HELP_REGION                                                                                \
	"REGION is NAME, which means shm:NAME; PATH, which means file:PATH; or an\n"               \
	"address: shm:NAME, file:PATH.\n\n"

#define HELP_COMMON                                                                                \
	"      --json           print a JSON object\n"                                             \
	"  -h, --help           print this help\n"                                                 \
	"  -V, --version        print the version\n\n"

/**
 * struct variant - what distinguishes one of the commands
 * @letters:   short options, for getopt(3)
 * @sized:     --size must be given
 * @operation: what the command does
 */
struct variant {
	const char *help;
	const char *letters;
	const struct option *options;
	bool sized;
	int (*operation)(const struct region_plan *plan);
};

static const struct variant create_variant = {
	.help = "usage: ivshmem create REGION --size SIZE [OPTION]...\n"
		"\n"
		"Creates a region and reserves all its memory. No other program sees the region\n"
		"before its size, owner and mode are set. If an identical one exists, that is\n"
		"reported. If a different one exists, the differences are printed, with the\n"
		"commands that fix them.\n"
		"\n" HELP_REGION "  -s, --size SIZE      a power of two, such as 32M\n"
		"  -o, --owner USER     its owner (the caller)\n"
		"  -g, --group GROUP    its group (the caller's)\n"
		"  -m, --mode MODE      permission bits (0660 with --group, otherwise 0600)\n"
		"      --backend WHERE  shm (POSIX shared memory; REGION is a name), file (REGION\n"
		"                       is a path) or hugetlb (huge pages; REGION is a path, or\n"
		"                       a name in the mounted hugetlbfs)\n"
		"      --boot           also create it at boot, before any VM\n"
		"      --root DIR       write the files of --boot in DIR/etc\n" HELP_COMMON
		"Example: a region for Looking Glass, also after the next boot:\n"
		"  ivshmem create looking-glass --size 32M --owner alice --group kvm --boot",
	.letters = "s:o:g:m:hV",
	.options = create_options,
	.sized = true,
	.operation = region_create,
};

static const struct variant resize_variant = {
	.help = "usage: ivshmem resize REGION --size SIZE [OPTION]...\n"
		"\n"
		"Changes the size of a region. It must not be in use. A region that grows keeps\n"
		"its contents; a smaller one is a new file full of zeroes, with the same owner\n"
		"and mode.\n"
		"\n" HELP_REGION "  -s, --size SIZE      a power of two, such as 64M\n"
		"      --force          replace the file even while programs use it: they keep\n"
		"                       the old memory until they open the region again\n"
		"      --root DIR       also change the files of --boot in DIR/etc\n" HELP_COMMON
		"Example:\n"
		"  ivshmem resize looking-glass --size 64M",
	.letters = "s:hV",
	.options = resize_options,
	.sized = true,
	.operation = region_resize,
};

static const struct variant remove_variant = {
	.help = "usage: ivshmem remove REGION [OPTION]...\n"
		"\n"
		"Removes a region, and the files that create it at boot. It must not be in use.\n"
		"\n" HELP_REGION
		"      --force          even while programs use it: they keep the\n"
		"                       memory, but no other program finds it\n"
		"      --root DIR       remove the files of --boot in DIR/etc\n" HELP_COMMON
		"Example:\n"
		"  ivshmem remove looking-glass",
	.letters = "hV",
	.options = remove_options,
	.operation = region_remove,
};

static int run(const struct variant *variant, int argc, char **argv)
{
	const struct usage usage = {
		.help = variant->help,
		.letters = variant->letters,
		.options = variant->options,
		.take = take,
		.surplus = "one region is expected",
		.operand = take_region,
	};
	struct settings settings = {.plan = REGION_PLAN_INIT};
	int status = usage_parse(&usage, &settings, argc, argv);

	if (status)
		return status < 0 ? 0 : status;
	if (!settings.plan.region) {
		usage_failed("no region is given: \"%s --help\" has an example", usage_name());
		return STATUS_USAGE;
	}
	if (variant->sized && !settings.plan.options.size) {
		usage_failed("no size is given: add --size, such as --size 32M");
		return STATUS_USAGE;
	}
	if (variant == &create_variant && settings.root[0] && !settings.plan.boot)
		return usage_error("surplus option --root", settings.root, "add --boot");
	return variant->operation(&settings.plan);
}

static int run_create(int argc, char **argv)
{
	return run(&create_variant, argc, argv);
}

static int run_resize(int argc, char **argv)
{
	return run(&resize_variant, argc, argv);
}

static int run_remove(int argc, char **argv)
{
	return run(&remove_variant, argc, argv);
}

const struct command command_create = {
	.name = "create",
	.summary = "create a region, with size, owner and mode",
	.run = run_create,
};

const struct command command_resize = {
	.name = "resize",
	.summary = "change the size of a region",
	.run = run_resize,
};

const struct command command_remove = {
	.name = "remove",
	.summary = "remove a region",
	.run = run_remove,
};
