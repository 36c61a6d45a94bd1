/* SPDX-License-Identifier: BSD-3-Clause */
/* main() of ivshmem-device: opens everything in order, serves VMMs, and cleans up. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>

#include "base/error.h"
#include "base/fd.h"
#include "daemon/closer.h"
#include "daemon/log.h"
#include "daemon/privileges.h"
#include "daemon/service.h"
#include "tools/device/check.h"
#include "tools/device/confine.h"
#include "tools/device/options.h"
#include "tools/device/status.h"
#include "tools/shared/confine_closer.h"
#include "tools/shared/others.h"
#include "tools/shared/pages.h"
#include "tools/shared/usage.h"

#define OWN_FILES 64
#define DEVICE_FILES 64 /* per device, without doorbells and interrupts */

/**
 * struct program - what the program opens
 * @confinement: confinement of the helper processes that close fds
 * @serves: whether the program has begun to serve, so that VMMs may have connected
 */
struct program {
	const struct settings *settings;
	struct closer_confinement confinement;
	struct ivs_service service;
	int signal_fd;
	struct ivs_device *devices[IVS_DEVICES_MAX];
	unsigned int devices_n;
	struct ivs_device_loop *loop;
	bool serves;
};

/* Block signals from the start, so that none ends the program before it has removed its files. */
static int block_signals(struct program *program, struct ivs_error *err)
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGHUP);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	signal(SIGPIPE, SIG_IGN); /* the process that reads our log may exit */
	signal(SIGXFSZ, SIG_IGN); /* report a region beyond "ulimit -f" as an error */
	program->signal_fd = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
	return program->signal_fd < 0 ? ivs_error_errno(err, errno, "cannot create a signalfd") : 0;
}

/*
 * Return: how many doorbells of other peers a device may store. All devices together may use half
 * of the fds for this, so that no server can use up the fds that VMMs of other devices need.
 */
static unsigned int doorbells_limit(const struct settings *settings)
{
	uint64_t own = OWN_FILES + (uint64_t)settings->devices_n * DEVICE_FILES;
	struct rlimit limit;
	uint64_t share = 0;

	if (!getrlimit(RLIMIT_NOFILE, &limit) && limit.rlim_cur > own)
		share = (limit.rlim_cur - own) / 2 / settings->devices_n;
	return share ? (unsigned int)share : 1; /* 0 would mean no limit */
}

/* If there are several devices, add the path of the device's socket to an error message. */
static int add_name(const struct program *program, unsigned int at, int result,
		    struct ivs_error *err)
{
	const char *path = program->settings->devices[at].opts.socket.path;
	struct ivs_error why = *err;

	if (result && program->settings->devices_n > 1 && path)
		ivs_error_set(err, result, "%s: %s", path, why.text);
	return result;
}

static int open_device(struct program *program, unsigned int at, struct ivs_error *err)
{
	struct ivs_device_options opts = program->settings->devices[at].opts;
	int result;

	opts.remote_fds_limit = doorbells_limit(program->settings);
	result = ivs_device_open(&opts, &program->devices[at], err);
	if (!result)
		program->devices_n++;
	return add_name(program, at, result, err);
}

static int open_closer(struct program *program, unsigned int at, struct ivs_error *err)
{
	return ivs_device_open_closer(program->devices[at], confine_closer, &program->confinement,
				      err);
}

static int open_region(struct program *program, unsigned int at, struct ivs_error *err)
{
	int result = ivs_device_open_region(program->devices[at], err);

	if (!result && ivs_device_region(program->devices[at])) {
		warn_of_others(ivs_device_region(program->devices[at]));
		warn_of_ordinary_pages(program->settings->devices[at].opts.region,
				       ivs_device_region(program->devices[at]));
	}
	return add_name(program, at, result, err);
}

static int add_device(struct program *program, unsigned int at, struct ivs_error *err)
{
	return add_name(program, at, ivs_device_loop_add(program->loop, program->devices[at], err),
			err);
}

static int open_devices(struct program *program, struct ivs_error *err)
{
	static int (*const steps[])(struct program *, unsigned int, struct ivs_error *) = {
		open_device, open_closer, open_region, add_device};
	int result = 0;

	for (size_t step = 0; step < sizeof(steps) / sizeof(*steps); step++) {
		for (unsigned int i = 0; i < program->settings->devices_n && !result; i++)
			result = steps[step](program, i, err);
	}
	return result;
}

static int open_all(struct program *program, struct ivs_error *err)
{
	struct ivs_device_loop_options opts = {.control = program->settings->control};
	int result;

	ivs_privileges_raise_files(); /* each doorbell of each peer needs an fd */
	result = block_signals(program, err);
	if (!result)
		result = ivs_service_open(&program->service, err);
	opts.signal_fd = program->signal_fd;
	program->confinement = (struct closer_confinement){
		.user = program->settings->user,
		.filter = program->settings->filter,
	};
	if (!result) /* to close fds that servers and users of the control socket send */
		result = ivs_closer_open(confine_closer, &program->confinement, err);
	if (!result)
		result = ivs_device_loop_new(&opts, &program->loop, err);
	return result ? result : open_devices(program, err);
}

static void close_all(struct program *program)
{
	for (unsigned int i = 0; i < program->devices_n; i++) {
		if (program->serves)
			ivs_device_close(program->devices[i]);
		else
			ivs_device_discard(program->devices[i]);
	}
	ivs_device_loop_free(program->loop);
	ivs_service_close(&program->service);
	ivs_fd_close(&program->signal_fd);
	ivs_closer_close();
}

static int serve_vmms(struct program *program, struct ivs_error *err)
{
	int result = confine(program->settings, err);
	int signo;

	if (result)
		return result;
	program->serves = true;
	for (unsigned int i = 0; i < program->devices_n; i++)
		ivs_log(IVS_LOG_INFO, "%s: waiting for a VMM",
			ivs_device_name(program->devices[i]));
	(void)ivs_service_say(&program->service, "READY=1");
	result = ivs_device_loop_run(program->loop, &signo);
	(void)ivs_service_say(&program->service, "STOPPING=1");
	return result ? ivs_error_errno(err, -result, "cannot wait for VMMs") : 0;
}

static int run_program(struct program *program)
{
	struct ivs_error err = {0};
	int result;

	result = open_all(program, &err);
	if (!result)
		result = serve_vmms(program, &err);
	if (result)
		ivs_log(IVS_LOG_ERROR, "%s", err.text);
	close_all(program);
	return result ? STATUS_FAILED : 0;
}

int main(int argc, char **argv)
{
	static struct settings settings;
	static struct program program = {
		.settings = &settings,
		.service = {.sock_fd = -1},
		.signal_fd = -1,
	};
	int status;

	if (usage_start(PROGRAM))
		return STATUS_FAILED;
	status = parse_arguments(&settings, argc, argv);
	if (!status)
		status = device_check(&settings);
	if (status)
		return status < 0 ? 0 : status;
	ivs_log_init(PROGRAM, settings.verbose);
	return settings.status ? show_status(settings.status, settings.json)
			       : run_program(&program);
}
