/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/ask.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/access.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/file.h"
#include "base/text.h"
#include "base/unix_address.h"

#define LIMIT_S 5
#define REPLY_MAX (64u << 20)

int ask_doubt(const struct ask *ask, const char *does, struct ivs_error *err)
{
	return ivs_error_set(err, ASK_E_FAILED,
			     "%s %s: is it the control socket (--control) of %s, and not the one "
			     "for %s?",
			     ask->path, does, ask->program, ask->others);
}

static unsigned int ask_limit_s(const struct ask *ask)
{
	return ask->limit_s ? ask->limit_s : LIMIT_S;
}

/* Set @err to say that the program did not do something within the time limit. */
static int ask_timeout(const struct ask *ask, const char *what, struct ivs_error *err)
{
	char does[64];

	snprintf(does, sizeof(does), "did not %s within %u s", what, ask_limit_s(ask));
	return ask_doubt(ask, does, err);
}

/* Set @err to explain the errno that connect(2) has set. */
static int ask_connect_error(const struct ask *ask, struct ivs_error *err)
{
	const char *path = ask->path;
	char why[IVS_ACCESS_TEXT_LEN];
	int errnum = errno;
	struct stat st;
	bool is_socket = stat(path, &st) || S_ISSOCK(st.st_mode);

	switch (errnum) {
	case ENOENT:
		return ivs_error_set(err, ASK_E_FAILED,
				     "there is no socket %s: is the %s running, with --control "
				     "%s?",
				     path, ask->what, path);
	case ECONNREFUSED:
		return ivs_error_set(err, ASK_E_FAILED, "no process listens at %s: %s%s%s", path,
				     is_socket ? "the " : "", is_socket ? ask->what : "it is ",
				     is_socket ? " has ended without removing it"
					       : ivs_file_kind(st.st_mode));
	case EACCES:
		return ivs_error_set(err, ASK_E_FAILED,
				     "no permission to connect to %s: %s (or --control-mode, "
				     "--control-group of the %s)",
				     path, ivs_access_explain(path, W_OK, why), ask->what);
	case EAGAIN:
		return ask_timeout(ask, "accept a connection", err);
	case EPROTOTYPE:
		return ask_doubt(ask, "is a socket of a different type", err);
	default:
		return ivs_error_errno(err, errnum, "cannot connect to %s", path);
	}
}

static int ask_connect(const struct ask *ask, int *out, struct ivs_error *err)
{
	const struct timeval timeout = {.tv_sec = ask_limit_s(ask)};
	struct sockaddr_un addr;
	const char *path = ask->path;
	IVS_OWNED_FD fd = -1;

	if (!ivs_unix_address(path, &addr, err))
		return ASK_E_FAILED;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)))
		return ivs_error_errno(err, errno, "cannot create a socket");
	if (connect(fd, (const struct sockaddr *)&addr, sizeof(addr)))
		return ask_connect_error(ask, err);
	*out = ivs_fd_take(&fd);
	return 0;
}

/* Make room for more text and a NUL. Return: whether there is room. */
static bool reply_make_room(struct reply *reply, size_t *room)
{
	size_t more = *room ? *room * 2 : 65536;
	char *bigger;

	if (reply->len + 1 < *room)
		return true;
	bigger = more > REPLY_MAX ? NULL : realloc(reply->text, more);
	if (!bigger)
		return false;
	reply->text = bigger;
	*room = more;
	return true;
}

/* Receive a reply up to its newline, which is removed. */
static int ask_receive(const struct ask *ask, int fd, struct reply *reply, struct ivs_error *err)
{
	int64_t deadline = ivs_clock_deadline((int)ask_limit_s(ask) * 1000);
	struct pollfd wait = {.fd = fd, .events = POLLIN};
	size_t room = 0;

	for (;;) {
		char *end;
		ssize_t n;

		if (poll(&wait, 1, ivs_clock_left_ms(deadline)) == 0)
			return ask_timeout(ask, "answer", err);
		if (!reply_make_room(reply, &room))
			return ask_doubt(ask, "sent an endless reply", err);
		n = recv(fd, reply->text + reply->len, room - reply->len - 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0 && !reply->len)
			return ask_doubt(ask, "closed the connection without a reply", err);
		if (n <= 0)
			return ivs_error_set(err, ASK_E_FAILED,
					     "the %s at %s closed the connection before its "
					     "reply was complete",
					     ask->what, ask->path);
		end = memchr(reply->text + reply->len, '\n', (size_t)n);
		reply->len += (size_t)n;
		reply->text[reply->len] = '\0';
		if (*reply->text != '{')
			return ask_doubt(ask, "sent an unexpected reply", err);
		if (end) {
			*end = '\0';
			reply->len = (size_t)(end - reply->text);
			return 0;
		}
	}
}

static int ask_parse_reply(const struct ask *ask, struct reply *reply, struct ivs_error *err)
{
	const char *reason;
	char text[256];

	reply->json = json_loadb(reply->text, reply->len, 0, NULL);
	if (!reply->json)
		return ask_doubt(ask, "sent an unexpected reply", err);
	reason = json_string_value(json_object_get(reply->json, "error"));
	if (!reason)
		return 0;
	return ivs_error_set(err, ASK_E_FAILED, "the %s at %s says: %s", ask->what, ask->path,
			     ivs_text_shown(reason, text, sizeof(text)));
}

int ask_request(const struct ask *ask, const char *request, struct reply *reply,
		struct ivs_error *err)
{
	IVS_OWNED_FD fd = -1;
	int result;

	*reply = (struct reply){0};
	result = ask_connect(ask, &fd, err);
	if (result)
		return result;
	/* If the program has already closed the connection, its reply may say why. */
	if (send(fd, request, strlen(request), MSG_NOSIGNAL) < 0 && errno != EPIPE &&
	    errno != ECONNRESET)
		return ivs_error_errno(err, errno, "cannot send a request to %s", ask->path);
	result = ask_receive(ask, fd, reply, err);
	return result ? result : ask_parse_reply(ask, reply, err);
}

void reply_deinit(struct reply *reply)
{
	free(reply->text);
	json_decref(reply->json);
	*reply = (struct reply){0};
}
