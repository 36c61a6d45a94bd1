/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/service.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "base/parse.h"
#include "base/unix_address.h"

#define TEXT_LEN (IVS_NAMED_FD_LEN + 64)

IVS_SYSCALLS(ivs_service_syscalls, {"sendto"}, {"send"}, {"sendmmsg"}, {"pipe2"}, {"close"});

/* If WATCHDOG_PID names another process, WATCHDOG_USEC was inherited and is not meant for us. */
static int64_t watchdog_of_environment(void)
{
	const char *pid = getenv("WATCHDOG_PID");
	const char *text = getenv("WATCHDOG_USEC");
	uint64_t usec;
	uint64_t number;

	if (!text || !ivs_parse_uint(text, 1, INT64_MAX / 1000, &usec))
		return 0;
	if (pid && (!ivs_parse_uint(pid, 1, INT32_MAX, &number) || (pid_t)number != getpid()))
		return 0;
	return (int64_t)usec * 1000;
}

int ivs_service_open(struct ivs_service *service, struct ivs_error *err)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr;
	IVS_OWNED_FD sock = -1;

	*service = (struct ivs_service){.sock_fd = -1};
	if (!path || !*path)
		return 0;
	if ((*path != '/' && *path != '@') || !ivs_unix_address(path, &addr, NULL))
		return ivs_error_errno(err, EINVAL, "NOTIFY_SOCKET=%s cannot be used", path);
	if (*path == '@')
		addr.sun_path[0] = '\0'; /* the address is in the abstract namespace */
	sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock < 0 || connect(sock, (const struct sockaddr *)&addr,
				(socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))))
		return ivs_error_errno(err, errno, "cannot reach the service manager at %s", path);
	service->sock_fd = ivs_fd_take(&sock);
	service->watchdog_ns = watchdog_of_environment();
	return 0;
}

void ivs_service_adopt(struct ivs_service *service, int sock)
{
	*service = (struct ivs_service){sock, sock < 0 ? 0 : watchdog_of_environment()};
}

void ivs_service_close(struct ivs_service *service)
{
	ivs_fd_close(&service->sock_fd);
}

static int send_result(int errnum)
{
	switch (errnum) {
	case EAGAIN:
	case ETOOMANYREFS:
	case ENOBUFS:
	case ENOMEM:
		return IVS_SERVICE_E_LATER;
	default:
		return -errnum;
	}
}

int ivs_service_say(const struct ivs_service *service, const char *text)
{
	if (!ivs_service_exists(service))
		return 0;
	return send(service->sock_fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) < 0
		       ? send_result(errno)
		       : 0;
}

/* The service manager closes the fd that comes with this message when it has read the message. */
int ivs_service_barrier(const struct ivs_service *service, int *fd)
{
	static char text[] = "BARRIER=1";
	struct iovec iov = {text, strlen(text)};
	struct mmsghdr hdr = {.msg_hdr = {.msg_iov = &iov, .msg_iovlen = 1}};
	union ivs_fdpass_control control;
	unsigned int sent_n;
	int ends[2];
	int result;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK))
		return errno == EMFILE || errno == ENFILE ? IVS_SERVICE_E_LATER
							  : send_result(errno);
	ivs_fdpass_attach(&hdr.msg_hdr, &control, ends[1]);
	result = ivs_fdpass_send(service->sock_fd, &hdr, 1, &sent_n);
	ivs_fd_close(&ends[1]);
	if (!result) {
		*fd = ends[0];
		return 0;
	}
	ivs_fd_close(&ends[0]);
	return send_result(-result);
}

/* Send one datagram per fd, so that each fd has its own name. */
static int send_all(const struct ivs_service *service, const struct ivs_named_fd *fds,
		    unsigned int fds_n, bool store, unsigned int *sent_n)
{
	/* FDPOLL=0: keep a client's socket in the fd store even after the client has closed it. */
	const char *format = store ? "FDSTORE=1\nFDPOLL=0\nFDNAME=%s"
				   : "FDSTOREREMOVE=1\nFDNAME=%s";
	char texts[IVS_SERVICE_BATCH][TEXT_LEN];
	union ivs_fdpass_control control[IVS_SERVICE_BATCH];
	struct mmsghdr hdrs[IVS_SERVICE_BATCH];
	struct iovec iov[IVS_SERVICE_BATCH];
	int result;

	*sent_n = 0;
	if (fds_n > IVS_SERVICE_BATCH)
		return -EINVAL;
	for (unsigned int i = 0; i < fds_n; i++) {
		snprintf(texts[i], sizeof(texts[i]), format, fds[i].name);
		iov[i] = (struct iovec){texts[i], strlen(texts[i])};
		hdrs[i] = (struct mmsghdr){.msg_hdr = {.msg_iov = &iov[i], .msg_iovlen = 1}};
		if (store)
			ivs_fdpass_attach(&hdrs[i].msg_hdr, &control[i], fds[i].fd);
	}
	result = ivs_fdpass_send(service->sock_fd, hdrs, fds_n, sent_n);
	return result ? send_result(-result) : 0;
}

int ivs_service_store(const struct ivs_service *service, const struct ivs_named_fd *fds,
		      unsigned int fds_n, unsigned int *stored_n)
{
	return send_all(service, fds, fds_n, true, stored_n);
}

int ivs_service_forget(const struct ivs_service *service, const struct ivs_named_fd *fds,
		       unsigned int fds_n, unsigned int *forgotten_n)
{
	return send_all(service, fds, fds_n, false, forgotten_n);
}
