/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "daemon/control.h"
#include "daemon/stall.h"
#include "device/private.h"
#include "device/status.h"

IVS_SYSCALLS(ivs_device_loop_syscalls, {"read"}, {"close"});

/**
 * struct ivs_device_loop - several devices on one event loop
 * @signal:  the signalfd
 * @signo:   that came; 0: none yet
 * @control: the control socket, or NULL. Added to the loop before the devices, it answers in a step
 *           at the end of a round: VMMs come first.
 */
struct ivs_device_loop {
	struct ivs_device_loop_options opts;
	struct ivs_device *devices[IVS_DEVICES_MAX];
	unsigned int devices_n;
	struct ivs_loop loop;
	struct ivs_loop_source signal;
	int signo;
	struct ivs_control *control;
};

static void take_signal(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_device_loop *loop = IVS_CONTAINER_OF(source, struct ivs_device_loop, signal);
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

/* Return: 0, IVS_DEVICE_E_SOCKET, -errno. */
static int open_control(struct ivs_device_loop *loop, struct ivs_error *err)
{
	const struct ivs_control_options opts = {
		.listener = &loop->opts.control,
		.loop = &loop->loop,
		.answer = answer_request,
		.context = loop,
	};
	int result;

	tzset(); /* now, because it reads a file */
	if (!loop->opts.control.path)
		return 0;
	result = ivs_control_open(&opts, &loop->control, err);
	return result > 0 ? IVS_DEVICE_E_SOCKET : result;
}

int ivs_device_loop_new(const struct ivs_device_loop_options *opts, struct ivs_device_loop **out,
			struct ivs_error *err)
{
	struct ivs_device_loop *loop = calloc(1, sizeof(*loop));
	int result;

	if (!loop)
		return ivs_error_errno(err, ENOMEM, "cannot serve");
	loop->opts = *opts;
	loop->loop = (struct ivs_loop)IVS_LOOP_INIT;
	loop->signal.handle = take_signal;
	result = ivs_loop_open(&loop->loop);
	if (!result)
		result = ivs_loop_add(&loop->loop, &loop->signal, opts->signal_fd, EPOLLIN);
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
	ivs_loop_remove(&loop->signal);
	ivs_loop_close(&loop->loop);
	free(loop);
}

/* Return: whether a VMM is connected, or can still connect. */
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
	int result = 0;

	while (!result && !loop->signo && has_work(loop)) {
		ivs_stall_idle();
		result = ivs_loop_wait(&loop->loop);
		if (result || !ivs_loop_has_work(&loop->loop)) /* the guard's signal */
			continue;
		ivs_stall_busy();
		ivs_loop_dispatch(&loop->loop);
	}
	*signo = loop->signo;
	return result;
}
