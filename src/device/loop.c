/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/error.h"
#include "base/fd.h"
#include "daemon/control.h"
#include "daemon/stall.h"
#include "device/private.h"
#include "device/status.h"

IVS_SYSCALLS(ivs_device_loop_syscalls, IVS_CALL_EPOLL_WAIT, {"epoll_ctl"}, {"read"}, {"close"});

#define EVENTS_MAX 64

enum {
	TAG_SIGNAL = DEVICE_TAGS * IVS_DEVICES_MAX,
	TAG_CONTROL, /* the loop of the control socket */
};

/**
 * struct ivs_device_loop - the devices, and what they wait on
 * @signo:   that came; 0: none yet
 * @control: the control socket, or NULL, and its loop, watched with TAG_CONTROL
 */
struct ivs_device_loop {
	struct ivs_device_loop_options opts;
	struct ivs_device *devices[IVS_DEVICES_MAX];
	unsigned int devices_n;
	int epoll_fd;
	int signo;
	struct ivs_control *control;
	struct ivs_loop control_loop;
	bool control_ready;
};

static int watch_signals(struct ivs_device_loop *loop)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = TAG_SIGNAL};

	return epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->opts.signal_fd, &event) ? -errno : 0;
}

static int answer(void *context, const char *line, size_t len, char **text, size_t *text_len)
{
	const struct ivs_device_loop *loop = context;

	return ivs_device_answer(loop->devices, loop->devices_n, line, len, text, text_len);
}

static int watch_control(struct ivs_device_loop *loop, struct ivs_error *err)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u32 = TAG_CONTROL};
	int result = ivs_loop_open(&loop->control_loop);

	if (!result &&
	    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->control_loop.epoll_fd, &event))
		result = -errno;
	return result ? ivs_error_errno(err, -result, "cannot watch the control socket") : 0;
}

static int open_control(struct ivs_device_loop *loop, struct ivs_error *err)
{
	const struct ivs_control_options opts = {
		.listener = &loop->opts.control,
		.loop = &loop->control_loop,
		.answer = answer,
		.context = loop,
	};
	int result;

	tzset(); /* now, because it reads a file */
	if (!loop->opts.control.path)
		return 0;
	result = watch_control(loop, err);
	return result ? result : ivs_control_open(&opts, &loop->control, err);
}

int ivs_device_loop_new(const struct ivs_device_loop_options *opts, struct ivs_device_loop **out,
			struct ivs_error *err)
{
	struct ivs_device_loop *loop = calloc(1, sizeof(*loop));
	int result;

	if (!loop)
		return ivs_error_errno(err, ENOMEM, "cannot serve");
	loop->opts = *opts;
	loop->control_loop.epoll_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	result = loop->epoll_fd < 0 ? -errno : watch_signals(loop);
	ivs_stall_open();
	if (result)
		ivs_error_errno(err, -result, "cannot wait for signals");
	else
		result = open_control(loop, err);
	if (result) {
		ivs_device_loop_free(loop);
		return result;
	}
	*out = loop;
	return 0;
}

int ivs_device_loop_add(struct ivs_device_loop *loop, struct ivs_device *device,
			struct ivs_error *err)
{
	int result;

	if (loop->devices_n == IVS_DEVICES_MAX)
		return ivs_error_errno(err, ENOSPC, "a loop has %d devices at most",
				       IVS_DEVICES_MAX);
	result = ivs_device_start(device, loop->epoll_fd, loop->devices_n * DEVICE_TAGS, err);
	if (!result)
		loop->devices[loop->devices_n++] = device;
	return result;
}

void ivs_device_loop_free(struct ivs_device_loop *loop)
{
	if (!loop)
		return;
	ivs_control_close(loop->control);
	ivs_loop_close(&loop->control_loop);
	ivs_fd_close(&loop->epoll_fd);
	free(loop);
}

static void take_signal(struct ivs_device_loop *loop)
{
	struct signalfd_siginfo info;

	if (read(loop->opts.signal_fd, &info, sizeof(info)) == sizeof(info))
		loop->signo = (int)info.ssi_signo;
}

static void handle(struct ivs_device_loop *loop, const struct epoll_event *event)
{
	const uint32_t tag = event->data.u32;

	if (tag == TAG_SIGNAL)
		take_signal(loop);
	else if (tag == TAG_CONTROL)
		loop->control_ready = true;
	else
		ivs_device_handle(loop->devices[tag / DEVICE_TAGS], tag % DEVICE_TAGS);
}

/* Whether somebody is there, or can still come. */
static bool has_work(const struct ivs_device_loop *loop)
{
	for (unsigned int i = 0; i < loop->devices_n; i++) {
		if (!loop->devices[i]->ended)
			return true;
	}
	return false;
}

static int64_t next_deadline(const struct ivs_device_loop *loop)
{
	int64_t next = ivs_loop_deadline(&loop->control_loop);

	for (unsigned int i = 0; i < loop->devices_n; i++) {
		const int64_t its = ivs_device_deadline(loop->devices[i]);

		if (its < next)
			next = its;
	}
	return next;
}

/* What is due, and then who asks how we are: the VMMs come first. */
static void finish_round(struct ivs_device_loop *loop)
{
	for (unsigned int i = 0; i < loop->devices_n; i++)
		ivs_device_tick(loop->devices[i]);
	if (!loop->control_ready && ivs_clock_left_ms(ivs_loop_deadline(&loop->control_loop)))
		return;
	loop->control_ready = false;
	if (!ivs_loop_wait(&loop->control_loop)) /* returns at once */
		ivs_loop_dispatch(&loop->control_loop);
}

int ivs_device_loop_run(struct ivs_device_loop *loop, int *signo)
{
	struct epoll_event events[EVENTS_MAX];
	int n;

	while (!loop->signo && has_work(loop)) {
		ivs_stall_idle();
		n = epoll_wait(loop->epoll_fd, events, EVENTS_MAX,
			       ivs_clock_left_ms(next_deadline(loop)));
		if (n < 0 && errno == EINTR) /* that of the guard, which has found nothing to do */
			continue;
		if (n < 0)
			return -errno;
		ivs_stall_busy();
		for (int i = 0; i < n; i++)
			handle(loop, &events[i]);
		finish_round(loop);
	}
	*signo = loop->signo;
	return 0;
}
