/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>

#include "base/error.h"
#include "base/fd.h"
#include "daemon/closer.h"
#include "daemon/control.h"
#include "daemon/stall.h"
#include "device/private.h"
#include "device/status.h"

IVS_SYSCALLS(ivs_device_loop_syscalls, {"read"});

#define KEPT_RETRY_MS 1000

/**
 * struct ivs_device_loop - the event loop and its devices
 * @signal_source: watches opts.signal_fd
 * @signo:         the signal that arrived; 0: none yet
 * @control:       the control socket, or NULL
 * @closer_step:   sets @closer_timer while fds are waiting for the helper processes of the program
 */
struct ivs_device_loop {
	struct ivs_device_loop_options opts;
	struct ivs_loop loop;
	struct ivs_device *devices[IVS_DEVICES_MAX];
	unsigned int devices_n;
	struct ivs_loop_source signal_source;
	int signo;
	struct ivs_control *control;
	struct ivs_loop_step closer_step;
	struct ivs_loop_timer closer_timer;
};

static void retry_closing(struct ivs_loop_step *step)
{
	struct ivs_device_loop *loop = IVS_CONTAINER_OF(step, struct ivs_device_loop, closer_step);

	if (ivs_closer_kept_n() && !ivs_loop_timer_is_set(&loop->closer_timer))
		ivs_loop_set_timer(&loop->loop, &loop->closer_timer,
				   ivs_clock_deadline(KEPT_RETRY_MS));
}

static void handle_closer_retry(struct ivs_loop_timer *timer)
{
	(void)timer;
	(void)ivs_closer_take_kept();
}

static void handle_signal(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_device_loop *loop = IVS_CONTAINER_OF(source, struct ivs_device_loop,
							signal_source);
	struct signalfd_siginfo info;

	(void)events;
	if (read(loop->opts.signal_fd, &info, sizeof(info)) == sizeof(info))
		loop->signo = (int)info.ssi_signo;
}

static int answer_request(void *context, const char *line, size_t len, char **text,
			  size_t *text_len)
{
	const struct ivs_device_loop *loop = context;

	return ivs_device_answer(loop->devices, loop->devices_n, line, len, text, text_len);
}

static int open_control(struct ivs_device_loop *loop, struct ivs_error *err)
{
	struct ivs_control_options opts = {
		.listener = &loop->opts.control,
		.loop = &loop->loop,
		.answer = answer_request,
		.context = loop,
	};
	int result;

	tzset(); /* tzset() opens a file, which the sandbox will not allow later */
	if (!loop->opts.control.path)
		return 0;
	result = ivs_control_open(&opts, &loop->control, err);
	return result > 0 ? IVS_DEVICE_E_SOCKET : result;
}

static int open_loop(struct ivs_device_loop *loop, struct ivs_error *err)
{
	int result = ivs_loop_open(&loop->loop);

	ivs_loop_add_step(&loop->loop, &loop->closer_step);
	if (!result)
		result = ivs_loop_add(&loop->loop, &loop->signal_source, loop->opts.signal_fd,
				      EPOLLIN);
	return result ? ivs_error_errno(err, -result, "cannot wait for signals") : 0;
}

int ivs_device_loop_new(const struct ivs_device_loop_options *opts, struct ivs_device_loop **out,
			struct ivs_error *err)
{
	struct ivs_device_loop *loop = calloc(1, sizeof(*loop));
	int result;

	if (!loop)
		return ivs_error_errno(err, ENOMEM, "cannot allocate an event loop");
	loop->opts = *opts;
	loop->signal_source.handle = handle_signal;
	loop->closer_step.run = retry_closing;
	loop->closer_timer.handle = handle_closer_retry;
	ivs_stall_open();
	result = open_loop(loop, err);
	if (!result)
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
		return ivs_error_errno(err, ENOSPC, "cannot serve more than %d devices",
				       IVS_DEVICES_MAX);
	result = ivs_device_start(device, &loop->loop, err);
	if (!result)
		loop->devices[loop->devices_n++] = device;
	return result;
}

void ivs_device_loop_free(struct ivs_device_loop *loop)
{
	if (!loop)
		return;
	ivs_control_close(loop->control);
	ivs_loop_remove(&loop->signal_source);
	ivs_loop_close(&loop->loop);
	free(loop);
}

/* Return: whether a VMM is connected to any device, or can still connect. */
static bool has_work(const struct ivs_device_loop *loop)
{
	for (unsigned int i = 0; i < loop->devices_n; i++) {
		if (!loop->devices[i]->ended)
			return true;
	}
	return false;
}

int ivs_device_loop_run(struct ivs_device_loop *loop, int *signo)
{
	int result;

	while (!loop->signo && has_work(loop)) {
		ivs_stall_idle();
		result = ivs_loop_wait(&loop->loop);
		if (result)
			return result;
		/*
		 * There is no event, because the guard's own signal interrupted the wait. So do not
		 * activate the guard.
		 */
		if (!ivs_loop_is_due(&loop->loop))
			continue;
		ivs_stall_busy();
		ivs_loop_dispatch(&loop->loop);
	}
	*signo = loop->signo;
	return 0;
}
