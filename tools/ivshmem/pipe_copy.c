/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/pipe_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "tools/shared/usage.h"

#define BUFFER_LEN (64 * 1024)
/* Without doorbells, waiting polls: with pauses from this one up to that of the channels. */
#define PAUSE_MIN_NS 50000
#define PAUSE_MAX_MS 10

enum poll_index {
	POLL_INPUT,
	POLL_OUTPUT,
	POLL_CHANNELS,
	POLL_SIGNALS,
	POLL_N,
};

/** struct buffer - bytes of one direction; those from @from to @to have not been passed on */
struct buffer {
	uint8_t bytes[BUFFER_LEN];
	size_t from;
	size_t to;
};

/**
 * struct copy - both directions
 * @output_fd:  standard output, or the same pipe opened without blocking
 * @piecemeal:  a long write could block although poll(2) says that there is room
 * @is_socket:  standard output is a socket
 * @signals_fd: readable if a signal that ends the program is pending
 * @feed_result: why nothing more can be written to the stream, or 0
 * @in_ended:   standard input has ended, and the stream was shut down
 * @out_ended:  the stream has ended; when @to_output is empty, standard output is closed
 * @moved:      this turn has moved bytes to or from the stream, so do not wait
 * @pause_ns:   the next pause, if the peer has no doorbells
 */
struct copy {
	struct ivs_channels *channels;
	struct ivs_stream *stream;
	struct buffer to_stream;
	struct buffer to_output;
	int output_fd;
	bool piecemeal;
	bool is_socket;
	int signals_fd;
	int feed_result;
	bool in_ended;
	bool out_ended;
	bool out_closed;
	bool moved;
	int64_t pause_ns;
};

static bool is_empty(const struct buffer *buffer)
{
	return buffer->from == buffer->to;
}

/*
 * A write to a pipe or terminal blocks until all bytes have been written. A pipe can be opened a
 * second time with O_NONBLOCK, which does not affect other programs that have it open.
 */
static void choose_output(struct copy *copy)
{
	struct stat st;

	copy->output_fd = STDOUT_FILENO;
	if (fstat(STDOUT_FILENO, &st))
		return;
	copy->is_socket = S_ISSOCK(st.st_mode);
	copy->piecemeal = S_ISCHR(st.st_mode);
	if (S_ISFIFO(st.st_mode)) {
		int fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);

		copy->piecemeal = fd < 0;
		copy->output_fd = fd < 0 ? STDOUT_FILENO : fd;
	}
}

/* Return: 0, STATUS_FAILED. */
static int close_output(struct copy *copy)
{
	int null_fd;

	copy->out_closed = true;
	if (copy->output_fd != STDOUT_FILENO)
		(void)close(copy->output_fd);
	/* An fd that the server sends must not get the number of standard output. */
	null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (null_fd < 0 || dup2(null_fd, STDOUT_FILENO) < 0)
		return usage_failed("cannot close standard output: %s", strerror(errno));
	(void)close(null_fd);
	return 0;
}

static int stream_failed(int result)
{
	if (result == IVS_CHANNEL_E_ENDED)
		return usage_failed("the other side has closed the stream, left or died before it "
				    "read everything");
	return usage_failed("the stream has failed: %s", ivs_channel_strerror(result));
}

/*
 * Write to the stream, and find out whether the other side can still read. If it cannot, first pass
 * on what it has written.
 */
static int feed_stream(struct copy *copy)
{
	struct buffer *buffer = &copy->to_stream;
	size_t n;
	int result;

	if (copy->in_ended || copy->feed_result)
		return 0;
	result = ivs_stream_write(copy->stream, buffer->bytes + buffer->from,
				  buffer->to - buffer->from, &n, 0);
	if (result == IVS_CHANNEL_E_ENDED) {
		copy->feed_result = result;
		copy->moved = true;
		return 0;
	}
	if (result && result != IVS_CHANNEL_E_TIMEOUT && result != -EINTR)
		return stream_failed(result);
	buffer->from += n;
	copy->moved = copy->moved || n;
	return 0;
}

static int drain_stream(struct copy *copy)
{
	struct buffer *buffer = &copy->to_output;
	size_t n;
	int result;

	if (copy->out_ended || !is_empty(buffer))
		return 0;
	result = ivs_stream_read(copy->stream, buffer->bytes, BUFFER_LEN, &n, 0);
	buffer->from = 0;
	buffer->to = n;
	copy->moved = copy->moved || n;
	if (!result || result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR)
		return 0;
	if (result != IVS_CHANNEL_E_ENDED)
		return stream_failed(result);
	if (!ivs_stream_is_complete(copy->stream))
		return usage_failed("the other side has left or died before the end of the "
				    "stream: the output is incomplete");
	copy->out_ended = true;
	copy->moved = true;
	return 0;
}

static int read_input(struct copy *copy)
{
	ssize_t n = read(STDIN_FILENO, copy->to_stream.bytes, BUFFER_LEN);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return usage_failed("cannot read standard input: %s", strerror(errno));
	copy->to_stream.from = 0;
	copy->to_stream.to = (size_t)n;
	if (!n) {
		ivs_stream_shutdown(copy->stream);
		copy->in_ended = true;
	}
	return 0;
}

static int write_output(struct copy *copy)
{
	struct buffer *buffer = &copy->to_output;
	size_t len = buffer->to - buffer->from;
	ssize_t n;

	if (copy->piecemeal && len > PIPE_BUF)
		len = PIPE_BUF;
	if (copy->is_socket)
		n = send(copy->output_fd, buffer->bytes + buffer->from, len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	else
		n = write(copy->output_fd, buffer->bytes + buffer->from, len);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return 0;
	if (n < 0)
		return usage_failed("cannot write standard output: %s", strerror(errno));
	buffer->from += (size_t)n;
	return 0;
}

/* Without doorbells, data often arrives soon after other data. */
static struct timespec next_pause(struct copy *copy, int wait_ms)
{
	int64_t ns = wait_ms * (int64_t)IVS_NS_PER_MS;

	if (wait_ms <= PAUSE_MAX_MS && copy->pause_ns < ns) {
		ns = copy->pause_ns;
		copy->pause_ns *= 2;
	}
	return (struct timespec){ns / IVS_NS_PER_S, ns % IVS_NS_PER_S};
}

/* Wait for the channels, too, unless the stream has just moved. Return: 0, STATUS_FAILED. */
static int wait_for_any(struct copy *copy, struct pollfd *fds)
{
	struct timespec time = {0};
	int wait_ms = 0;
	int result;

	if (copy->moved) {
		copy->pause_ns = PAUSE_MIN_NS;
		(void)ppoll(fds, POLL_N, &time, NULL);
		return 0;
	}
	ivs_stream_set_reading(copy->stream, !copy->out_ended && is_empty(&copy->to_output));
	if (ivs_channels_begin_wait(copy->channels, &wait_ms)) {
		fds[POLL_CHANNELS].fd = ivs_channels_fd(copy->channels);
		time = next_pause(copy, wait_ms);
	}
	(void)ppoll(fds, POLL_N, &time, NULL);
	result = ivs_channels_end_wait(copy->channels);
	return result && result != -EINTR ? stream_failed(result) : 0;
}

/* Pass on what can be passed on without waiting; if there was nothing for the stream, wait. */
static int take_turn(struct copy *copy)
{
	struct pollfd fds[POLL_N] = {
		[POLL_INPUT] = {-1, POLLIN, 0},
		[POLL_OUTPUT] = {-1, POLLOUT, 0},
		[POLL_CHANNELS] = {-1, POLLIN, 0},
		[POLL_SIGNALS] = {copy->signals_fd, POLLIN, 0},
	};
	int status;

	copy->moved = false;
	status = feed_stream(copy);
	if (!status)
		status = drain_stream(copy);
	if (status)
		return status;
	if (copy->out_ended && is_empty(&copy->to_output) && !copy->out_closed)
		return close_output(copy);
	if (copy->in_ended && copy->out_closed)
		return 0;
	if (!copy->in_ended && !copy->feed_result && is_empty(&copy->to_stream))
		fds[POLL_INPUT].fd = STDIN_FILENO;
	if (!is_empty(&copy->to_output))
		fds[POLL_OUTPUT].fd = copy->output_fd;
	status = wait_for_any(copy, fds);
	if (!status && fds[POLL_SIGNALS].revents)
		status = -EINTR;
	if (!status && fds[POLL_INPUT].revents)
		status = read_input(copy);
	if (!status && fds[POLL_OUTPUT].revents)
		status = write_output(copy);
	return status;
}

int pipe_copy(struct ivs_channels *channels, struct ivs_stream *stream, const sigset_t *stop)
{
	static struct copy copy;
	int status = 0;

	copy = (struct copy){.channels = channels, .stream = stream, .pause_ns = PAUSE_MIN_NS};
	copy.signals_fd = signalfd(-1, stop, SFD_CLOEXEC);
	if (copy.signals_fd < 0)
		return usage_failed("cannot wait for signals: %s", strerror(errno));
	choose_output(&copy);
	while (!status && !((copy.in_ended || copy.feed_result) && copy.out_closed))
		status = take_turn(&copy);
	if (!status && copy.feed_result)
		status = stream_failed(copy.feed_result);
	(void)close(copy.signals_fd);
	return status;
}
