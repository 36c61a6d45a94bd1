/* SPDX-License-Identifier: BSD-3-Clause */
/* "ivshmem doctor": what is wrong on this host, and how to mend it. */
#include <jansson.h>
#include <limits.h>
#include <string.h>

#include "base/parse.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/doctor/report.h"
#include "tools/shared/usage.h"

#define STATUS_WARNINGS 1
#define STATUS_ERRORS 2

static const char help_text[] =
	"usage: ivshmem doctor [NAME | --vm PID | --server SOCKET | --domain DOMAIN |\n"
	"                      --host | --guest] [--json]\n"
	"       ivshmem doctor --list | --explain RULE [--json]\n"
	"\n"
	"Looks for what is known to go wrong: regions, the VMs and servers that use\n"
	"them, the host and, in a guest, its ivshmem devices. It changes nothing, and\n"
	"prints for each fault what was found, why it hurts, and the command that\n"
	"mends it. NAME is a name in /dev/shm, an address (shm:NAME, file:PATH), or the\n"
	"path of a file.\n"
	"\n"
	"  -S, --server SOCKET\n"
	"                  examine only the server at this socket, and its region; a server\n"
	"                  without --control sees a client join and leave\n"
	"  -D, --domain DOMAIN\n"
	"                  examine only this domain of libvirt (virsh)\n"
	"      --vm PID    examine only the VM with this pid, and the regions that it uses\n"
	"  -H, --host      examine only the host itself\n"
	"  -g, --guest     in a guest: examine only its driver and its ivshmem devices\n"
	"  -l, --list      list the rules\n"
	"  -e, --explain RULE\n"
	"                  describe a rule\n"
	"  -j, --json      print JSON\n"
	"  -h, --help, -V, --version\n"
	"\n"
	"Without root, processes of other users cannot be examined; the doctor says so.\n"
	"Exit status: 0 if nothing was found, 1 for warnings, 2 for errors.\n"
	"\n"
	"Example:\n"
	"  ivshmem doctor\n"
	"  ivshmem doctor looking-glass\n"
	"  ivshmem doctor --server /run/ivshmem/net.sock\n";

enum {
	OPTION_VM = 256,
};

static const struct option options[] = {
	{"vm", required_argument, NULL, OPTION_VM},
	{"server", required_argument, NULL, 'S'},
	{"domain", required_argument, NULL, 'D'},
	{"host", no_argument, NULL, 'H'},
	{"guest", no_argument, NULL, 'g'},
	{"list", no_argument, NULL, 'l'},
	{"explain", required_argument, NULL, 'e'},
	{"json", no_argument, NULL, 'j'},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{NULL, 0, NULL, 0},
};

struct settings {
	bool json;
	bool list;
	const struct ivs_doctor_rule *rule;
	struct scope scope;
};

static int take_rule(struct settings *settings, const char *value)
{
	settings->rule = ivs_doctor_rule_find(value);
	return settings->rule
		       ? 0
		       : usage_error("no rule", value, "\"ivshmem doctor --list\" lists the rules");
}

static int take_server(struct settings *settings, const char *value)
{
	if (!*value || strlen(value) >= IVS_HOST_SOCKET_LEN)
		return usage_error("invalid socket", value,
				   "use the path of a socket, of 1 to 107 bytes");
	settings->scope.server = value;
	return 0;
}

static int take_vm(struct scope *scope, const char *value)
{
	uint64_t pid;

	if (!ivs_parse_uint(value, 1, INT_MAX, &pid))
		return usage_error("invalid pid", value, "\"ivshmem list\" shows the pids of VMs");
	scope->vm = (pid_t)pid;
	return 0;
}

static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;

	switch (option) {
	case 'S':
		return take_server(settings, value);
	case 'D':
		settings->scope.domain = value;
		return 0;
	case OPTION_VM:
		return take_vm(&settings->scope, value);
	case 'H':
		settings->scope.has_host = true;
		return 0;
	case 'g':
		settings->scope.has_guest = true;
		return 0;
	case 'l':
		settings->list = true;
		return 0;
	case 'e':
		return take_rule(settings, value);
	case 'j':
		settings->json = true;
		return 0;
	default:
		return STATUS_USAGE;
	}
}

static int take_name(void *context, char *value)
{
	struct scope *scope = &((struct settings *)context)->scope;
	int status;

	if (scope->has_name)
		return USAGE_SURPLUS;
	status = region_name_take(&scope->name, value);
	scope->has_name = !status;
	return status;
}

/* Return: 0, or STATUS_USAGE after printing that only one part can be examined. */
static int check_scope(const struct scope *scope)
{
	int parts_n = scope->has_name + scope->has_host + scope->has_guest + !!scope->vm +
		      !!scope->server + !!scope->domain;

	if (parts_n < 2)
		return 0;
	usage_failed("one part can be examined at a time: give only one of NAME, --vm, "
		     "--server, --domain, --host and --guest");
	return STATUS_USAGE;
}

/* Return: the exit status that tells scripts what was found. */
static int status_of(const struct ivs_doctor_findings *findings)
{
	int status = 0;

	for (size_t i = 0; i < findings->n; i++) {
		if (findings->list[i].rule->severity == IVS_DOCTOR_ERROR)
			return STATUS_ERRORS;
		if (findings->list[i].rule->severity == IVS_DOCTOR_WARNING)
			status = STATUS_WARNINGS;
	}
	return status;
}

static int report(const struct settings *settings, const struct collected *collected)
{
	struct ivs_doctor_findings findings;
	int status;

	if (ivs_doctor_apply(&collected->facts, &findings)) {
		ivs_doctor_findings_deinit(&findings);
		usage_failed("out of memory");
		return STATUS_ERRORS;
	}
	status = settings->json ? report_json(collected, &findings)
				: report_findings(collected, &findings);
	if (!status)
		status = status_of(&findings);
	ivs_doctor_findings_deinit(&findings);
	return status;
}

static int examine(const struct settings *settings)
{
	struct collected collected;
	int status = collect(&settings->scope, &collected);

	/* 1 would tell a script that everything works, with warnings. */
	status = status ? STATUS_ERRORS : report(settings, &collected);
	collected_deinit(&collected);
	return status;
}

static int doctor(int argc, char **argv)
{
	static const struct usage usage = {
		.help = help_text,
		.letters = "S:D:Hgle:jhV",
		.options = options,
		.take = take_option,
		.surplus = "one name can be given",
		.operand = take_name,
	};
	struct settings settings = {0};
	int status = usage_parse(&usage, &settings, argc, argv);

	if (!status && settings.rule)
		status = report_rule(settings.rule, settings.json);
	else if (!status && settings.list)
		status = report_rules(settings.json);
	else if (!status)
		status = check_scope(&settings.scope);
	if (!status && !settings.rule && !settings.list)
		status = examine(&settings);
	region_name_deinit(&settings.scope.name);
	return status < 0 ? 0 : status;
}

const struct command command_doctor = {
	"doctor",
	"find what is wrong on this host or guest, and how to mend it",
	doctor,
};
