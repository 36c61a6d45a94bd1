/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Copy a file from one peer to another through a stream. It does not matter which program starts
 * first:
 *
 *   copy unix:/tmp/ivshmem_socket send disk.img
 *   copy pci: receive disk.img                     in a guest
 *
 * The receiver writes to a temporary file, and renames it when it is complete: no other program
 * sees half a file under the final name. The exit status of both programs is 0 only if the file was
 * stored. On a region without ids, each program must be told which section of the region is its
 * own:
 *
 *   copy shm:my-region send disk.img 0
 *   copy shm:my-region receive copy.img 1
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <ivshmem/channel.h>
#include <ivshmem/peer.h>

#define NAME "copy"
#define STORED 'y'	   /* the receiver's answer, when it has renamed the file */
#define LOOK_MS 500	   /* how often to look for signals and at the clock */
#define PROGRESS_AFTER_S 2 /* a file that is copied faster needs no progress */
#define ANSWER_MS 5000

struct copy {
	struct ivs_stream *stream;
	uint64_t len; /* bytes so far */
	time_t began_s;
	time_t reported_s;
};

/* A signal handler only sets this, so that no file is left behind, and the other side is told. */
static volatile sig_atomic_t stopped;

static void stop(int number)
{
	stopped = number;
}

static int fail(const char *what, int result)
{
	if (stopped)
		fprintf(stderr, "copy: %s: stopped by signal %d\n", what, (int)stopped);
	else
		fprintf(stderr, "copy: %s: %s\n", what,
			result < 0 ? strerror(-result) : ivs_channel_strerror(result));
	return 1;
}

/* Return: whether to try again after @result: the time limit serves only to look for signals. */
static bool tries_again(int result)
{
	return (result == IVS_CHANNEL_E_TIMEOUT || result == -EINTR) && !stopped;
}

static time_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void show_progress(struct copy *copy, size_t len)
{
	time_t now = now_s();
	time_t took = now - copy->began_s;

	copy->len += len;
	if (took <= PROGRESS_AFTER_S || now == copy->reported_s)
		return;
	copy->reported_s = now;
	fprintf(stderr, "copy: %" PRIu64 " MiB, %" PRIu64 " MiB per second\n", copy->len >> 20,
		(copy->len >> 20) / (uint64_t)took);
}

/* Sending */

static int connect_stream(struct ivs_channels *channels, struct copy *copy)
{
	int result;

	do
		result = ivs_stream_connect(channels, NAME, NULL, &copy->stream, LOOK_MS);
	while (tries_again(result));
	return result ? fail("cannot connect", result) : 0;
}

static int write_stream(struct copy *copy, const char *bytes, size_t len)
{
	while (len) {
		size_t n;
		int result = ivs_stream_write(copy->stream, bytes, len, &n, LOOK_MS);

		if (stopped || (result && !tries_again(result)))
			return fail("cannot send", result);
		bytes += n; /* 0 after the time limit */
		len -= n;
		show_progress(copy, n);
	}
	return 0;
}

/* The end of the file means nothing until the receiver has stored it: wait for its answer. */
static int await_answer(struct copy *copy)
{
	char answer = 0;
	size_t len;
	int result;

	ivs_stream_shutdown(copy->stream);
	do
		result = ivs_stream_read(copy->stream, &answer, 1, &len, LOOK_MS);
	while (tries_again(result));
	if (!result && answer == STORED)
		return 0;
	return fail("the receiver has not stored the file", result ? result : IVS_CHANNEL_E_BROKEN);
}

static int send_file(struct ivs_channels *channels, const char *path)
{
	static char bytes[1 << 16];
	struct copy copy = {0};
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;
	int status;

	if (fd < 0)
		return fail(path, -errno);
	status = connect_stream(channels, &copy);
	copy.began_s = now_s();
	while (!status && !stopped && (n = read(fd, bytes, sizeof(bytes))) > 0)
		status = write_stream(&copy, bytes, (size_t)n);
	if (!status && (stopped || n < 0))
		status = fail(path, -errno);
	close(fd);
	if (!status)
		status = await_answer(&copy);
	if (status)
		ivs_stream_abort(copy.stream); /* not close(): the file is not complete */
	else
		ivs_stream_close(copy.stream);
	if (!status)
		printf("copy: sent %" PRIu64 " bytes\n", copy.len);
	return status;
}

/* Receiving */

static int accept_stream(struct ivs_channels *channels, struct copy *copy)
{
	struct ivs_stream_listener *listener;
	int result = ivs_stream_listen(channels, NAME, NULL, &listener);

	if (result)
		return fail("cannot listen", result);
	do
		result = ivs_stream_accept(listener, &copy->stream, LOOK_MS);
	while (tries_again(result));
	ivs_stream_listener_close(listener);
	return result ? fail("cannot accept", result) : 0;
}

static int write_file(int fd, const char *bytes, size_t len)
{
	while (len) {
		ssize_t n = write(fd, bytes, len);

		if (n < 0 && errno != EINTR)
			return fail("cannot write", -errno);
		bytes += n < 0 ? 0 : n;
		len -= n < 0 ? 0 : (size_t)n;
	}
	return 0;
}

static int receive_bytes(struct copy *copy, int fd)
{
	static char bytes[1 << 16];
	int result;

	do {
		size_t len;

		result = ivs_stream_read(copy->stream, bytes, sizeof(bytes), &len, LOOK_MS);
		if (!result && write_file(fd, bytes, len))
			return 1;
		show_progress(copy, len);
	} while ((!result && !stopped) || tries_again(result));
	/* The stream also ends if the sender is killed. */
	if (result == IVS_CHANNEL_E_ENDED && ivs_stream_is_complete(copy->stream))
		return 0;
	return fail("the file is not complete", result);
}

/* Give the temporary file the permissions of a new file, and its name. */
static int store(int fd, const char *temporary, const char *path)
{
	mode_t mask = umask(0);

	umask(mask);
	/* fsync(2): after a crash of the machine, the name must not refer to an empty file. */
	if (fchmod(fd, 0666 & ~mask) || fsync(fd) || rename(temporary, path))
		return fail(path, -errno);
	return 0;
}

/* The answer, and the time to read it: see ivs_stream_flush(). The file is stored in any case. */
static void answer_sender(struct copy *copy)
{
	const char answer = STORED;
	size_t written;
	int result = ivs_stream_write(copy->stream, &answer, 1, &written, ANSWER_MS);

	if (!result)
		result = ivs_stream_flush(copy->stream, ANSWER_MS);
	if (result)
		fail("the file is stored, but the sender does not know", result);
	ivs_stream_close(copy->stream);
}

static int receive_file(struct ivs_channels *channels, const char *path)
{
	char temporary[PATH_MAX];
	struct copy copy = {0};
	struct stat info;
	int status;
	int fd;

	/* rename(2) would also replace /dev/null. */
	if (!lstat(path, &info) && !S_ISREG(info.st_mode)) {
		fprintf(stderr, "copy: %s exists, and is not a regular file\n", path);
		return 1;
	}
	/* rename(2) is atomic only within a file system: use the same directory. */
	if (snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
		return fail(path, -ENAMETOOLONG);
	fd = mkstemp(temporary);
	if (fd < 0)
		return fail(path, -errno);
	status = accept_stream(channels, &copy);
	copy.began_s = now_s();
	if (!status)
		status = receive_bytes(&copy, fd);
	if (!status)
		status = store(fd, temporary, path);
	close(fd);
	if (status) {
		unlink(temporary);
		ivs_stream_abort(copy.stream);
		return status;
	}
	answer_sender(&copy);
	printf("copy: received %" PRIu64 " bytes\n", copy.len);
	return 0;
}

static int usage(bool is_help)
{
	fputs("usage: copy ADDRESS send FILE [SECTION] | copy ADDRESS receive FILE [SECTION]\n",
	      is_help ? stdout : stderr);
	return is_help ? 0 : 2;
}

/* Return: whether @text is a number; it is then stored in *@section. */
static bool parse_section(const char *text, uint32_t *section)
{
	char *end;

	*section = (uint32_t)strtoul(text, &end, 10);
	return isdigit((unsigned char)*text) && !*end;
}

int main(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = stop};
	struct ivs_channels_options opts = IVS_CHANNELS_OPTIONS_INIT;
	bool sends = argc > 3 && !strcmp(argv[2], "send");
	struct ivs_channels *channels;
	struct ivs_peer *peer;
	struct ivs_error err;
	int status;

	if (argc == 2 && !strcmp(argv[1], "--help"))
		return usage(true);
	if (argc < 4 || argc > 5 || (!sends && strcmp(argv[2], "receive")))
		return usage(false);
	if (argc == 5 && !parse_section(argv[4], &opts.section))
		return usage(false);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	sigaction(SIGHUP, &action, NULL);
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (ivs_peer_open(argv[1], NULL, &peer, &err)) {
		fprintf(stderr, "copy: %s\n", err.text);
		return 1;
	}
	if (ivs_channels_open(peer, &opts, &channels, &err)) {
		fprintf(stderr, "copy: %s\n", err.text);
		ivs_peer_close(peer);
		return 1;
	}
	status = sends ? send_file(channels, argv[3]) : receive_file(channels, argv[3]);
	ivs_channels_close(channels);
	ivs_peer_close(peer);
	return status;
}
