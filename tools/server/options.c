/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/server/options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/parse.h"
#include "daemon/privileges.h"
#include "daemon/sandbox.h"
#include "roster_page/format.h"
#include "tools/shared/owners.h"
#include "tools/shared/usage.h"

/* Defaults of QEMU's server. */
#define DEFAULT_PIDFILE "/var/run/ivshmem-server.pid"
#define DEFAULT_SOCKET "/tmp/ivshmem_socket"
#define DEFAULT_REGION "shm:ivshmem"
#define DEFAULT_SIZE (UINT64_C(4) << 20)
#define DEFAULT_VECTORS 1
#define DEFAULT_JOINS 6000 /* per minute */
/* The mode of the server's socket follows the umask, as with QEMU's server. */
#define DEFAULT_CONTROL_MODE 0600
#define DEFAULT_METRICS_INTERVAL_MS 15000

/* Options without a short form. */
enum {
	OPTION_REGION_MODE = 256,
	OPTION_REGION_OWNER,
	OPTION_REGION_GROUP,
	OPTION_SOCKET_MODE,
	OPTION_SOCKET_OWNER,
	OPTION_SOCKET_GROUP,
	OPTION_ALLOW_USER,
	OPTION_ALLOW_GROUP,
	OPTION_MAX_PEERS,
	OPTION_MAX_PEERS_PER_USER,
	OPTION_MAX_JOINS_PER_USER,
	OPTION_KEEP_ID_0,
	OPTION_USER,
	OPTION_CHROOT,
	OPTION_SANDBOX,
	OPTION_CONTROL,
	OPTION_CONTROL_MODE,
	OPTION_CONTROL_OWNER,
	OPTION_CONTROL_GROUP,
	OPTION_METRICS,
	OPTION_METRICS_INTERVAL,
	OPTION_STATUS,
	OPTION_JSON,
	OPTION_ROSTER,
	OPTION_ROSTER_PEERS,
};

static const char help_text[] =
	"usage: " PROGRAM " [OPTION]...\n"
	"       " PROGRAM " --status PATH [--json]\n"
	"\n"
	"Serves a region of shared memory and doorbells to virtual machines and host processes.\n"
	"\n"
	"  -S, --socket PATH     where to listen (" DEFAULT_SOCKET ")\n"
	"  -l, --size SIZE       size of the region, a power of two; K, M, G, T (4M)\n"
	"  -n, --vectors N       doorbells per client, 0 to 2048 (1)\n"
	"  -M, --shm NAME        the region is POSIX shared memory of this name (ivshmem)\n"
	"  -m, --memory DIR      the region is an unnamed file in this directory, such as\n"
	"                        /dev/hugepages; a word without a slash that is not a\n"
	"                        directory: the same as -M\n"
	"  -r, --region ADDRESS  the region is shm:NAME, file:PATH, dir:PATH, memfd: (sealed, for\n"
	"                        clients that you do not trust), or memfd:2M (of huge pages)\n"
	"      --region-mode MODE, --region-owner USER, --region-group GROUP\n"
	"                        of a new region (0600, user and group of the process)\n"
	"      --socket-mode MODE, --socket-owner USER, --socket-group GROUP\n"
	"                        of the socket: write permission allows connecting\n"
	"      --allow-user USER, --allow-group GROUP\n"
	"                        admit only these; may be given several times\n"
	"      --max-peers N     clients at a time (as many as there are ids, 65536)\n"
	"      --max-peers-per-user N\n"
	"                        clients of the same user at a time (no limit)\n"
	"      --max-joins-per-user N\n"
	"                        joins per minute of clients of the same user (6000; 0: no limit)\n"
	"      --keep-id-0 USER  give id 0, which a migration master needs, only to QEMUs of this\n"
	"                        user, even if other clients are connected before\n"
	"      --user USER       become this user before serving clients (as root)\n"
	"      --chroot DIR      make this directory the root before serving (as root)\n"
	"      --sandbox KIND    on: kill the server on any system call that it does not need "
	"(on);\n"
	"                        strict: do not permit upgrades (SIGUSR2) either; off\n"
	"      --control PATH    a socket that reports the status of the server\n"
	"      --control-mode MODE, --control-owner USER, --control-group GROUP\n"
	"                        of this socket (0600, user and group of the process)\n"
	"      --metrics PATH    maintain a file for Prometheus; node_exporter requires *.prom\n"
	"      --metrics-interval SECONDS\n"
	"                        how often to update it (15)\n"
	"      --status PATH     show the status of the server with this control socket, and exit\n"
	"      --json            with --status: print the reply as is, in JSON\n"
	"      --roster          publish the connected peers at the end of the region, which is\n"
	"                        reserved for this: the only way for guests to see joins and "
	"leaves\n"
	"      --roster-peers N  the same, with room for N peers (252)\n"
	"  -F, --foreground      stay in the foreground\n"
	"  -p, --pidfile PATH    file for the process id (" DEFAULT_PIDFILE ",\n"
	"                        with -F none)\n"
	"  -v, --verbose         log each client that joins or leaves\n"
	"  -V, --version         print the version and exit\n"
	"  -h, --help            print this help and exit\n"
	"\n"
	"Example: a server, and a virtual machine that uses it\n"
	"  " PROGRAM " -F -v -S /run/ivshmem.sock -r memfd: -l 4M -n 2\n"
	"  qemu-system-x86_64 ... -chardev socket,path=/run/ivshmem.sock,id=iv \\\n"
	"      -device ivshmem-doorbell,chardev=iv,vectors=2\n";

/*
 * QEMU's server takes a directory for -m, although QEMU's manual says that it takes a name: accept
 * both. A word with a slash is a directory, even if it does not exist.
 */
static void set_memory(struct settings *settings, const char *text)
{
	struct stat st;
	bool is_dir = strchr(text, '/') || (!stat(text, &st) && S_ISDIR(st.st_mode));

	snprintf(settings->region, sizeof(settings->region), "%s:%s", is_dir ? "dir" : "shm", text);
}

static int bad_count(const char *value)
{
	return usage_error("invalid number of clients", value, "use 1 to 65536");
}

static int take_interval(struct settings *settings, const char *value)
{
	uint64_t seconds;

	if (!ivs_parse_uint(value, 1, 3600, &seconds))
		return usage_error("invalid interval", value, "use 1 to 3600 seconds");
	settings->server_opts.metrics_interval_ms = (unsigned int)seconds * 1000;
	return 0;
}

static bool parse_count(const char *text, unsigned int *out)
{
	uint64_t n = 0;
	bool good = ivs_parse_uint(text, 1, 65536, &n);

	*out = (unsigned int)n;
	return good;
}

/* Handle an option for the roster page. Return: 0 or an exit status. */
static int take_roster_option(struct settings *settings, int option, const char *value)
{
	unsigned int *peers = &settings->server_opts.roster_peers;

	if (option == OPTION_ROSTER_PEERS)
		return parse_count(value, peers) ? 0 : bad_count(value);
	if (!*peers)
		*peers = IVS_ROSTER_PAGE_ENTRIES_DEFAULT;
	return 0;
}

static int take_joins(const char *value, unsigned int *out)
{
	uint64_t n;

	if (!ivs_parse_uint(value, 0, 1000000, &n))
		return usage_error("invalid number of joins", value, "use 0 to 1000000");
	*out = (unsigned int)n;
	return 0;
}

static int allow_user(struct ivs_admission *admission, const char *value)
{
	if (admission->users_n == IVS_ADMISSION_NAMES_MAX)
		return usage_error("too many users, at", value, "name a group instead");
	return take_user(value, &admission->users[admission->users_n++]);
}

static int allow_group(struct ivs_admission *admission, const char *value)
{
	if (admission->groups_n == IVS_ADMISSION_NAMES_MAX)
		return usage_error("too many groups, at", value, "create one group for all");
	return take_group(value, &admission->groups[admission->groups_n++]);
}

/* Handle an option for the control socket or metrics. Return: 0 or an exit status. */
static int take_outside_option(struct settings *settings, int option, const char *value)
{
	struct ivs_listener_options *control = &settings->server_opts.control;

	switch (option) {
	case OPTION_CONTROL:
		control->path = value;
		return 0;
	case OPTION_CONTROL_MODE:
		return take_mode(value, &control->mode);
	case OPTION_CONTROL_OWNER:
		return take_user(value, &control->uid);
	case OPTION_CONTROL_GROUP:
		return take_group(value, &control->gid);
	case OPTION_METRICS:
		settings->server_opts.metrics = value;
		return 0;
	case OPTION_METRICS_INTERVAL:
		return take_interval(settings, value);
	case OPTION_STATUS:
		settings->status = value;
		return 0;
	case OPTION_JSON:
		settings->json = true;
		return 0;
	default:
		fprintf(stderr, "Try \"" PROGRAM " --help\".\n");
		return STATUS_USAGE;
	}
}

static int take_own_user(struct settings *settings, const char *value)
{
	struct ivs_error err;
	uid_t uid;

	if (ivs_privileges_find_user(value, &uid, &err)) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		return STATUS_USAGE;
	}
	settings->user = value;
	settings->uid = uid;
	return 0;
}

static int take_root(struct settings *settings, const char *value)
{
	struct stat st;

	if (!realpath(value, settings->root))
		return usage_error(errno == ENOENT ? "no such directory" : "cannot enter", value,
				   errno == ENOENT ? "create it" : strerrordesc_np(errno));
	if (stat(settings->root, &st) || !S_ISDIR(st.st_mode))
		return usage_error("not a directory", value, "use another path");
	return 0;
}

static int take_sandbox(struct settings *settings, const char *value)
{
	if (!strcmp(value, "on"))
		settings->sandbox = SANDBOX_ON;
	else if (!strcmp(value, "strict"))
		settings->sandbox = SANDBOX_STRICT;
	else if (!strcmp(value, "off"))
		settings->sandbox = SANDBOX_OFF;
	else
		return usage_error("invalid kind of sandbox", value, "use on, strict or off");
	if (settings->sandbox != SANDBOX_OFF && ivs_sandbox_lacks())
		return usage_error("cannot set the sandbox to", value, ivs_sandbox_lacks());
	return 0;
}

/* Handle an option that confines the server. Return: 0 or an exit status. */
static int take_isolation_option(struct settings *settings, int option, const char *value)
{
	switch (option) {
	case OPTION_USER:
		return take_own_user(settings, value);
	case OPTION_CHROOT:
		return take_root(settings, value);
	case OPTION_SANDBOX:
		return take_sandbox(settings, value);
	default:
		return take_outside_option(settings, option, value);
	}
}

/*
 * Handle an option for permissions, admission or the roster page.
 * Return: 0 or an exit status.
 */
static int take_access_option(struct settings *settings, int option, const char *value)
{
	struct ivs_admission *admission = &settings->server_opts.admission;
	struct ivs_listener_options *sock = &settings->server_opts.socket;
	struct ivs_region_options *region = &settings->region_opts;

	switch (option) {
	case OPTION_REGION_MODE:
		return take_mode(value, &region->mode);
	case OPTION_REGION_OWNER:
		return take_user(value, &region->uid);
	case OPTION_REGION_GROUP:
		return take_group(value, &region->gid);
	case OPTION_SOCKET_MODE:
		return take_mode(value, &sock->mode);
	case OPTION_SOCKET_OWNER:
		return take_user(value, &sock->uid);
	case OPTION_SOCKET_GROUP:
		return take_group(value, &sock->gid);
	case OPTION_ALLOW_USER:
		return allow_user(admission, value);
	case OPTION_ALLOW_GROUP:
		return allow_group(admission, value);
	case OPTION_MAX_PEERS:
		return parse_count(value, &admission->peers_max) ? 0 : bad_count(value);
	case OPTION_MAX_PEERS_PER_USER:
		return parse_count(value, &admission->user_peers_max) ? 0 : bad_count(value);
	case OPTION_MAX_JOINS_PER_USER:
		return take_joins(value, &admission->user_joins_max);
	case OPTION_KEEP_ID_0:
		admission->keeps_first = true;
		return take_user(value, &admission->first_user);
	case OPTION_ROSTER:
	case OPTION_ROSTER_PEERS:
		return take_roster_option(settings, option, value);
	default:
		return take_isolation_option(settings, option, value);
	}
}

/* Return: 0 or an exit status. */
static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;
	uint64_t number;

	switch (option) {
	case 'S':
		settings->server_opts.socket.path = value;
		return 0;
	case 'p':
		settings->pidfile = value;
		settings->pidfile_wanted = true;
		return 0;
	case 'F':
		settings->foreground = true;
		return 0;
	case 'v':
		settings->verbose = true;
		return 0;
	case 'M':
		snprintf(settings->region, sizeof(settings->region), "shm:%s", value);
		return 0;
	case 'm':
		set_memory(settings, value);
		return 0;
	case 'r':
		snprintf(settings->region, sizeof(settings->region), "%s", value);
		return 0;
	case 'l':
		if (!ivs_parse_size(value, &settings->region_opts.size) ||
		    !settings->region_opts.size)
			return usage_error("invalid size of the region", value,
					   "use a number with K, M, G or T, such as 4M");
		return 0;
	case 'n':
		if (!ivs_parse_uint(value, 0, IVS_MSIX_VECTORS_MAX, &number))
			return usage_error("invalid number of vectors", value, "use 0 to 2048");
		settings->server_opts.vectors_n = (unsigned int)number;
		return 0;
	default:
		return take_access_option(settings, option, value);
	}
}

static void set_defaults(struct settings *settings)
{
	*settings = (struct settings){
		.region = DEFAULT_REGION,
		.region_opts = IVS_REGION_OPTIONS_INIT,
		.server_opts =
			{
				.socket = {DEFAULT_SOCKET, 0, (uid_t)-1, (gid_t)-1},
				.control = {NULL, DEFAULT_CONTROL_MODE, (uid_t)-1, (gid_t)-1},
				.metrics_interval_ms = DEFAULT_METRICS_INTERVAL_MS,
				.vectors_n = DEFAULT_VECTORS,
			},
	};
	settings->server_opts.admission.user_joins_max = DEFAULT_JOINS;
	settings->region_opts.size = DEFAULT_SIZE;
}

/* Only the owner can remove files from a sticky directory, so make the new user the owner. */
static void set_owners(struct settings *settings)
{
	if (settings->region_opts.uid == IVS_REGION_KEEP_ID)
		settings->region_opts.uid = settings->uid;
	if (settings->server_opts.socket.uid == (uid_t)-1)
		settings->server_opts.socket.uid = settings->uid;
	if (settings->server_opts.control.uid == (uid_t)-1)
		settings->server_opts.control.uid = settings->uid;
}

static const struct option long_options[] = {
	{"socket", required_argument, NULL, 'S'},
	{"size", required_argument, NULL, 'l'},
	{"vectors", required_argument, NULL, 'n'},
	{"shm", required_argument, NULL, 'M'},
	{"memory", required_argument, NULL, 'm'},
	{"region", required_argument, NULL, 'r'},
	{"foreground", no_argument, NULL, 'F'},
	{"pidfile", required_argument, NULL, 'p'},
	{"verbose", no_argument, NULL, 'v'},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{"region-mode", required_argument, NULL, OPTION_REGION_MODE},
	{"region-owner", required_argument, NULL, OPTION_REGION_OWNER},
	{"region-group", required_argument, NULL, OPTION_REGION_GROUP},
	{"socket-mode", required_argument, NULL, OPTION_SOCKET_MODE},
	{"socket-owner", required_argument, NULL, OPTION_SOCKET_OWNER},
	{"socket-group", required_argument, NULL, OPTION_SOCKET_GROUP},
	{"allow-user", required_argument, NULL, OPTION_ALLOW_USER},
	{"allow-group", required_argument, NULL, OPTION_ALLOW_GROUP},
	{"max-peers", required_argument, NULL, OPTION_MAX_PEERS},
	{"max-peers-per-user", required_argument, NULL, OPTION_MAX_PEERS_PER_USER},
	{"max-joins-per-user", required_argument, NULL, OPTION_MAX_JOINS_PER_USER},
	{"keep-id-0", required_argument, NULL, OPTION_KEEP_ID_0},
	{"roster", no_argument, NULL, OPTION_ROSTER},
	{"roster-peers", required_argument, NULL, OPTION_ROSTER_PEERS},
	{"user", required_argument, NULL, OPTION_USER},
	{"chroot", required_argument, NULL, OPTION_CHROOT},
	{"sandbox", required_argument, NULL, OPTION_SANDBOX},
	{"control", required_argument, NULL, OPTION_CONTROL},
	{"control-mode", required_argument, NULL, OPTION_CONTROL_MODE},
	{"control-owner", required_argument, NULL, OPTION_CONTROL_OWNER},
	{"control-group", required_argument, NULL, OPTION_CONTROL_GROUP},
	{"metrics", required_argument, NULL, OPTION_METRICS},
	{"metrics-interval", required_argument, NULL, OPTION_METRICS_INTERVAL},
	{"status", required_argument, NULL, OPTION_STATUS},
	{"json", no_argument, NULL, OPTION_JSON},
	{0},
};

int parse_arguments(struct settings *settings, int argc, char **argv)
{
	static const struct usage usage = {help_text, "S:l:n:M:m:r:Fp:vVh", long_options,
					   take_option, "use options only, see --help"};
	int status;

	set_defaults(settings);
	status = usage_parse(&usage, settings, argc, argv);
	if (!status && settings->json && !settings->status)
		return usage_error("option without --status", "--json",
				   "use it with --status PATH");
	if (!status && !settings->foreground && !settings->pidfile)
		settings->pidfile = DEFAULT_PIDFILE;
	if (!status && settings->user)
		set_owners(settings);
	return status;
}
