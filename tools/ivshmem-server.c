/* SPDX-License-Identifier: BSD-3-Clause */
/* The server as a program: options as QEMU's ivshmem-server has them, long ones beside them. */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/server.h"
#include "util/daemon.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

#define PROGRAM "ivshmem-server"
#define STATUS_FAILED 1
#define STATUS_USAGE 2

/* Defaults of QEMU's server. */
#define DEFAULT_PIDFILE "/var/run/ivshmem-server.pid"
#define DEFAULT_SOCKET "/tmp/ivshmem_socket"
#define DEFAULT_REGION "shm:ivshmem"
#define DEFAULT_SIZE (UINT64_C(4) << 20)
#define DEFAULT_VECTORS 1

struct settings {
	bool foreground;
	bool verbose;
	const char *pidfile;
	const char *socket;
	char region[4096 + sizeof("file:")];
	uint64_t size;
	uint64_t vectors_n;
};

static const char help_text[] =
	"usage: " PROGRAM " [OPTION]...\n"
	"\n"
	"Hands a region of shared memory and doorbells to virtual machines and host processes.\n"
	"\n"
	"  -S, --socket PATH     where to listen (" DEFAULT_SOCKET ")\n"
	"  -l, --size SIZE       bytes of the region, a power of two; K, M, G, T (4M)\n"
	"  -n, --vectors N       doorbells per client, 0 to 2048 (1)\n"
	"  -M, --shm NAME        the region is POSIX shared memory of this name (ivshmem)\n"
	"  -m, --memory DIR      the region is an unnamed file in this directory, such as\n"
	"                        /dev/hugepages; a word that is no directory is taken as by -M\n"
	"  -r, --region ADDRESS  the region is shm:NAME, file:PATH, dir:PATH, memfd: (sealed: no\n"
	"                        client can shrink it), or memfd:2M (the same of huge pages)\n"
	"  -F, --foreground      stay in the foreground\n"
	"  -p, --pidfile PATH    in the background, or if given (" DEFAULT_PIDFILE ")\n"
	"  -v, --verbose         log every client that joins or leaves\n"
	"  -V, --version         print the version and end\n"
	"  -h, --help            print this and end\n"
	"\n"
	"Example: a server for two virtual machines, and one of them\n"
	"  " PROGRAM " -F -v -S /run/ivshmem.sock -r memfd: -l 4M -n 2\n"
	"  qemu-system-x86_64 ... -chardev socket,path=/run/ivshmem.sock,id=iv \\\n"
	"      -device ivshmem-doorbell,chardev=iv,vectors=2\n";

static int usage_error(const char *what, const char *value, const char *fix)
{
	fprintf(stderr, PROGRAM ": %s \"%s\": %s\n", what, value, fix);
	return STATUS_USAGE;
}

/* QEMU's program takes a directory with -m, its documentation a name: an existing directory
 * decides. */
static void set_memory(struct settings *settings, const char *text)
{
	struct stat st;
	bool is_dir = !stat(text, &st) && S_ISDIR(st.st_mode);

	snprintf(settings->region, sizeof(settings->region), "%s:%s", is_dir ? "dir" : "shm", text);
}

/* Return: 0 or an exit status. */
static int take_option(struct settings *settings, int option, const char *value)
{
	switch (option) {
	case 'S':
		settings->socket = value;
		return 0;
	case 'p':
		settings->pidfile = value;
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
		if (!ivs_parse_size(value, &settings->size) || !settings->size)
			return usage_error("no size of a region", value,
					   "use a number with K, M, G or T, such as 4M");
		return 0;
	case 'n':
		if (!ivs_parse_uint(value, 0, IVS_SERVER_VECTORS_MAX, &settings->vectors_n))
			return usage_error("no number of vectors", value, "use 0 to 2048");
		return 0;
	default:
		fprintf(stderr, "Try \"" PROGRAM " --help\".\n");
		return STATUS_USAGE;
	}
}

/* Return: 0; -1 if everything asked for is done; an exit status. */
static int parse_arguments(struct settings *settings, int argc, char **argv)
{
	static const struct option options[] = {
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
		{0},
	};
	int status = 0;
	int option;

	while (!status &&
	       (option = getopt_long(argc, argv, "S:l:n:M:m:r:Fp:vVh", options, NULL)) != -1) {
		if (option == 'h') {
			fputs(help_text, stdout);
			return -1;
		}
		if (option == 'V') {
			puts(PROGRAM " " IVS_VERSION);
			return -1;
		}
		status = take_option(settings, option, optarg);
	}
	if (!status && optind < argc)
		return usage_error("surplus argument", argv[optind],
				   "there are only options, see --help");
	return status;
}

/* From the start, so that none of them leaves behind what has been made by then. */
static void hold_signals(sigset_t *signals)
{
	sigemptyset(signals);
	sigaddset(signals, SIGTERM);
	sigaddset(signals, SIGINT);
	sigaddset(signals, SIGHUP);
	sigprocmask(SIG_BLOCK, signals, NULL);
	signal(SIGPIPE, SIG_IGN); /* whoever read our log may go */
}

static int open_stop_fd(struct ivs_error *err)
{
	sigset_t signals;
	int fd;

	hold_signals(&signals);
	fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? ivs_error_errno(err, errno, "cannot make a signalfd") : fd;
}

/* In /dev/shm, or any directory where others may make files, somebody may have been there first. */
static void warn_of_others(const struct ivs_region *region)
{
	struct stat st;

	if (ivs_region_created(region) || fstat(ivs_region_fd(region), &st))
		return;
	if (st.st_uid && st.st_uid != geteuid())
		ivs_log(IVS_LOG_WARNING,
			"%s was there before and is owned by uid %d, who can read and change all "
			"that is in it",
			ivs_region_path(region), (int)st.st_uid);
	if (st.st_mode & S_IWOTH)
		ivs_log(IVS_LOG_WARNING, "%s was there before and is writable by everybody",
			ivs_region_path(region));
}

static void log_start(const struct settings *settings, const struct ivs_region *region)
{
	char size[IVS_SIZE_TEXT_LEN];

	ivs_size_text(ivs_region_size(region), size);
	ivs_log(IVS_LOG_INFO, "listening at %s: %s of %s, %s, %u vectors", settings->socket,
		settings->region, size, ivs_region_created(region) ? "new" : "existing",
		(unsigned int)settings->vectors_n);
	if (!ivs_region_sealed(region))
		ivs_log(IVS_LOG_INFO,
			"any client can truncate the region, which ends all that use it with "
			"SIGBUS; if you do not trust them, use --region memfd:");
	if (!ivs_region_created(region) && *ivs_region_path(region))
		ivs_log(IVS_LOG_INFO, "%s was there before and will be left there",
			ivs_region_path(region));
}

/* From here on in the child, if there is one. Return: an exit status. */
static int serve(const struct settings *settings, struct ivs_server *server,
		 const struct ivs_region *region, int *ready_fd, struct ivs_pidfile *pidfile)
{
	struct ivs_error err = {0};
	IVS_OWNED_FD stop_fd = open_stop_fd(&err);
	int result = stop_fd < 0 ? stop_fd : 0;

	if (!result && pidfile->fd >= 0)
		result = ivs_pidfile_write(pidfile, &err);
	log_start(settings, region);
	warn_of_others(region);
	if (!result && *ready_fd >= 0) {
		result = ivs_daemon_ready(ready_fd, &err);
		ivs_log_to_syslog();
	}
	if (!result) {
		result = ivs_server_run(server, stop_fd);
		if (result)
			ivs_error_errno(&err, -result, "cannot wait for clients");
	}
	if (result)
		ivs_log(IVS_LOG_ERROR, "%s", err.text);
	return result ? STATUS_FAILED : 0;
}

/* The server and its pidfile exist: go into the background and serve. */
static int detach_and_serve(const struct settings *settings, struct ivs_server *server,
			    struct ivs_region *region, struct ivs_pidfile *pidfile, bool *parent)
{
	struct ivs_error err = {0};
	int ready_fd = -1;
	int result;

	if (!settings->foreground) {
		result = ivs_daemon_fork(&ready_fd, parent, &err);
		if (result < 0)
			ivs_log(IVS_LOG_ERROR, "%s", err.text);
		if (result || *parent)
			return result ? STATUS_FAILED : 0;
	}
	return serve(settings, server, region, &ready_fd, pidfile);
}

static int run(const struct settings *settings)
{
	struct ivs_region_options region_opts = IVS_REGION_OPTIONS_INIT;
	struct ivs_pidfile pidfile = {.fd = -1};
	struct ivs_server_options opts = {
		.socket_path = settings->socket,
		.vectors_n = (unsigned int)settings->vectors_n,
	};
	struct ivs_server *server = NULL;
	struct ivs_region *region = NULL;
	struct ivs_error err = {0};
	bool parent = false;
	int status = STATUS_FAILED;
	int result = 0;
	sigset_t signals;

	hold_signals(&signals);
	region_opts.size = settings->size;
	if (settings->pidfile)
		result = ivs_pidfile_open(&pidfile, settings->pidfile, &err);
	if (!result)
		result = ivs_region_open(settings->region, &region_opts, &region, &err);
	if (!result) {
		opts.region = region;
		result = ivs_server_new(&opts, &server, &err);
	}
	if (result)
		ivs_log(IVS_LOG_ERROR, "%s", err.text);
	else
		status = detach_and_serve(settings, server, region, &pidfile, &parent);
	if (parent && !status)
		_exit(0); /* everything belongs to the child now, so nothing is tidied up */

	ivs_server_free(server);
	if (region && ivs_region_remove(region))
		ivs_log(IVS_LOG_WARNING, "cannot remove %s", ivs_region_path(region));
	ivs_region_close(region);
	ivs_pidfile_close(&pidfile);
	return status;
}

int main(int argc, char **argv)
{
	struct settings settings = {
		.socket = DEFAULT_SOCKET,
		.region = DEFAULT_REGION,
		.size = DEFAULT_SIZE,
		.vectors_n = DEFAULT_VECTORS,
	};
	int status;

	if (ivs_fd_fill_standard())
		return STATUS_FAILED;
	status = parse_arguments(&settings, argc, argv);
	if (status)
		return status < 0 ? 0 : status;
	if (!settings.foreground && !settings.pidfile)
		settings.pidfile = DEFAULT_PIDFILE;
	ivs_log_init(PROGRAM, settings.verbose);
	return run(&settings);
}
