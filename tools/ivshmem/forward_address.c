/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/forward_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/fdpass.h"
#include "base/parse.h"
#include "tools/shared/usage.h"

#define TCP "tcp:"
#define UNIX "unix:"
#define FORMS "use unix:PATH or tcp:HOST:PORT"
#define HOST_FORMS "use an IPv4 address, an IPv6 address in brackets ([::1]), or localhost"
#define HOST_LEN (INET6_ADDRSTRLEN + 2)

static int parse_unix(const char *text, struct forward_address *out)
{
	struct sockaddr_un *to = (struct sockaddr_un *)&out->to;
	struct ivs_error err;

	if (!ivs_unix_address(text + strlen(UNIX), to, &err)) {
		usage_failed("invalid address \"%s\": %s", text, err.text);
		return STATUS_USAGE;
	}
	out->len = sizeof(*to);
	return 0;
}

/* Return: whether @host is the text of an IP address, or localhost. */
static bool parse_host(const char *host, uint16_t port, struct forward_address *out)
{
	struct sockaddr_in *to = (struct sockaddr_in *)&out->to;
	struct sockaddr_in6 *to6 = (struct sockaddr_in6 *)&out->to;
	char inner[HOST_LEN];
	size_t len = strlen(host);

	if (*host == '[' && host[len - 1] == ']') {
		snprintf(inner, sizeof(inner), "%.*s", (int)len - 2, host + 1);
		*to6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
		out->len = sizeof(*to6);
		return inet_pton(AF_INET6, inner, &to6->sin6_addr) == 1;
	}
	*to = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
	out->len = sizeof(*to);
	return inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &to->sin_addr) ==
	       1;
}

static int parse_tcp(const char *text, struct forward_address *out)
{
	const char *from = text + strlen(TCP);
	const char *colon = strrchr(from, ':');
	char host[HOST_LEN];
	uint64_t port;

	if (!colon || !ivs_parse_uint(colon + 1, 0, UINT16_MAX, &port))
		return usage_error("invalid port in the address", text,
				   "use tcp:HOST:PORT, such as tcp:127.0.0.1:2222");
	if (colon - from >= (ptrdiff_t)sizeof(host))
		return usage_error("invalid host in the address", text, HOST_FORMS);
	snprintf(host, sizeof(host), "%.*s", (int)(colon - from), from);
	if (!parse_host(host, (uint16_t)port, out))
		return usage_error("invalid host in the address", text, HOST_FORMS);
	return 0;
}

int forward_address_parse(const char *text, struct forward_address *out)
{
	*out = (struct forward_address){.text = text};
	if (!strncmp(text, UNIX, strlen(UNIX)))
		return parse_unix(text, out);
	if (!strncmp(text, TCP, strlen(TCP)))
		return parse_tcp(text, out);
	return usage_error("invalid address", text, FORMS);
}

static const struct sockaddr *sockaddr_of(const struct forward_address *address)
{
	return (const struct sockaddr *)&address->to;
}

static int listen_tcp(const struct forward_address *address, struct ivs_listener *out)
{
	const int on = 1;
	IVS_OWNED_FD fd = socket(address->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				 0);

	if (fd < 0)
		return usage_failed("%s: cannot create a socket: %s", address->text,
				    strerrordesc_np(errno));
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (address->to.ss_family == AF_INET6)
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on));
	if (bind(fd, sockaddr_of(address), address->len) || listen(fd, SOMAXCONN))
		return usage_failed(
			"cannot listen at %s: %s%s", address->text, strerrordesc_np(errno),
			errno == EADDRINUSE ? ": stop the program that uses it, or use another port"
					    : "");
	out->fd = ivs_fd_take(&fd);
	return 0;
}

int forward_address_listen(const struct forward_address *address, struct ivs_listener *out)
{
	struct ivs_listener_options opts = {.uid = (uid_t)-1, .gid = (gid_t)-1};
	struct ivs_error err;

	if (!forward_address_is_unix(address))
		return listen_tcp(address, out);
	opts.path = address->text + strlen(UNIX);
	return ivs_listener_open(out, &opts, &err) ? usage_failed("%s", err.text) : 0;
}

const char *forward_address_bound(const struct forward_address *address, int fd,
				  char out[FORWARD_ADDRESS_LEN])
{
	struct sockaddr_storage bound;
	socklen_t len = sizeof(bound);
	const char *colon = strrchr(address->text, ':');
	in_port_t port;

	if (forward_address_is_unix(address) || getsockname(fd, (struct sockaddr *)&bound, &len))
		return address->text;
	port = bound.ss_family == AF_INET ? ((const struct sockaddr_in *)&bound)->sin_port
					  : ((const struct sockaddr_in6 *)&bound)->sin6_port;
	snprintf(out, FORWARD_ADDRESS_LEN, "%.*s:%u", (int)(colon - address->text), address->text,
		 ntohs(port));
	return out;
}

/* What all sockets of connections need. Failures do no harm. */
static int prepared(const struct forward_address *address, int fd)
{
	const int on = 1;

	if (forward_address_is_unix(address))
		(void)!ivs_fdpass_take_urgent(fd);
	else
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

int forward_address_connect(const struct forward_address *address)
{
	IVS_OWNED_FD fd = socket(address->to.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK,
				 0);

	if (fd < 0 || (connect(fd, sockaddr_of(address), address->len) && errno != EINPROGRESS))
		return -errno;
	return prepared(address, ivs_fd_take(&fd));
}

int forward_address_accept(const struct forward_address *address, int fd)
{
	int connection_fd = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	return connection_fd < 0 ? -errno : prepared(address, connection_fd);
}
