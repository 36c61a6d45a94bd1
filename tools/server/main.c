/* SPDX-License-Identifier: BSD-3-Clause */
/* main() of ivshmem-server: opens everything in order, serves clients, and cleans up. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/parse.h"
#include "daemon/background.h"
#include "daemon/closer.h"
#include "daemon/log.h"
#include "daemon/stall.h"
#include "server/server.h"
#include "tools/server/confine.h"
#include "tools/server/options.h"
#include "tools/server/status.h"
#include "tools/server/upgrade.h"
#include "tools/shared/confine_closer.h"
#include "tools/shared/others.h"
#include "tools/shared/pages.h"
#include "tools/shared/usage.h"

static sigset_t our_signals(void)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGUSR2);
	sigaddset(&signals, SIGCHLD);
	return signals;
}

/* Block signals from the start, so that none ends the program before it has removed its files. */
static void hold_signals(void)
{
	const sigset_t signals = our_signals();

	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN); /* the process that reads our log may exit */
	signal(SIGXFSZ, SIG_IGN); /* report a region beyond "ulimit -f" as an error */
	ivs_stall_open();	  /* closing fds of clients must not block */
}

static int open_signal_fd(struct ivs_error *err)
{
	const sigset_t signals = our_signals();
	int fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);

	return fd < 0 ? ivs_error_errno(err, errno, "cannot create a signalfd") : fd;
}

static void log_start(const struct settings *settings, const struct ivs_server *server,
		      const struct ivs_region *region)
{
	char size[IVS_SIZE_TEXT_LEN];

	ivs_size_text(ivs_region_size(region), size);
	ivs_log(IVS_LOG_INFO, "listening at %s: %s of %s, %s, %u vectors", ivs_server_path(server),
		settings->region, size, ivs_region_created(region) ? "new" : "existing",
		settings->server_opts.vectors_n);
	if (settings->server_opts.roster_peers)
		ivs_log(IVS_LOG_INFO, "the end of the region lists up to %u connected peers",
			settings->server_opts.roster_peers);
	if (!ivs_region_sealed(region))
		ivs_log(IVS_LOG_INFO,
			"any client can truncate the region, which kills all processes that use "
			"it (SIGBUS); if you do not trust the clients, use --region memfd:");
	else if (ivs_region_page_size(region) > (uint64_t)sysconf(_SC_PAGESIZE))
		ivs_log(IVS_LOG_INFO,
			"any client can take huge pages out of the region, which kills all "
			"processes that use it (SIGBUS) if no huge page is free; if you do not "
			"trust the clients, use --region memfd:");
	if (!ivs_region_created(region) && *ivs_region_path(region))
		ivs_log(IVS_LOG_INFO, "%s existed before and will not be removed",
			ivs_region_path(region));
}

/**
 * struct program - what the program opens, in this order
 * @names: paths of the server's files
 */
struct program {
	const struct settings *settings;
	struct names names;
	struct upgrade upgrade;
	struct ivs_handover handover;
	struct ivs_pidfile pidfile;
	struct ivs_region *region;
	struct ivs_server *server;
};

/* Serve until a signal ends the program. Return: 0 or -errno. */
static int serve_until_end(struct program *program)
{
	int signo;
	int result;

	for (;;) {
		result = ivs_server_run(program->server, &signo);
		if (result)
			return result;
		if (signo == SIGUSR2)
			upgrade_try(&program->upgrade, program->settings, &program->handover);
		else if (signo != SIGCHLD)
			return 0;
		else if (upgrade_may_go(&program->upgrade))
			upgrade_go(&program->upgrade, program->server, &program->pidfile);
	}
}

/* Once everything is open, write the pidfile, confine the process, and report readiness. */
static int finish_start(struct program *program, struct ivs_background *daemon,
			struct ivs_error *err)
{
	int result = 0;

	if (program->pidfile.fd >= 0 && !program->handover.in_place)
		result = ivs_pidfile_write(&program->pidfile, err);
	warn_of_others(program->region);
	warn_of_ordinary_pages(program->names.region, program->region);
	if (daemon->ready_fd >= 0)
		ivs_log_open_syslog();
	if (!result)
		ivs_server_start(program->server);
	if (!result)
		result = confine(program->settings, &program->names, program->region,
				 &program->handover, err);
	if (result)
		return result;
	log_start(program->settings, program->server, program->region);
	if (daemon->ready_fd >= 0) {
		result = ivs_background_ready(daemon, err);
		if (!result)
			ivs_log_to_syslog();
	}
	return result;
}

/* Serve clients, either in the foreground or in a background child. Return: an exit status. */
static int serve_clients(struct program *program, struct ivs_background *daemon)
{
	struct ivs_error err = {0};
	IVS_OWNED_FD signal_fd = open_signal_fd(&err);
	int result = signal_fd < 0 ? signal_fd : 0;

	if (!result)
		result = ivs_server_watch_signals(program->server, signal_fd, &err);
	if (!result)
		result = finish_start(program, daemon, &err);
	if (!result) {
		result = serve_until_end(program); /* reports READY=1 */
		(void)ivs_service_say(&program->handover.service, "STOPPING=1");
		if (result)
			ivs_error_errno(&err, -result, "cannot wait for clients");
	}
	if (result)
		ivs_log(IVS_LOG_ERROR, "%s", err.text);
	return result ? STATUS_FAILED : 0;
}

/* Become a daemon unless --foreground is given, and serve clients. */
static int detach_and_serve(struct program *program, bool *parent)
{
	struct ivs_background daemon = IVS_BACKGROUND_INIT;
	struct ivs_error err = {0};
	int result;

	if (!program->settings->foreground && !program->handover.in_place) {
		result = ivs_background_fork(&daemon, parent, &err);
		if (result < 0)
			ivs_log(IVS_LOG_ERROR, "%s", err.text);
		if (result || *parent)
			return result ? STATUS_FAILED : 0;
	}
	return serve_clients(program, &daemon);
}

static int open_pidfile(struct program *program, struct ivs_error *err)
{
	const char *path = program->names.pidfile;
	int fd = ivs_inherited_take(&program->handover.inherited, PIDFILE_FD_NAME);
	struct ivs_error why;
	int result;

	if (fd >= 0 && path)
		ivs_pidfile_adopt(&program->pidfile, fd, path);
	if (fd >= 0 || !path)
		return 0;
	result = ivs_pidfile_open(&program->pidfile, path, &why);
	if (result)
		ivs_error_set(err, result, "%s%s", why.text,
			      program->settings->pidfile_wanted
				      ? ""
				      : ", or stay in the foreground (-F)");
	return result;
}

/*
 * Start the helper processes before a client's fd may have to be closed. After an upgrade they
 * already exist.
 */
static int open_closer(struct program *program, struct ivs_error *err)
{
	const struct settings *settings = program->settings;
	const struct closer_confinement confinement = {
		.root = *settings->root ? settings->root : NULL,
		.user = settings->user,
		.filter = settings->sandbox != SANDBOX_OFF,
	};
	int fd = ivs_handover_take_closer(&program->handover);

	if (fd < 0 && !program->handover.in_place)
		return ivs_closer_open(confine_closer, &confinement, err);
	ivs_closer_adopt(fd);
	return 0;
}

static int open_all(struct program *program, int list_fd, struct ivs_error *err)
{
	const struct settings *settings = program->settings;
	struct ivs_server_options opts = settings->server_opts;
	int result;

	result = enter_root(settings, &program->names, err);
	if (!result)
		result = ivs_handover_open(&program->handover, list_fd, err);
	if (!result)
		result = open_pidfile(program, err);
	if (!result)
		result = ivs_handover_open_region(&program->handover, program->names.region,
						  &settings->region_opts, &program->region, err);
	if (!result)
		result = open_closer(program, err);
	if (result)
		return result;
	opts.region = program->region;
	opts.region_address = settings->region;
	opts.handover = &program->handover;
	opts.socket.path = program->names.socket;
	opts.control.path = program->names.control;
	opts.metrics = program->names.metrics;
	return ivs_server_new(&opts, &program->server, err);
}

/*
 * If the service manager has copies of the fds, the next start resumes from them, so leave the
 * files that it needs in place. A first start that has failed leaves nothing behind.
 */
static void close_all(struct program *program)
{
	bool resumable = ivs_service_exists(&program->handover.service) &&
			 (program->server || program->handover.resumed);

	if (resumable)
		ivs_server_keep_socket_file(program->server);
	else
		ivs_handover_forget_own(&program->handover);
	ivs_server_free(program->server);
	if (!resumable && program->region && ivs_region_remove(program->region))
		ivs_log(IVS_LOG_WARNING, "cannot remove %s", ivs_region_path(program->region));
	ivs_region_close(program->region);
	ivs_pidfile_close(&program->pidfile);
	ivs_handover_close(&program->handover);
	ivs_closer_close();
}

/* After an upgrade, and in a trial, log to syslog if the running server is a daemon. */
static void log_as_before(const struct settings *settings)
{
	if (settings->foreground)
		return;
	ivs_log_open_syslog();
	ivs_log_to_syslog();
}

static int run_program(struct program *program)
{
	struct ivs_error err = {0};
	int list_fd = upgrade_list_fd();
	bool parent = false;
	int status = STATUS_FAILED;

	hold_signals();
	if (list_fd >= 0)
		log_as_before(program->settings);
	if (open_all(program, list_fd, &err))
		ivs_log(IVS_LOG_ERROR, "%s", err.text);
	else
		status = detach_and_serve(program, &parent);
	if (parent && !status)
		_exit(0); /* everything belongs to the child now, so nothing is cleaned up */
	close_all(program);
	return status;
}

/* In a child of a running server: check that this program could replace the server. */
static int run_trial(const struct settings *settings, int fd)
{
	struct ivs_handover_notes notes;
	struct ivs_error err = {0};

	log_as_before(settings);
	if (!ivs_handover_read_notes(fd, &notes, &err) &&
	    !confine_suffices(settings, notes.filter, &err))
		return UPGRADE_FITS;
	ivs_log(IVS_LOG_ERROR, "%s", err.text);
	return STATUS_FAILED;
}

int main(int argc, char **argv)
{
	static struct settings settings;
	static struct program program = {
		.settings = &settings,
		.handover = IVS_HANDOVER_INIT,
		.pidfile = {.fd = -1, .write_fd = -1},
	};
	int status;
	int fd;

	if (usage_start(PROGRAM))
		return STATUS_FAILED;
	upgrade_init(&program.upgrade, argv);
	status = parse_arguments(&settings, argc, argv);
	if (status)
		return status < 0 ? 0 : status;
	ivs_log_init(PROGRAM, settings.verbose);
	if (upgrade_is_trial(&fd))
		return run_trial(&settings, fd);
	return settings.status ? show_status(settings.status, settings.json)
			       : run_program(&program);
}
