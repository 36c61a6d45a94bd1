/* SPDX-License-Identifier: BSD-3-Clause */
/* "ivshmem migrate": a VM that is the master of its regions. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "daemon/json.h"
#include "migration/check.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/migrate_host.h"
#include "tools/ivshmem/migrate_plan.h"
#include "tools/ivshmem/migrate_replug.h"
#include "tools/ivshmem/migrate_ring.h"
#include "tools/ivshmem/migrate_run.h"
#include "tools/ivshmem/region_show.h"
#include "tools/ivshmem/signals.h"

#define PEERS_MAX 16
#define TIMEOUT_MAX 86400

/* Options without a short form */
enum {
	OPTION_QMP = 256,
	OPTION_TO,
	OPTION_TO_QMP,
	OPTION_PEER,
	OPTION_TO_SERVER,
	OPTION_CONTROL,
	OPTION_NO_RINGS,
	OPTION_PLAN,
	OPTION_TIMEOUT,
	OPTION_FORCE,
	OPTION_JSON,
};

static const char help_text[] =
	"usage: ivshmem migrate --qmp SOCK --to URI --to-qmp SOCK [OPTION]...\n"
	"\n"
	"Migrates a VM whose ivshmem devices have master=on, with the content of their\n"
	"regions, to a QEMU that was started with -incoming defer and has a region or\n"
	"server of its own. If the destination lacks a plain device, or a doorbell device\n"
	"that is a peer, this device is unplugged before and plugged in again after the\n"
	"migration, and its region is not copied. Everything is checked first. Whatever\n"
	"happens, one of the two VMs runs at the end, and the messages say which.\n"
	"\n"
	"      --qmp SOCK       monitor of the VM (-qmp unix:SOCK,server=on,wait=off)\n"
	"      --to URI         where the destination is to listen: unix:PATH,\n"
	"                       tcp:HOST:PORT\n"
	"      --to-qmp SOCK    monitor of the destination\n"
	"      --peer SOCK      monitor of another VM that uses the same region: it is\n"
	"                       stopped for the migration, so that nothing that it\n"
	"                       writes is lost; may be repeated\n"
	"      --to-server SOCK server at the destination for a doorbell device that is a\n"
	"                       peer (the server that it has at the source)\n"
	"      --control SOCK   control socket of its server at the source (those of the\n"
	"                       units, /run/ivshmem-NAME/control)\n"
	"      --no-rings       no peer rings that device now: see ivshmem detach --help\n"
	"      --plan           only check, and print each step and what is true after it\n"
	"      --timeout S      cancel the migration after S seconds\n"
	"      --force          migrate even if other programs may write to the region, and\n"
	"                       although what they write may be lost\n"
	"      --json           print a JSON object\n"
	"  -h, --help           print this help\n"
	"  -V, --version        print the version\n"
	"\n"
	"Example:\n"
	"  ivshmem migrate --qmp /run/a.qmp --to unix:/run/a.migration --to-qmp /run/b.qmp\n";

static const struct option options[] = {
	{"qmp", required_argument, NULL, OPTION_QMP},
	{"to", required_argument, NULL, OPTION_TO},
	{"to-qmp", required_argument, NULL, OPTION_TO_QMP},
	{"peer", required_argument, NULL, OPTION_PEER},
	{"to-server", required_argument, NULL, OPTION_TO_SERVER},
	{"control", required_argument, NULL, OPTION_CONTROL},
	{"no-rings", no_argument, NULL, OPTION_NO_RINGS},
	{"plan", no_argument, NULL, OPTION_PLAN},
	{"timeout", required_argument, NULL, OPTION_TIMEOUT},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"json", no_argument, NULL, OPTION_JSON},
	{"help", no_argument, NULL, 'h'},
	{"version", no_argument, NULL, 'V'},
	{0},
};

/**
 * struct settings - the command line
 * @peers: paths of the monitors of other VMs
 */
struct settings {
	const char *qmp;
	const char *uri;
	const char *to_qmp;
	const char *peers[PEERS_MAX];
	unsigned int peers_n;
	const char *to_server;
	const char *control;
	bool no_rings;
	uint64_t timeout_s;
	bool plan;
	bool force;
	bool json;
};

/**
 * struct state - everything that is open
 * @stopped_n: the number of peers, from the first one, that are stopped
 * @rung_n:    number of doorbells rung at the destination
 */
struct state {
	const struct settings *settings;
	struct side source;
	struct side destination;
	struct side peers[PEERS_MAX];
	unsigned int peers_n;
	unsigned int stopped_n;
	struct replug replug;
	struct ivs_migration_problems problems;
	struct host_servers servers;
	struct migration migration;
	unsigned int rung_n;
};

static int take_peer(struct settings *settings, const char *value)
{
	if (settings->peers_n == PEERS_MAX)
		return usage_error("surplus peer", value, "at most 16 can be given");
	settings->peers[settings->peers_n++] = value;
	return 0;
}

static int take(void *context, int option, const char *value)
{
	struct settings *settings = context;

	switch (option) {
	case OPTION_QMP:
		settings->qmp = value;
		return 0;
	case OPTION_TO:
		settings->uri = value;
		return 0;
	case OPTION_TO_QMP:
		settings->to_qmp = value;
		return 0;
	case OPTION_PEER:
		return take_peer(settings, value);
	case OPTION_TO_SERVER:
		settings->to_server = value;
		return 0;
	case OPTION_CONTROL:
		settings->control = value;
		return 0;
	case OPTION_NO_RINGS:
		settings->no_rings = true;
		return 0;
	case OPTION_PLAN:
		settings->plan = true;
		return 0;
	case OPTION_TIMEOUT:
		if (ivs_parse_uint(value, 1, TIMEOUT_MAX, &settings->timeout_s))
			return 0;
		return usage_error("invalid timeout", value, "use 1 to 86400 seconds");
	case OPTION_FORCE:
		settings->force = true;
		return 0;
	case OPTION_JSON:
		settings->json = true;
		return 0;
	default:
		return STATUS_USAGE;
	}
}

static int check_settings(const struct settings *settings)
{
	const char *missing = !settings->qmp	  ? "--qmp"
			      : !settings->uri	  ? "--to"
			      : !settings->to_qmp ? "--to-qmp"
						  : NULL;

	if (missing) {
		usage_failed("%s is missing: \"%s --help\" has an example", missing, usage_name());
		return STATUS_USAGE;
	}
	if (strncmp(settings->uri, "unix:", 5) != 0 && strncmp(settings->uri, "tcp:", 4) != 0)
		return usage_error("invalid address", settings->uri,
				   "use unix:PATH or tcp:HOST:PORT; to save a VM, use QEMU's own "
				   "migrate command");
	if (!strcmp(settings->qmp, settings->to_qmp))
		return usage_error("invalid destination", settings->to_qmp,
				   "it is the monitor of the VM itself");
	return 0;
}

/* Connect to all monitors, and find out everything. Nothing changes. */
static int state_open(struct state *state)
{
	const struct settings *settings = state->settings;
	int status = side_open(&state->source, settings->qmp);

	if (!status)
		status = side_open(&state->destination, settings->to_qmp);
	for (unsigned int i = 0; i < settings->peers_n && !status; i++) {
		state->peers[state->peers_n] = (struct side)SIDE_INIT("peer");
		status = side_open(&state->peers[state->peers_n++], settings->peers[i]);
		if (!status)
			status = side_learn(&state->peers[state->peers_n - 1]);
	}
	if (!status)
		status = side_learn(&state->source);
	if (!status)
		status = side_learn(&state->destination);
	return status;
}

static void state_close(struct state *state)
{
	for (unsigned int i = 0; i < state->peers_n; i++)
		side_close(&state->peers[i]);
	side_close(&state->destination);
	side_close(&state->source);
}

/* Whether both monitors belong to the same QEMU. */
static bool is_same(const struct side *a, const struct side *b)
{
	return a->local && b->local && a->qmp.pid > 0 && a->qmp.pid == b->qmp.pid;
}

/* A peer must be another VM, not a second monitor of the same one, and not a domain of libvirt. */
static void check_monitors(struct state *state)
{
	struct ivs_migration_problems *problems = &state->problems;

	for (unsigned int i = 0; i < state->peers_n; i++) {
		const struct side *peer = &state->peers[i];

		if (peer->facts.libvirt)
			ivs_migration_add(problems, "libvirt",
					  "the peer %s is a domain of libvirt: suspend it (virsh "
					  "suspend) instead of giving its monitor",
					  peer->text);
		if (is_same(peer, &state->source) || is_same(peer, &state->destination))
			ivs_migration_add(problems, "monitor",
					  "the peer %s is the source or the destination itself: "
					  "use --peer for other VMs only",
					  peer->text);
		for (unsigned int k = 0; k < i; k++) {
			if (is_same(peer, &state->peers[k]))
				ivs_migration_add(problems, "monitor",
						  "the peer %s is given twice, with two monitors",
						  peer->text);
		}
	}
	if (is_same(&state->source, &state->destination))
		ivs_migration_add(problems, "monitor",
				  "%s is the source itself: use the monitor of another VM for "
				  "--to-qmp",
				  state->destination.text);
}

/* Without a process on this host, nothing is known about its region. */
static void check_local(struct state *state)
{
	const char *role = state->source.local ? "destination" : "source";

	if (state->source.local && state->destination.local)
		return;
	if (state->settings->force)
		usage_failed("note: the %s is not a process on this host, so it is not checked "
			     "whether other programs use its region, or whether both VMs use the "
			     "same one",
			     role);
	else
		ivs_migration_add(&state->problems, "host",
				  "the %s is not a process on this host, so it cannot be checked "
				  "whether other programs use its region, or whether both VMs "
				  "use the same one: make sure that they do not, and use --force",
				  role);
}

/* Check both VMs, and print what is wrong. */
static int check(struct state *state)
{
	struct ivs_migration_problems *problems = &state->problems;

	ivs_migration_mark(&state->source.facts, &state->destination.facts);
	ivs_migration_check(&state->source.facts, &state->destination.facts, problems);
	check_monitors(state);
	replug_check(&state->replug, &state->source, &state->destination, problems);
	host_check(&state->source, &state->destination, state->peers, state->peers_n,
		   state->settings->force, problems, &state->servers);
	check_local(state);
	if (!problems->n)
		return 0;
	usage_failed("the VM cannot be migrated; nothing has been changed:");
	for (unsigned int i = 0; i < problems->n; i++)
		fprintf(stderr, "  %s\n", problems->list[i].text);
	return STATUS_FAILED;
}

/* Stop the peers, so that they do not write. */
static int stop_peers(struct state *state)
{
	struct ivs_error err = {0};

	while (state->stopped_n < state->peers_n) {
		/* It may stop even without an answer. */
		struct side *peer = &state->peers[state->stopped_n++];

		if (peer->running && ivs_qmp_execute(&peer->qmp, NULL, &err, "stop", NULL))
			return usage_failed("%s: %s", peer->text, err.text);
	}
	return 0;
}

/* Leave the peers stopped, and name them. Return: STATUS_FAILED. */
static int leave_peers(const struct state *state)
{
	for (unsigned int i = 0; i < state->stopped_n; i++) {
		if (state->peers[i].running)
			usage_failed("%s is left stopped: when it is clear which VM is running, "
				     "resume it (cont)",
				     state->peers[i].text);
	}
	return STATUS_FAILED;
}

/* Resume the peers that were running. Return: 0, or STATUS_FAILED after printing which failed. */
static int continue_peers(struct state *state)
{
	int status = 0;

	for (; state->stopped_n; state->stopped_n--) {
		struct side *peer = &state->peers[state->stopped_n - 1];
		struct ivs_error err = {0};

		if (peer->running && ivs_qmp_execute(&peer->qmp, NULL, &err, "cont", NULL))
			status = usage_failed("%s is stopped, and cannot be resumed: %s",
					      peer->text, err.text);
	}
	return status;
}

static const char *runs_text(enum migrate_runs runs)
{
	static const char *const texts[] = {
		[RUNS_AS_BEFORE] = "as before",
		[RUNS_SOURCE] = "source",
		[RUNS_DESTINATION] = "destination",
		[RUNS_UNKNOWN] = "unknown",
	};

	return texts[runs];
}

static json_t *problems_json(const struct ivs_migration_problems *problems)
{
	json_t *list = json_array();

	for (unsigned int i = 0; i < problems->n; i++)
		json_array_append_new(list,
				      json_pack("{s:s, s:o}", "name", problems->list[i].name,
						"text", ivs_json_text(problems->list[i].text)));
	return list;
}

static void print_json(const struct state *state, const char *result, enum migrate_runs runs)
{
	const struct ivs_migration_progress *progress = &state->migration.progress;
	json_t *object = json_pack(
		"{s:s, s:s, s:s, s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:i}", "result", result, "runs",
		runs_text(runs), "source", state->settings->qmp, "destination",
		state->settings->to_qmp, "problems", problems_json(&state->problems), "transferred",
		(json_int_t)progress->transferred, "total", (json_int_t)progress->total, "passes",
		(json_int_t)progress->passes, "downtime_ms", (json_int_t)progress->downtime_ms,
		"total_ms", (json_int_t)progress->total_ms, "rung", (int)state->rung_n);

	if (state->settings->plan)
		json_object_set_new(object, "steps",
				    plan_json(&state->source, state->peers_n, state->servers.n != 0,
					      state->replug.way.to, state->settings->uri));
	show_json_print(object);
}

/* The peers keep the region that the source had. Only the operator knows what to do with it. */
static void note_peers(const struct state *state)
{
	bool copied = false;

	for (unsigned int i = 0; i < state->source.facts.devices_n; i++)
		copied |= !state->source.facts.devices[i].replug;
	for (unsigned int i = 0; i < state->peers_n && copied; i++)
		usage_failed("note: %s still has the old region, which the migrated VM no longer "
			     "uses: migrate it, too (with --to-server if it has doorbells), or "
			     "detach its device",
			     state->peers[i].text);
}

static void report(const struct state *state)
{
	const struct ivs_migration_progress *progress = &state->migration.progress;

	note_peers(state);
	if (state->settings->json) {
		print_json(state, "migrated", state->migration.runs);
		return;
	}
	printf("migrated: the destination %s: %s\n",
	       state->source.running ? "is running" : "is paused", state->destination.text);
	printf("%.1f of %.1f MiB sent in %.1f s and %llu passes; downtime %llu ms\n",
	       (double)progress->transferred / (1 << 20), (double)progress->total / (1 << 20),
	       (double)progress->total_ms / 1000, (unsigned long long)progress->passes,
	       (unsigned long long)progress->downtime_ms);
	if (state->rung_n)
		printf("%u doorbells of the VM were rung once, because rings during the migration "
		       "are lost\n",
		       state->rung_n);
	printf("the source is stopped, and can be ended (quit): %s\n", state->source.text);
}

/* Plug what was unplugged into the VM that is running now. */
static int plug_again(struct state *state)
{
	struct side *side = &state->source;

	if (state->migration.runs == RUNS_DESTINATION)
		side = &state->destination;
	if (state->replug.unplugged_n && state->migration.runs == RUNS_UNKNOWN)
		return usage_failed("%u devices are unplugged", state->replug.unplugged_n);
	return replug_plug(&state->replug, &state->source, side);
}

static void report_nothing(const struct state *state)
{
	const struct side *source = &state->source;

	usage_failed("nothing has been migrated. The source %s: %s",
		     side_is_dead(source) ? "has ended"
		     : source->running	  ? "is running"
					  : "is paused, as before",
		     source->text);
}

/* Migrate, with the peers stopped, and without the devices that are plugged in again. */
static int migrate_guarded(struct state *state)
{
	struct migration *migration = &state->migration;
	int status = stop_peers(state);
	int plugged;
	int continued;

	if (!status)
		status = replug_unplug(&state->replug, &state->source, migration->stop_fd);
	if (!status)
		status = migrate_run(migration);
	else
		report_nothing(state);
	plugged = plug_again(state);
	continued = migration->runs == RUNS_UNKNOWN ? leave_peers(state) : continue_peers(state);
	if (status)
		return status;
	state->rung_n = ring_devices(&state->destination, &state->servers,
				     state->settings->control);
	report(state);
	return plugged ? plugged : continued;
}

/* Migrate, and let a signal cancel the migration. A pending signal ends this process afterwards. */
static int migrate_interruptibly(struct state *state)
{
	sigset_t stop;
	sigset_t before;
	int status;

	sigemptyset(&stop);
	signals_add_stop(&stop);
	sigaddset(&stop, SIGPIPE);
	sigaddset(&stop, SIGXFSZ);
	sigprocmask(SIG_BLOCK, &stop, &before);
	sigdelset(&stop, SIGPIPE);
	sigdelset(&stop, SIGXFSZ);
	IVS_OWNED_FD fd = signalfd(-1, &stop, SFD_CLOEXEC | SFD_NONBLOCK);
	state->migration = (struct migration){
		.source = &state->source,
		.destination = &state->destination,
		.uri = state->settings->uri,
		.timeout_ms = (int)state->settings->timeout_s * 1000,
		.stop_fd = fd,
	};
	status = migrate_guarded(state);
	if (status && state->settings->json)
		print_json(state, "failed", state->migration.runs);
	fflush(stdout);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}

static int migrate(struct state *state)
{
	int status = state_open(state);

	if (status)
		return status;
	status = check(state);
	if (status) {
		if (state->settings->json)
			print_json(state, "refused", RUNS_AS_BEFORE);
		return status;
	}
	if (!state->settings->plan)
		return migrate_interruptibly(state);
	if (state->settings->json)
		print_json(state, "planned", RUNS_AS_BEFORE);
	else
		plan_print(&state->source, state->peers_n, state->servers.n != 0,
			   state->replug.way.to, state->settings->uri);
	return 0;
}

static int run_migrate(int argc, char **argv)
{
	static const struct usage usage = {
		.help = help_text,
		.letters = "hV",
		.options = options,
		.take = take,
		.surplus = "only options are expected",
	};
	struct settings settings = {0};
	struct state *state;
	int status = usage_parse(&usage, &settings, argc, argv);

	if (status)
		return status < 0 ? 0 : status;
	status = check_settings(&settings);
	if (status)
		return status;
	state = calloc(1, sizeof(*state));
	if (!state)
		return usage_failed("out of memory");
	state->settings = &settings;
	state->replug.way = (struct doorbell_way){
		.control = settings.control,
		.no_rings = settings.no_rings,
		.to_server = settings.to_server,
	};
	state->source = (struct side)SIDE_INIT("source");
	state->destination = (struct side)SIDE_INIT("destination");
	status = migrate(state);
	state_close(state);
	free(state);
	return status;
}

const struct command command_migrate = {
	.name = "migrate",
	.summary = "migrate a VM with the content of its regions",
	.run = run_migrate,
};
