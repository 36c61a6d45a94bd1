/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/attach_probe.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/access.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/unix_address.h"
#include "client/greeting.h"
#include "region/received.h"
#include "region/region.h"
#include "tools/shared/usage.h"

#define GREETING_MS 5000
#define LEAVE_MS 1000

/* Get the region's size without querying a file system that may not answer. */
static int region_size(const char *path, int fd, uint64_t *out, struct ivs_error *err)
{
	struct ivs_received_mounts mounts;
	struct ivs_received received;
	struct stat st;

	ivs_received_mounts_open(&mounts);
	ivs_received_look(&mounts, fd, &received);
	ivs_received_mounts_close(&mounts);
	if (received.kind == IVS_RECEIVED_OTHER)
		return usage_failed("the region of the server at %s is neither memory nor on a "
				    "local disk (%s): QEMU could wait for it forever",
				    path, received.file_system);
	if (fstat(fd, &st))
		return usage_failed("cannot examine the region of the server at %s: %s", path,
				    strerror(errno));
	*out = (uint64_t)st.st_size;
	if (ivs_region_check_size(*out, err))
		return usage_failed("the region of the server at %s cannot be used by a device: "
				    "%s",
				    path, err->text);
	return 0;
}

void probe_leave(struct ivs_connection *connection, int limit_ms)
{
	int64_t deadline_ns = ivs_clock_deadline(limit_ms);
	struct pollfd wait = {.fd = connection->sock, .events = POLLIN};
	char bytes[4096];

	if (connection->sock >= 0 && !shutdown(connection->sock, SHUT_WR)) {
		while (ivs_clock_left_ms(deadline_ns) > 0) {
			ssize_t n = recv(connection->sock, bytes, sizeof(bytes), MSG_DONTWAIT);

			if (!n || (n < 0 && errno != EAGAIN && errno != EINTR))
				break;
			if (n < 0)
				(void)poll(&wait, 1, ivs_clock_left_ms(deadline_ns));
		}
	}
	ivs_connection_deinit(connection);
}

static unsigned int count_others(const struct ivs_doorbells *doorbells)
{
	unsigned int n = 0;

	for (unsigned int id = 0; id < doorbells->ids_n; id++)
		n += ivs_doorbells_vectors(doorbells, id) > 0;
	return n;
}

static int take_greeting(const char *path, struct ivs_connection *connection, struct probe *out)
{
	struct ivs_greeting greeting = {.deadline_ns = ivs_clock_deadline(GREETING_MS)};
	struct ivs_connection_event event;
	struct ivs_error err;
	int status = 0;
	int result;

	result = ivs_greeting_connect(&greeting, connection, path, &err);
	while (!result && !status) {
		result = ivs_greeting_next(&greeting, connection, &event, &err);
		if (!result && event.type == IVS_CONNECTION_REGION)
			status = region_size(path, event.fd, &out->size, &err);
		if (!result)
			ivs_fd_close(&event.fd);
	}
	if (status)
		return status;
	if (result != IVS_CONNECTION_E_AGAIN)
		return usage_failed("%s", err.text);
	out->vectors_n = greeting.vectors_n;
	out->others_n = count_others(&connection->doorbells);
	out->id = (unsigned int)connection->id;
	out->has_first = ivs_doorbells_vectors(&connection->doorbells, 0);
	return 0;
}

int probe_server(const char *path, struct probe *out)
{
	struct ivs_connection connection = IVS_CONNECTION_INIT;
	int status;

	*out = (struct probe){0};
	status = take_greeting(path, &connection, out);
	/* Wait, so that QEMU never hears of this client. */
	probe_leave(&connection, LEAVE_MS);
	return status;
}

int probe_device(const char *path)
{
	char why[IVS_ACCESS_TEXT_LEN];
	struct sockaddr_un addr;
	struct ivs_error err;
	IVS_OWNED_FD fd = -1;

	if (!ivs_unix_address(path, &addr, &err))
		return usage_failed("%s", err.text);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return usage_failed("cannot create a socket: %s", strerror(errno));
	/* EPROTOTYPE: the path is a stream socket, and a process listens at it. */
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)) && errno == EPROTOTYPE)
		return 0;
	if (errno == ENOENT || errno == ECONNREFUSED)
		return usage_failed("no ivshmem-device listens at %s: start it first "
				    "(ivshmem-device --socket %s ...)",
				    path, path);
	if (errno == EACCES)
		return usage_failed("cannot connect to %s: Permission denied: %s", path,
				    ivs_access_explain(path, W_OK, why));
	return usage_failed("%s is not the socket of an ivshmem-device", path);
}
