/* SPDX-License-Identifier: BSD-3-Clause */
/* The server as a program: what it makes, in which order, and that it all goes away again. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "server/server.h"
#include "server_options.h"
#include "util/daemon.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"

static sigset_t stop_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	return signals;
}

/* From the start, so that none of them leaves behind what has been made by then. */
static void hold_signals(void)
{
	const sigset_t signals = stop_signals();

	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN); /* whoever read our log may go */
}

static int open_signal_fd(struct ivs_error *err)
{
	const sigset_t signals = stop_signals();
	int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);

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
	ivs_log(IVS_LOG_INFO, "listening at %s: %s of %s, %s, %u vectors",
		settings->server_opts.socket.path, settings->region, size,
		ivs_region_created(region) ? "new" : "existing", settings->server_opts.vectors_n);
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
	IVS_OWNED_FD signal_fd = open_signal_fd(&err);
	int result = signal_fd < 0 ? signal_fd : 0;
	int signo;

	if (!result && pidfile->fd >= 0)
		result = ivs_pidfile_write(pidfile, &err);
	log_start(settings, region);
	warn_of_others(region);
	if (!result && *ready_fd >= 0) {
		result = ivs_daemon_ready(ready_fd, &err);
		ivs_log_to_syslog();
	}
	if (!result) {
		result = ivs_server_run(server, signal_fd, &signo);
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
	struct ivs_server_options opts = settings->server_opts;
	struct ivs_pidfile pidfile = {.fd = -1};
	struct ivs_server *server = NULL;
	struct ivs_region *region = NULL;
	struct ivs_error err = {0};
	bool parent = false;
	int status = STATUS_FAILED;
	int result = 0;

	hold_signals();
	if (settings->pidfile)
		result = ivs_pidfile_open(&pidfile, settings->pidfile, &err);
	if (!result)
		result = ivs_region_open(settings->region, &settings->region_opts, &region, &err);
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
	static struct settings settings;
	int status;

	if (ivs_fd_fill_standard())
		return STATUS_FAILED;
	status = parse_arguments(&settings, argc, argv);
	if (status)
		return status < 0 ? 0 : status;
	ivs_log_init(PROGRAM, settings.verbose);
	return run(&settings);
}
