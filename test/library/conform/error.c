/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Opening an address that is invalid or leads nowhere returns the documented error and a message
 * that mentions the address. These cases do not depend on the transport and are the same on the
 * host and in a guest.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "conform.h"

#define GREETING_MS 100

/*
 * Expect ivs_peer_open() to return one of @errors (a bit mask) with a message that contains
 * @mention, and to have no other effect.
 */
static void refused(struct conform *c, const char *address, unsigned int errors,
		    const char *mention)
{
	const struct ivs_peer_options opts = {.timeout_ms = GREETING_MS};
	struct ivs_peer *untouched = (struct ivs_peer *)c;
	struct ivs_peer *out = untouched;
	struct ivs_error err = {""};
	unsigned int fds = conform_fds();
	int result = ivs_peer_open(address, &opts, &out, &err);

	if (!result)
		ivs_peer_close(out);
	EXPECT(c, result > 0 && result < 32 && errors & 1U << result,
	       "\"%s\": expected one of 0x%x, got %s: %s", address, errors, conform_result(result),
	       err.text);
	EXPECT(c, out == untouched, "\"%s\": the peer was changed", address);
	EXPECT(c, strlen(err.text) > 10, "\"%s\": the error has no text: \"%s\"", address,
	       err.text);
	EXPECT(c, !strchr(err.text, '\n'), "\"%s\": the error is not one line: %s", address,
	       err.text);
	EXPECT(c, strstr(err.text, mention), "\"%s\": the error does not mention %s: %s", address,
	       mention, err.text);
	conform_expect_fds(c, address, fds);
}

#define ADDRESS (1U << IVS_PEER_E_ADDRESS)
#define ABSENT (1U << IVS_PEER_E_ABSENT)

static void unknown_prefix(struct conform *c)
{
	refused(c, "tcp:127.0.0.1:80", ADDRESS, "tcp:127.0.0.1:80");
	refused(c, "unix", ADDRESS, "unix");
	refused(c, "SHM:ivshmem", ADDRESS, "SHM:ivshmem");
	refused(c, " shm:ivshmem", ADDRESS, " shm:ivshmem");
}

static void empty(struct conform *c)
{
	refused(c, "", ADDRESS, "unix:");
}

static void says_what_there_is(struct conform *c)
{
	static const char *const known[] = {"unix:", "shm:", "file:", "pci:"};

	for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
		refused(c, "what", ADDRESS, known[i]);
}

static void unix_empty(struct conform *c)
{
	refused(c, "unix:", ADDRESS, "0 bytes");
}

static void unix_long(struct conform *c)
{
	char address[256] = "unix:/";

	memset(address + 6, 'a', 200);
	refused(c, address, ADDRESS, "201 bytes");
}

static void unix_absent(struct conform *c)
{
	refused(c, "unix:/nowhere/at/all", ABSENT, "/nowhere/at/all");
}

/* Bind a socket in the test's directory and store its address in @address. Return: the fd. */
static int bind_socket(struct conform *c, const char *name, char *address, size_t address_len)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/%s", c->dir, name);
	snprintf(address, address_len, "unix:%s", addr.sun_path);
	if (fd < 0 || bind(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		conform_fail(c, "cannot bind the socket %s: %m", addr.sun_path);
	return fd;
}

static void unix_dead(struct conform *c)
{
	char address[160];
	int fd = bind_socket(c, "dead", address, sizeof(address));

	close(fd);
	if (!c->failed)
		refused(c, address, ABSENT, address + 5);
	unlink(address + 5);
}

/* This server never calls accept(2), but the kernel completes the connection anyway. */
static void unix_silent(struct conform *c)
{
	char address[160];
	int fd = bind_socket(c, "silent", address, sizeof(address));
	int64_t begin = conform_now_ms();

	if (!c->failed && !listen(fd, 4))
		refused(c, address, 1U << IVS_PEER_E_TIMEOUT, address + 5);
	begin = conform_now_ms() - begin;
	close(fd);
	unlink(address + 5);
	EXPECT(c, begin >= GREETING_MS - 1, "expected %d ms, got %d", GREETING_MS, (int)begin);
}

/* A listener that is not a server: it accepts one connection, sends @text and closes it. */
struct impostor {
	int fd;
	const void *text;
	size_t len;
};

static void *pose(void *arg)
{
	const struct impostor *impostor = arg;
	struct pollfd pfd = {.fd = impostor->fd, .events = POLLIN};
	int fd;

	if (poll(&pfd, 1, LONG_MS) != 1)
		return NULL;
	fd = accept4(impostor->fd, NULL, NULL, SOCK_CLOEXEC);
	/* The text is short enough for send(2) to accept all of it in one call. */
	if (impostor->len && send(fd, impostor->text, impostor->len, MSG_NOSIGNAL) < 0)
		perror("conform: impostor");
	close(fd);
	return NULL;
}

/* Open an impostor's address; expect the error @wanted and a message that names the socket. */
static void meets(struct conform *c, const char *name, const void *text, size_t len, int wanted)
{
	const struct ivs_peer_options opts = {.timeout_ms = LONG_MS};
	struct impostor impostor = {.text = text, .len = len};
	struct ivs_peer *peer = NULL;
	struct ivs_error err = {""};
	char address[160];
	pthread_t thread;
	int result = 0;

	impostor.fd = bind_socket(c, name, address, sizeof(address));
	if (!c->failed && !listen(impostor.fd, 4) &&
	    !pthread_create(&thread, NULL, pose, &impostor)) {
		result = ivs_peer_open(address, &opts, &peer, &err);
		pthread_join(thread, NULL);
	}
	close(impostor.fd);
	unlink(address + 5);
	EXPECT(c, result == wanted, "expected %s, got %s: %s", conform_result(wanted),
	       conform_result(result), err.text);
	EXPECT(c, !peer, "opening failed, but there is a peer");
	EXPECT(c, strstr(err.text, address + 5), "%s is not mentioned: %s", address + 5, err.text);
}

static void unix_hangs_up(struct conform *c)
{
	meets(c, "closes", NULL, 0, IVS_PEER_E_SERVER_LOST);
}

static void unix_garbage(struct conform *c)
{
	meets(c, "garbage", "HTTP/1.1 400 Bad Request\r\n", 26, IVS_PEER_E_PROTOCOL);
}

static void unix_version(struct conform *c)
{
	static const uint8_t version_1[8] = {1};

	meets(c, "version", version_1, sizeof(version_1), IVS_PEER_E_PROTOCOL);
}

static void shm_empty(struct conform *c)
{
	refused(c, "shm:", ADDRESS, "shm:");
}

static void shm_slash(struct conform *c)
{
	refused(c, "shm:a/b", ADDRESS, "a/b");
}

static void shm_absent(struct conform *c)
{
	refused(c, "shm:ivs-conform-nothing", ABSENT, "ivs-conform-nothing");
}

static void file_empty(struct conform *c)
{
	refused(c, "file:", ADDRESS | ABSENT, "file:");
}

static void file_absent(struct conform *c)
{
	refused(c, "file:/nowhere/at/all", ABSENT, "/nowhere/at/all");
}

static void file_directory(struct conform *c)
{
	refused(c, "file:/tmp", ADDRESS, "/tmp");
}

static void file_too_small(struct conform *c)
{
	char address[160];
	int fd;

	snprintf(address, sizeof(address), "file:%s/small", c->dir);
	fd = open(address + 5, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, 100))
		conform_fail(c, "cannot create the file %s: %m", address + 5);
	close(fd);
	if (!c->failed)
		refused(c, address, ADDRESS, "100");
	unlink(address + 5);
}

static void pci_garbage(struct conform *c)
{
	/* peer.h leaves open whether "pci:zz" is an invalid address or a missing device. */
	refused(c, "pci:zz", ADDRESS | ABSENT, c->device ? "zz" : "ivshmem");
}

static void pci_absent(struct conform *c)
{
	refused(c, "pci:0000:00:1f.7", ABSENT, c->device ? "0000:00:1f.7" : "ivshmem");
}

static void node_absent(struct conform *c)
{
	refused(c, "/dev/ivshmem99", ABSENT, "/dev/ivshmem99");
}

static void node_garbage(struct conform *c)
{
	refused(c, "/dev/ivshmemx", ADDRESS | ABSENT, "/dev/ivshmemx");
}

static void error_not_wanted(struct conform *c)
{
	static const char *const addresses[] = {"what", "unix:/nowhere", "shm:ivs-conform-nothing",
						"file:/nowhere", "pci:zz"};
	struct ivs_peer *peer = NULL;

	for (size_t i = 0; i < sizeof(addresses) / sizeof(*addresses); i++) {
		int result = ivs_peer_open(addresses[i], NULL, &peer, NULL);

		EXPECT(c, result > 0 && !peer, "\"%s\": got %s", addresses[i],
		       conform_result(result));
	}
}

const struct conform_case error_cases[] = {
	{"error: an unknown prefix", unknown_prefix},
	{"error: an empty address", empty},
	{"error: the message lists the prefixes", says_what_there_is},
	{"error: unix: without a path", unix_empty},
	{"error: unix: with a path that is too long", unix_long},
	{"error: unix: a path that does not exist", unix_absent},
	{"error: unix: a socket whose server is dead", unix_dead},
	{"error: unix: a server that is silent", unix_silent},
	{"error: unix: a server that disconnects", unix_hangs_up},
	{"error: unix: a different protocol", unix_garbage},
	{"error: unix: a different version of the protocol", unix_version},
	{"error: shm: without a name", shm_empty},
	{"error: shm: with a slash in the name", shm_slash},
	{"error: shm: a name that does not exist", shm_absent},
	{"error: file: without a path", file_empty},
	{"error: file: a path that does not exist", file_absent},
	{"error: file: a directory", file_directory},
	{"error: file: a file of less than a page", file_too_small},
	{"error: pci: an invalid PCI address", pci_garbage},
	{"error: pci: an address without an ivshmem device", pci_absent},
	{"error: a device node that does not exist", node_absent},
	{"error: a device node without a number", node_garbage},
	{"error: err may be NULL", error_not_wanted},
	{0},
};
