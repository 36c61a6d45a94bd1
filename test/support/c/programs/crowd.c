/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Many clients of one server in one process:  crowd SOCKET CLIENTS VECTORS
 *
 * All clients connect before any of them reads. Then all read at the same time, and every message
 * is checked. The server must not have other clients, so that the ids are 0 to CLIENTS - 1 and no
 * peer leaves.
 *
 * It is written in C because a million doorbells are too many for Python. Like wire.py, it uses
 * no code of the project.
 */
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BATCH 32
#define GREETING_LEN 3
#define SILENCE_MS 20000 /* long enough for a loaded machine and sanitizers */

union control {
	struct cmsghdr align;
	char bytes[CMSG_SPACE(2 * sizeof(int))];
};

/**
 * struct member - one client
 * @id:      the client's id; -1 if it has not been received yet
 * @told_n:  number of messages received
 * @at:      id of the peer whose vectors are being received; -1: none
 * @vectors: for each id, number of vectors received
 * @late:    for each id, whether vectors were missing when the client received its first own vector
 */
struct member {
	int sock;
	int64_t id;
	unsigned int told_n;
	int64_t at;
	unsigned char *vectors;
	bool *late;
};

static unsigned int clients_n;
static unsigned int vectors_n;
static unsigned int all_n; /* messages for each client */
static struct member *members;

static void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

static void fail(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("crowd: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static unsigned int parse_number(const char *text, unsigned int max)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (!*text || *end || !number || number > max)
		fail("\"%s\" is not a number from 1 to %u", text, max);
	return number;
}

static int open_connection(const char *path)
{
	const struct timeval timeout = {.tv_sec = SILENCE_MS / 1000};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		fail("the socket's path is too long: %s", path);
	strcpy(addr.sun_path, path);
	/* connect() blocks while the listener's queue is full. */
	if (sock < 0 || setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)) ||
	    connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		fail("cannot connect: %s", strerror(errno));
	return sock;
}

static void connect_all(const char *path)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	members = calloc(clients_n, sizeof(*members));
	for (unsigned int i = 0; members && i < clients_n; i++) {
		members[i] = (struct member){.id = -1, .at = -1};
		members[i].vectors = calloc(clients_n, 1);
		members[i].late = calloc(clients_n, sizeof(bool));
		if (!members[i].vectors || !members[i].late)
			fail("out of memory");
		members[i].sock = open_connection(path);
	}
	if (!members)
		fail("out of memory");
}

static void check_greeting(struct member *member, int64_t value, bool has_fd)
{
	switch (member->told_n) {
	case 0:
		if (value || has_fd)
			fail("the first message is not version 0");
		break;
	case 1:
		if (value < 0 || value >= clients_n || has_fd)
			fail("the second message is not the id of a new client: %lld",
			     (long long)value);
		member->id = value;
		break;
	default:
		if (value != -1 || !has_fd)
			fail("the third message is not the memory: %lld", (long long)value);
		break;
	}
}

/* Note which peers' vectors are not complete yet, as the client's own vectors begin. */
static void note_late_peers(struct member *member)
{
	for (unsigned int id = 0; id < clients_n; id++)
		member->late[id] = id != member->id && member->vectors[id] < vectors_n;
}

static void check_vector(struct member *member, int64_t value, bool has_fd)
{
	if (value < 0 || value >= clients_n || !has_fd)
		fail("client %lld was sent %lld %s an fd", (long long)member->id, (long long)value,
		     has_fd ? "with" : "without");
	if (member->at != -1 && member->at != value)
		fail("client %lld was sent %lld among the vectors of client %lld",
		     (long long)member->id, (long long)value, (long long)member->at);
	if (member->vectors[value] == vectors_n)
		fail("client %lld was sent more than %u vectors of client %lld",
		     (long long)member->id, vectors_n, (long long)value);
	if (value == member->id && !member->vectors[value])
		note_late_peers(member);
	member->vectors[value]++;
	member->at = member->vectors[value] < vectors_n ? value : -1;
}

static void take_message(struct member *member, struct msghdr *hdr, int64_t value)
{
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(hdr);
	int fd = -1;

	if (hdr->msg_flags & MSG_CTRUNC)
		fail("an fd was lost, or several fds came with one message");
	if (cmsg) {
		if (cmsg->cmsg_len != CMSG_LEN(sizeof(int)))
			fail("several fds came with one message");
		memcpy(&fd, CMSG_DATA(cmsg), sizeof(fd));
		close(fd);
	}
	if (member->told_n < GREETING_LEN)
		check_greeting(member, value, fd >= 0);
	else
		check_vector(member, value, fd >= 0);
	member->told_n++;
}

/* Read up to a batch of a client's messages. Return: the number of messages. */
static unsigned int take_batch(struct member *member)
{
	struct mmsghdr msgs[BATCH] = {0};
	union control controls[BATCH];
	struct iovec iovs[BATCH];
	int64_t values[BATCH];
	int n;

	for (unsigned int i = 0; i < BATCH; i++) {
		iovs[i] = (struct iovec){&values[i], sizeof(values[i])};
		msgs[i].msg_hdr = (struct msghdr){.msg_iov = &iovs[i],
						  .msg_iovlen = 1,
						  .msg_control = &controls[i],
						  .msg_controllen = sizeof(controls[i])};
	}
	n = recvmmsg(member->sock, msgs, BATCH, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, NULL);
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		fail("client %lld cannot read: %s", (long long)member->id, strerror(errno));
	for (int i = 0; i < n; i++) {
		if (!msgs[i].msg_len)
			fail("the server closed the connection of client %lld after %u of %u "
			     "messages",
			     (long long)member->id, member->told_n, all_n);
		if (msgs[i].msg_len != sizeof(values[i]))
			fail("a message has %u bytes", msgs[i].msg_len);
		take_message(member, &msgs[i].msg_hdr, le64toh(values[i]));
	}
	return n > 0 ? n : 0;
}

static void fail_silent(unsigned long long told_n)
{
	for (unsigned int i = 0; i < clients_n; i++) {
		if (members[i].told_n < all_n)
			fail("no message came after the first %llu: client %lld was sent %u of %u",
			     told_n, (long long)members[i].id, members[i].told_n, all_n);
	}
}

static unsigned long long read_all(void)
{
	unsigned long long wanted_n = (unsigned long long)all_n * clients_n;
	struct pollfd *polls = calloc(clients_n, sizeof(*polls));
	unsigned long long told_n = 0;

	if (!polls)
		fail("out of memory");
	for (unsigned int i = 0; i < clients_n; i++)
		polls[i] = (struct pollfd){.fd = members[i].sock, .events = POLLIN};
	/* Once all messages have arrived, more readable bytes are an error. */
	while (poll(polls, clients_n, told_n < wanted_n ? SILENCE_MS : 0) > 0) {
		for (unsigned int i = 0; i < clients_n; i++) {
			if (polls[i].revents)
				told_n += take_batch(&members[i]);
		}
	}
	if (told_n < wanted_n)
		fail_silent(told_n);
	free(polls);
	return told_n;
}

static void check_ids_differ(void)
{
	bool *seen = calloc(clients_n, sizeof(*seen));

	for (unsigned int i = 0; seen && i < clients_n; i++) {
		if (seen[members[i].id])
			fail("two clients have id %lld", (long long)members[i].id);
		seen[members[i].id] = true;
	}
	free(seen);
}

/*
 * Of two clients, one was greeted when the other was already visible, so its own vectors must come
 * after those of the other one (W-6). Which one that is depends on how busy the server was.
 */
static void check_order_of_pairs(void)
{
	for (unsigned int i = 0; i < clients_n; i++) {
		for (unsigned int k = 0; k < i; k++) {
			if (members[i].late[members[k].id] && members[k].late[members[i].id])
				fail("clients %lld and %lld were both sent their own vectors "
				     "before "
				     "those of the other one",
				     (long long)members[i].id, (long long)members[k].id);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned long long told_n;

	if (argc != 4)
		fail("usage: crowd SOCKET CLIENTS VECTORS");
	clients_n = parse_number(argv[2], 65536);
	vectors_n = parse_number(argv[3], UINT8_MAX);
	all_n = GREETING_LEN + clients_n * vectors_n;
	connect_all(argv[1]);
	told_n = read_all();
	check_ids_differ();
	check_order_of_pairs();
	printf("crowd: all of %llu messages, in order\n", told_n);
	for (unsigned int i = 0; i < clients_n; i++) {
		close(members[i].sock);
		free(members[i].vectors);
		free(members[i].late);
	}
	free(members);
	return 0;
}
