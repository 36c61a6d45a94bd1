/* SPDX-License-Identifier: BSD-3-Clause */
/* The command pipe: a stream between this peer and another, as standard input and output. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <time.h>

#include "base/clock.h"
#include "tools/ivshmem/channel_target.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/pipe_copy.h"
#include "tools/ivshmem/signals.h"

/* A part of the section for each side: a listener needs room for several peers that connect. */
#define SECTION_PARTS 4
#define BUFFER_MAX (512 * 1024) /* larger ones are slower: they do not stay in the cache */
#define RETRY_NS (10 * IVS_NS_PER_MS)

struct pipe_command {
	struct channel_target target;
	bool listen;
};

static int take_option(void *context, int option, const char *value)
{
	struct pipe_command *command = context;

	if (option != 'l')
		return channel_target_option(&command->target, option, value);
	command->listen = true;
	return 0;
}

static int take_operand(void *context, char *value)
{
	return channel_target_operand(&((struct pipe_command *)context)->target, value);
}

static int parse(struct pipe_command *command, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem pipe ADDRESS NAME [--listen] [OPTION]...\n"
		"\n"
		"Connects to the stream NAME, or waits for a peer that connects. Copies standard\n"
		"input to the stream, and the stream to standard output. Ends when both\n"
		"directions have ended; the exit status is 1 if bytes may be missing.\n"
		"\n"
		"  -l, --listen           listen, and accept one connection\n"
		"  -t, --timeout SECONDS  time limit for connecting; by default, wait\n"
		"                         indefinitely\n" CHANNEL_HELP "\n" TARGET_ADDRESSES "\n"
		"Example: send a file from the host, and receive it in a guest\n"
		"  ivshmem pipe unix:/run/ivshmem/my-vms.sock file --listen < disk.img\n"
		"  ivshmem pipe pci: file < /dev/null > disk.img\n";
	static const struct option options[] = {
		{"listen", no_argument, NULL, 'l'},
		CHANNEL_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	"l" CHANNEL_LETTERS, options,
					   take_option, "see --help",	     take_operand};

	return usage_parse(&usage, command, argc, argv);
}

/* A signal that was handled, or a peer that occupies room by connecting, must not end the wait. */
static bool retries(int result, int64_t deadline_ns)
{
	const struct timespec pause = {0, RETRY_NS};

	if (result != -EINTR && result != IVS_CHANNEL_E_FULL)
		return false;
	if (ivs_clock_ns() >= deadline_ns)
		return false;
	if (result == IVS_CHANNEL_E_FULL)
		(void)nanosleep(&pause, NULL);
	return true;
}

static int accept_one(const struct channel_target *target, const struct ivs_stream_options *options,
		      struct ivs_stream **out)
{
	int64_t deadline_ns = ivs_clock_deadline(target->timeout_ms);
	struct ivs_stream_listener *listener;
	int result = ivs_stream_listen(target->channels, target->name, options, &listener);

	if (result)
		return result;
	do
		result = ivs_stream_accept(listener, out, ivs_clock_left_ms(deadline_ns));
	while (retries(result, deadline_ns));
	ivs_stream_listener_close(listener);
	return result;
}

static int connect_to(const struct channel_target *target, const struct ivs_stream_options *options,
		      struct ivs_stream **out)
{
	int64_t deadline_ns = ivs_clock_deadline(target->timeout_ms);
	int result;

	do
		result = ivs_stream_connect(target->channels, target->name, options, out,
					    ivs_clock_left_ms(deadline_ns));
	while (result == -EINTR);
	return result;
}

/* Return: 0, or STATUS_FAILED after printing the reason. */
static int open_stream(const struct pipe_command *command, struct ivs_stream **out)
{
	const struct channel_target *target = &command->target;
	struct ivs_stream_options options = {channel_target_section_len(target) / SECTION_PARTS};
	int result;

	if (options.buffer_len > BUFFER_MAX)
		options.buffer_len = BUFFER_MAX;
	result = command->listen ? accept_one(target, &options, out)
				 : connect_to(target, &options, out);
	if (result == IVS_CHANNEL_E_TIMEOUT)
		return usage_failed("\"%s\" in %s: no peer has %s within %d s", target->name,
				    target->target.address,
				    command->listen ? "connected" : "accepted the connection",
				    target->timeout_ms / 1000);
	return result ? channel_target_failed(target, result) : 0;
}

/* Return: 0, or STATUS_FAILED after printing the reason. */
static int flush(struct ivs_stream *stream)
{
	int result;

	do
		result = ivs_stream_flush(stream, -1);
	while (result == -EINTR);
	if (!result)
		return 0;
	return usage_failed("the other side has not read everything: %s",
			    ivs_channel_strerror(result));
}

/* Return: 0, STATUS_FAILED, -EINTR: a signal is pending. */
static int copy_stream(struct channel_target *target, struct ivs_stream *stream)
{
	sigset_t before;
	sigset_t stop;
	int status;

	/* Without a server, the other side learns from the section that this side has ended. */
	signals_find_stop(&stop);
	sigprocmask(SIG_BLOCK, &stop, &before);
	signal(SIGPIPE, SIG_IGN);
	status = pipe_copy(target->channels, stream, &stop);
	if (!status) {
		sigprocmask(SIG_SETMASK, &before, NULL);
		status = flush(stream);
	}
	if (status)
		ivs_stream_abort(stream);
	else
		ivs_stream_close(stream);
	channel_target_close(target);
	sigprocmask(SIG_SETMASK, &before, NULL);
	return status;
}

static int run_pipe(int argc, char **argv)
{
	static struct pipe_command command = {.target = CHANNEL_TARGET_INIT};
	struct ivs_stream *stream;
	int status = parse(&command, argc, argv);

	if (!status)
		status = channel_target_open_named(&command.target);
	if (status)
		return status < 0 ? 0 : status;
	status = open_stream(&command, &stream);
	if (status) {
		channel_target_close(&command.target);
		return status;
	}
	return copy_stream(&command.target, stream) ? STATUS_FAILED : 0;
}

const struct command command_pipe = {"pipe", "connect a stream to standard input and output",
				     run_pipe};
