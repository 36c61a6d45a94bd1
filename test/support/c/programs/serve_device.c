/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Serve one PCI function on a socket, without a server or peers, to test src/vfio_user/ alone.
 *
 *   serve-device SOCKET [NAME=VALUE]...
 *     revision=1 vectors=4 intx=0 size=4194304 migration=not|device|memory
 *     offset=0 writable=1 memory=PATH     memory= must come last; "-": no memory
 *
 * Each line of standard input is answered by a line of standard output:
 *   doorbell VECTOR        a peer rings VECTOR
 *   memory PATH OFFSET WRITABLE   replace the memory; "-": no memory
 *   counts                 print the counters as NAME=VALUE ...
 *   rung                   print the doorbells that the guest has rung since the last "rung", as
 *                          PEER:VECTOR ...
 *   id N                   set the value of IVPosition
 * "gone RESULT TEXT" is printed when a client disconnects, "ready" at startup.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/listener.h"
#include "daemon/log.h"
#include "daemon/loop.h"
#include "pci/function.h"
#include "vfio_user/session.h"

#define LINE_MAX_LEN 256

struct served {
	struct ivs_pci_function device;
	struct ivs_pci_function_options device_options;
	struct ivs_vfio_user_options options;
	struct ivs_vfio_user *session;
	struct ivs_listener listener;
	struct ivs_loop loop;
	struct ivs_slow slow;
	char line[LINE_MAX_LEN];
	size_t line_len;
	char rung[4096];
	size_t rung_len;
};

static void die(const char *what, const struct ivs_error *err)
{
	fprintf(stderr, "serve-device: %s: %s\n", what, err ? err->text : strerror(errno));
	exit(1);
}

static void rings(void *context, unsigned int peer, unsigned int vector)
{
	struct served *served = context;
	size_t left = sizeof(served->rung) - served->rung_len;

	if (left > 16)
		served->rung_len += (size_t)snprintf(served->rung + served->rung_len, left,
						     " %u:%u", peer, vector);
}

static bool set_number(struct served *served, const char *name, const char *text)
{
	struct ivs_pci_function_options *device = &served->device_options;
	struct ivs_vfio_user_memory *memory = &served->options.memory;
	long long value = strtoll(text, NULL, 0);

	if (!strcmp(name, "revision"))
		device->revision = (unsigned int)value;
	else if (!strcmp(name, "vectors"))
		device->vectors_n = (unsigned int)value;
	else if (!strcmp(name, "intx"))
		device->intx = value;
	else if (!strcmp(name, "size"))
		device->memory_len = (uint64_t)value;
	else if (!strcmp(name, "offset"))
		memory->offset = (uint64_t)value;
	else if (!strcmp(name, "writable"))
		memory->writable = value;
	else
		return false;
	return true;
}

/*
 * Replace the memory. Then close the fd of the previous memory, which the session no longer uses.
 */
static void open_memory(struct served *served, const char *path)
{
	struct ivs_vfio_user_memory *memory = &served->options.memory;
	int former = memory->fd;

	memory->fd = -1;
	if (strcmp(path, "-"))
		memory->fd = open(path, (memory->writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (strcmp(path, "-") && memory->fd < 0)
		die(path, NULL);
	if (served->session)
		ivs_vfio_user_set_memory(served->session, memory);
	ivs_fd_close(&former);
}

static void set_option(struct served *served, char *word)
{
	static const char *const modes[] = {"not", "device", "memory"};
	char *value = strchr(word, '=');

	if (!value)
		die(word, NULL);
	*value++ = '\0';
	if (set_number(served, word, value))
		return;
	if (!strcmp(word, "memory")) {
		open_memory(served, value);
		return;
	}
	for (unsigned int i = 0; i < 3 && !strcmp(word, "migration"); i++) {
		if (strcmp(value, modes[i]))
			continue;
		served->options.migration = (enum ivs_vfio_user_migration)i;
		return;
	}
	die(word, NULL);
}

static void print_counts(const struct served *served)
{
	struct ivs_vfio_user_counts c = ivs_vfio_user_counts(served->session);

	printf("clients=%llu messages=%llu refused=%llu memory_reads=%llu memory_writes=%llu "
	       "doorbells=%llu interrupts=%llu mapped=%d asked_migration=%d connected=%d\n",
	       (unsigned long long)c.clients, (unsigned long long)c.messages,
	       (unsigned long long)c.refused, (unsigned long long)c.memory_reads,
	       (unsigned long long)c.memory_writes, (unsigned long long)c.doorbells,
	       (unsigned long long)c.interrupts, c.mapped, c.asked_migration,
	       ivs_vfio_user_is_connected(served->session));
}

static void obey(struct served *served, const char *line)
{
	struct ivs_vfio_user_memory *memory = &served->options.memory;
	char path[LINE_MAX_LEN];
	unsigned long long offset;
	unsigned int number;
	int id, writable;

	if (sscanf(line, "doorbell %u", &number) == 1) {
		ivs_pci_doorbell(&served->device, number);
		ivs_vfio_user_deliver(served->session);
		printf("done\n");
	} else if (sscanf(line, "memory %255s %llu %d", path, &offset, &writable) == 3) {
		memory->offset = offset;
		memory->writable = writable;
		open_memory(served, path);
		printf("done\n");
	} else if (sscanf(line, "id %d", &id) == 1) {
		ivs_pci_set_id(&served->device, id);
		printf("done\n");
	} else if (!strcmp(line, "counts")) {
		print_counts(served);
	} else if (!strcmp(line, "rung")) {
		printf("rung%.*s\n", (int)served->rung_len, served->rung);
		served->rung_len = 0;
	} else {
		printf("unknown: %s\n", line);
	}
}

/* Read and execute lines. Return: false at the end of the input. */
static bool read_lines(struct served *served)
{
	ssize_t n = read(STDIN_FILENO, served->line + served->line_len,
			 sizeof(served->line) - 1 - served->line_len);
	char *end;

	if (n <= 0)
		return false;
	served->line_len += (size_t)n;
	while ((end = memchr(served->line, '\n', served->line_len))) {
		size_t len = (size_t)(end - served->line);

		*end = '\0';
		obey(served, served->line);
		served->line_len -= len + 1;
		memmove(served->line, end + 1, served->line_len);
	}
	return true;
}

static void accept_client(struct served *served)
{
	IVS_OWNED_FD sock = accept4(served->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (sock >= 0 && ivs_vfio_user_connect(served->session, &sock) < 0)
		die("connect", NULL);
}

static void serve(void *context)
{
	struct served *served = context;
	struct ivs_error err = {0};
	int result = ivs_vfio_user_serve(served->session, &err);

	if (result)
		printf("gone %d %s\n", result, err.text);
}

static void run_loop(struct ivs_loop *loop)
{
	if (ivs_loop_wait(loop))
		die("epoll_wait", NULL);
	ivs_loop_dispatch(loop);
}

int main(int argc, char **argv)
{
	static struct served served = {
		.device_options = {.revision = 1, .vectors_n = 4, .memory_len = 4 << 20},
		.options = {.name = "test", .memory = {.fd = -1, .writable = true}},
		.listener = IVS_LISTENER_INIT,
	};
	struct ivs_listener_options listen_options = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	struct ivs_error err = {0};

	if (argc < 2)
		return 2;
	for (int i = 2; i < argc; i++)
		set_option(&served, argv[i]);
	ivs_log_init("serve-device", true);
	setlinebuf(stdout);
	served.options.function = &served.device;
	served.options.loop = &served.loop;
	served.options.slow = &served.slow;
	served.options.due = serve;
	served.options.ring = rings;
	served.options.context = &served;
	listen_options.path = argv[1];
	if (ivs_pci_init(&served.device, &served.device_options, &err) ||
	    ivs_loop_open(&served.loop) ||
	    ivs_vfio_user_new(&served.options, &served.session, &err) ||
	    ivs_listener_open(&served.listener, &listen_options, &err))
		die("start", &err);
	printf("ready\n");
	for (bool more = true; more;) {
		struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
				       {.fd = served.listener.fd, .events = POLLIN},
				       {.fd = served.loop.epoll_fd, .events = POLLIN}};

		if (poll(fds, 3, -1) < 0)
			die("poll", NULL);
		if (fds[2].revents)
			run_loop(&served.loop);
		if (fds[1].revents)
			accept_client(&served);
		if (fds[0].revents)
			more = read_lines(&served);
	}
	ivs_listener_close(&served.listener);
	ivs_vfio_user_free(served.session);
	ivs_loop_close(&served.loop);
	return 0;
}
