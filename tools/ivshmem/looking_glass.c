/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command looking-glass, which prints everything that Looking Glass needs on the host for a
 * given resolution.
 */
#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "config/host.h"
#include "config/libvirt.h"
#include "config/qemu.h"
#include "looking_glass/size.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/config_device.h"
#include "tools/ivshmem/looking_glass_test.h"
#include "tools/ivshmem/region_ops.h"
#include "tools/shared/address.h"
#include "tools/shared/owners.h"

#define DEFAULT_ADDRESS "shm:looking-glass"
#define DEFAULT_GROUP "kvm"
#define NAME_GROUP "name the group of the users that run VMs with --group"
#define MODE 0660
#define KVMFR_NODE "/dev/kvmfr0"
#define TEXT_LEN (1 << 20)
#define USER_LEN 64
#define CLIENT_USER_LEN 320

static const char help_text[] =
	"usage: ivshmem looking-glass WIDTHxHEIGHT [OPTION]...\n"
	"       ivshmem looking-glass test [OPTION]... [REGION]\n"
	"\n"
	"Shows what to do for Looking Glass at this resolution: the region, the VM, the\n"
	"client. \"looking-glass test\" publishes a test pattern; it has its own --help.\n"
	"\n"
	"      --hdr             with a high dynamic range\n"
	"      --release RELEASE of Looking Glass: b7, or idd (in development, with a\n"
	"                        display driver in the guest) (b7)\n"
	"      --user USER       user that runs the client (the caller, or sudo's caller)\n"
	"      --group GROUP     of the users that run VMs (kvm)\n"
	"      --name NAME       of the region (looking-glass)\n"
	"      --dry-run         change nothing (the default)\n"
	"      --apply           create the region, now and at each boot\n"
	"      --root DIR        write the files for booting to DIR/etc\n"
	"      --json            print a JSON object\n"
	"  -h, --help; -V, --version\n"
	"\n"
	"Example:\n"
	"  ivshmem looking-glass 3840x2160 --hdr\n";

enum {
	OPTION_HDR = 256,
	OPTION_RELEASE,
	OPTION_USER,
	OPTION_GROUP,
	OPTION_NAME,
	OPTION_ROOT,
	OPTION_DRY_RUN,
	OPTION_APPLY,
	OPTION_JSON,
};

/**
 * struct settings - the command line
 * @resolution: WIDTHxHEIGHT
 * @size:       size of the region
 * @address:    address of the region, shm:NAME
 */
struct settings {
	const char *resolution;
	struct ivs_looking_glass_mode mode;
	uint64_t size;
	const char *user;
	const char *group;
	char address[ADDRESS_LEN];
	const char *root;
	bool dry_run;
	bool apply;
	bool json;
};

static int wrong(const char *what, const char *value, const char *fix)
{
	char shown[256];

	return usage_error(what, ivs_text_shown(value, shown, sizeof(shown)), fix);
}

static int explain(const char *resolution, int result)
{
	switch (result) {
	case IVS_LOOKING_GLASS_E_ZERO:
		return wrong("the resolution has a side of 0", resolution,
			     "give that of the guest's screen, such as 1920x1080");
	case IVS_LOOKING_GLASS_E_HUGE:
		return wrong("the resolution is too large", resolution,
			     "each side can have up to 16384 pixels");
	case IVS_LOOKING_GLASS_E_CLIENT:
		return wrong("the resolution is too large", resolution,
			     "it needs a region of 2G or more, which Looking Glass's client cannot "
			     "map: use a lower one, or leave out --hdr");
	default:
		return wrong("invalid resolution", resolution,
			     "give WIDTHxHEIGHT, such as 1920x1080");
	}
}

static int take_operand(void *context, char *value)
{
	struct settings *settings = context;
	int result;

	if (settings->resolution)
		return USAGE_SURPLUS;
	settings->resolution = value;
	result = ivs_looking_glass_parse(value, &settings->mode);
	return result ? explain(value, result) : 0;
}

static int take_release(struct settings *settings, const char *value)
{
	if (!strcmp(value, "b7") || !strcmp(value, "B7"))
		settings->mode.release = IVS_LOOKING_GLASS_B7;
	else if (!strcmp(value, "idd") || !strcmp(value, "IDD"))
		settings->mode.release = IVS_LOOKING_GLASS_IDD;
	else
		return wrong("no such release", value, "use b7 or idd");
	return 0;
}

static int take_name(struct settings *settings, const char *value)
{
	int status = address_complete(value, settings->address);

	if (!status && (strncmp(settings->address, "shm:", 4) || strchr(settings->address, '/')))
		return wrong("invalid name", value, "use a name without \"/\"");
	return status;
}

static int take_root(struct settings *settings, const char *value)
{
	struct stat st;

	if (*value != '/' || stat(value, &st) || !S_ISDIR(st.st_mode))
		return wrong("invalid root", value, "use an existing directory");
	settings->root = strcmp(value, "/") ? value : "";
	return 0;
}

static int take_client_user(struct settings *settings, const char *value)
{
	uid_t uid;

	settings->user = value;
	return take_user(value, &uid);
}

static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;

	switch (option) {
	case OPTION_HDR:
		settings->mode.hdr = true;
		return 0;
	case OPTION_RELEASE:
		return take_release(settings, value);
	case OPTION_USER:
		return take_client_user(settings, value);
	case OPTION_GROUP:
		settings->group = value;
		return 0;
	case OPTION_ROOT:
		return take_root(settings, value);
	case OPTION_NAME:
		return take_name(settings, value);
	case OPTION_DRY_RUN:
		settings->dry_run = true;
		return 0;
	case OPTION_APPLY:
		settings->apply = true;
		return 0;
	case OPTION_JSON:
		settings->json = true;
		return 0;
	default:
		return STATUS_USAGE;
	}
}

static int check(struct settings *settings)
{
	int result;

	if (!settings->resolution) {
		usage_failed("no resolution: give WIDTHxHEIGHT, such as 1920x1080");
		return STATUS_USAGE;
	}
	if (settings->dry_run && settings->apply) {
		usage_failed("both --dry-run and --apply: give one of them");
		return STATUS_USAGE;
	}
	result = ivs_looking_glass_size(&settings->mode, &settings->size);
	return result ? explain(settings->resolution, result) : 0;
}

static int parse(struct settings *settings, int argc, char **argv)
{
	static const struct option options[] = {
		{"hdr", no_argument, NULL, OPTION_HDR},
		{"release", required_argument, NULL, OPTION_RELEASE},
		{"user", required_argument, NULL, OPTION_USER},
		{"group", required_argument, NULL, OPTION_GROUP},
		{"name", required_argument, NULL, OPTION_NAME},
		{"root", required_argument, NULL, OPTION_ROOT},
		{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
		{"apply", no_argument, NULL, OPTION_APPLY},
		{"json", no_argument, NULL, OPTION_JSON},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static const struct usage usage = {
		help_text, "Vh", options, take_option, "one resolution is expected", take_operand};
	int status;

	/* getopt(3) would take a negative number as an option. */
	for (int i = 1; i < argc; i++) {
		if (argv[i][0] == '-' && isdigit((unsigned char)argv[i][1]))
			return explain(argv[i], IVS_LOOKING_GLASS_E_FORMAT);
	}
	status = usage_parse(&usage, settings, argc, argv);
	return status ? status : check(settings);
}

/* Return: the user that runs the client. Under sudo, that is the user that ran sudo. */
static const char *default_user(char out[USER_LEN])
{
	const char *sudo = geteuid() ? NULL : getenv("SUDO_USER");
	const struct passwd *user = sudo && *sudo ? getpwnam(sudo) : getpwuid(geteuid());

	if (user)
		snprintf(out, USER_LEN, "%s", user->pw_name);
	else
		snprintf(out, USER_LEN, "%u", geteuid());
	return out;
}

/**
 * struct job - what is shown
 * @region: the region, in the form that the configuration of the device needs
 */
struct job {
	struct settings settings;
	char user[USER_LEN];
	struct config_device texts;
	struct ivs_config_device region;
	struct ivs_config config;
	struct notes notes;
	struct ivs_pieces pieces;
	char text[TEXT_LEN];
};

static int fill_region(struct job *job)
{
	static const struct config_target target = {
		.name = "libvirt", .access = true, .sized = true};
	const struct given given = {
		.operand = job->settings.address,
		.kind = IVS_CONFIG_PLAIN,
		.size = job->settings.size,
		.owner = job->settings.user,
		.group = job->settings.group,
		.mode = MODE,
	};

	return config_device_fill(&target, false, &given, &job->texts, &job->region, &job->notes);
}

/* Note a file where the client and virtiofsd expect the device node of the kvmfr driver. */
static void look_for_kvmfr(struct notes *notes)
{
	struct stat st;

	if (lstat(KVMFR_NODE, &st))
		return;
	if (S_ISREG(st.st_mode))
		notes_add(notes, "rm " KVMFR_NODE,
			  KVMFR_NODE " is a file and not a device: a VM was started before the "
				     "kvmfr driver was loaded. The client opens it unless it is "
				     "given the option -f. Stop the VM and remove the file");
	else if (S_ISCHR(st.st_mode))
		notes_add(notes, NULL,
			  KVMFR_NODE " exists: the client opens it unless it is given the option "
				     "-f. virtiofsd does not work in a VM that uses it");
}

static bool is_root(const char *name)
{
	return !strcmp(name, "root") || !strcmp(name, "0");
}

/* The default group may not exist, for instance in a container. */
static bool group_exists(const char *name)
{
	uint64_t number;

	return getgrnam(name) || ivs_parse_uint(name, 0, UINT32_MAX - 1, &number);
}

/* Return: the users that can open the region and run the client, which refuses to run as root. */
static const char *client_user(const struct job *job, char out[CLIENT_USER_LEN])
{
	if (!is_root(job->region.owner))
		snprintf(out, CLIENT_USER_LEN, "%s", job->region.owner);
	else if (!is_root(job->region.group))
		snprintf(out, CLIENT_USER_LEN, "a user of group %s", job->region.group);
	else
		snprintf(out, CLIENT_USER_LEN, "the user to be named with --user");
	return out;
}

/* Note states in which the client does not work, though the region is as it should be. */
static void look_for_traps(struct job *job)
{
	struct look look;

	look_at(job->region.path, &look);
	if (look.file && !look.size)
		notes_add(&job->notes, NULL,
			  "\"%s\" is empty: the client cannot map it until its size is set, which "
			  "the next step does",
			  job->region.path);
	if (is_root(job->region.owner))
		notes_add(
			&job->notes, NULL,
			"Looking Glass's client refuses to run as root: name its user with --user");
	if (!group_exists(job->region.group))
		notes_add(&job->notes, NULL, "there is no group \"%s\" on this host: " NAME_GROUP,
			  job->region.group);
	look_for_kvmfr(&job->notes);
}

static void add_create(struct job *job)
{
	char size[IVS_SIZE_TEXT_LEN];
	struct ivs_out *out;

	out = ivs_pieces_add(&job->pieces, IVS_LANGUAGE_SHELL,
			     "As root, to create the region, now and at each boot (or: --apply)");
	ivs_out_text(out, "ivshmem create ");
	ivs_escape(out, IVS_SYNTAX_SHELL, job->region.region);
	ivs_out_format(out, " --size %s --owner %s --group %s --mode 0%o --boot\n",
		       ivs_size_text(job->settings.size, size), job->region.owner,
		       job->region.group, MODE);
}

/* Add a command that the user of the client runs. @word is its last argument. */
static void add_step(struct job *job, const char *when, const char *command, const char *word)
{
	char user[CLIENT_USER_LEN];
	struct ivs_out *out;

	out = ivs_pieces_add(&job->pieces, IVS_LANGUAGE_SHELL, "As %s, %s", client_user(job, user),
			     when);
	ivs_out_text(out, command);
	ivs_escape(out, IVS_SYNTAX_SHELL, word);
	ivs_out_text(out, "\n");
}

/* Add all notes. The notes about what is wrong with this host come first. */
static void add_notes(struct job *job)
{
	for (unsigned int i = 0; i < job->notes.n; i++) {
		const struct note *note = &job->notes.items[i];
		struct ivs_out *out;

		out = ivs_pieces_add(&job->pieces, IVS_LANGUAGE_SHELL, "%.480s", note->text);
		if (note->command)
			ivs_out_format(out, "%s\n", note->command);
	}
}

static void compose(struct job *job)
{
	add_notes(job);
	if (!job->settings.apply) {
		add_create(job);
		ivs_config_tmpfiles(&job->config, &job->pieces);
		job->pieces.items[job->pieces.n - 1].where =
			"In a file in /etc/tmpfiles.d, instead of --boot: the file is then empty "
			"until the VM starts";
	}
	add_step(job, "to see a test pattern in the client before there is a VM",
		 "ivshmem looking-glass test ", job->region.region);
	ivs_config_libvirt(&job->config, &job->pieces);
	ivs_config_qemu(&job->config, &job->pieces);
	add_step(job, "once the VM is running; add -s if it has no SPICE server",
		 "looking-glass-client -f ", job->region.path);
}

static int print_job(const struct job *job)
{
	static const struct notes none;
	const struct settings *settings = &job->settings;
	json_t *json = NULL;
	char size[IVS_SIZE_TEXT_LEN];
	int status;

	if (!settings->json) {
		printf("# Looking Glass %s, %ux%u%s: a region of %s\n\n",
		       settings->mode.release == IVS_LOOKING_GLASS_B7 ? "B7" : "IDD",
		       settings->mode.width, settings->mode.height,
		       settings->mode.hdr ? " with HDR" : "", ivs_size_text(settings->size, size));
		return pieces_print(&job->pieces, &none, NULL);
	}
	json = json_pack("{s:i, s:i, s:b, s:s, s:s, s:I, s:b}", "width", (int)settings->mode.width,
			 "height", (int)settings->mode.height, "hdr", settings->mode.hdr, "release",
			 settings->mode.release == IVS_LOOKING_GLASS_B7 ? "b7" : "idd", "region",
			 job->region.region, "size", (json_int_t)settings->size, "applied",
			 settings->apply);
	if (!json)
		return usage_failed("out of memory");
	status = pieces_print(&job->pieces, &job->notes, json);
	json_decref(json);
	return status;
}

/* Create the region. Reports go to standard error, because standard output has the pieces. */
static int apply(struct job *job)
{
	struct region_plan plan = REGION_PLAN_INIT;
	int output;
	int status;

	plan.region = job->region.region;
	plan.options.size = job->settings.size;
	plan.options.mode = MODE;
	plan.boot = true;
	plan.root = job->settings.root;
	if (!group_exists(job->region.group))
		return usage_error("no such group", job->region.group, NAME_GROUP);
	status = take_user(job->region.owner, &plan.options.uid);
	if (!status)
		status = take_group(job->region.group, &plan.options.gid);
	if (status)
		return status;
	fflush(stdout);
	output = dup(STDOUT_FILENO);
	if (output < 0 || dup2(STDERR_FILENO, STDOUT_FILENO) < 0)
		return usage_failed("cannot duplicate standard output: %s", strerror(errno));
	status = region_create(&plan);
	fflush(stdout);
	dup2(output, STDOUT_FILENO);
	close(output);
	return status;
}

static int job_do(struct job *job)
{
	int status = fill_region(job);

	if (!status && job->settings.apply) {
		status = apply(job);
		notes_deinit(&job->notes); /* they describe the state before apply() */
	}
	if (status)
		return status;
	look_for_traps(job);
	job->config = (struct ivs_config){.devices = &job->region, .devices_n = 1};
	job->pieces = (struct ivs_pieces)IVS_PIECES_INIT(job->text, sizeof(job->text));
	compose(job);
	return print_job(job);
}

static int run(int argc, char **argv)
{
	struct job *job;
	int status;

	if (argc > 1 && !strcmp(argv[1], "test"))
		return looking_glass_test(argc - 1, argv + 1);
	job = calloc(1, sizeof(*job));
	if (!job)
		return usage_failed("out of memory");
	job->settings.user = default_user(job->user);
	strcpy(job->settings.address, DEFAULT_ADDRESS);
	job->settings.group = DEFAULT_GROUP;
	job->settings.root = "";
	status = parse(&job->settings, argc, argv);
	if (!status)
		status = job_do(job);
	notes_deinit(&job->notes);
	free(job);
	return status < 0 ? 0 : status;
}

const struct command command_looking_glass = {
	.name = "looking-glass",
	.summary = "create the region, and show the configuration, for a resolution",
	.run = run,
};
