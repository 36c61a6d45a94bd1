/* SPDX-License-Identifier: BSD-3-Clause */
#include "qmp/connection.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "base/access.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "base/text.h"

#define RECV_LEN (64u << 10)
#define CONNECT_PAUSE_NS (10 * IVS_NS_PER_MS)
#define BUSY_ADVICE                                                                                \
	"QEMU is hung, or another program is connected to this monitor, which serves one "         \
	"program at a time (give QEMU a second -qmp)"

static int qmp_hung(struct ivs_qmp *qmp, const char *command, struct ivs_error *err)
{
	qmp->hung = true;
	if (!command)
		return ivs_error_set(
			err, IVS_QMP_E_HUNG,
			"the monitor at %s is hung, with no greeting in %d s: " BUSY_ADVICE,
			qmp->path, (qmp->timeout_ms + 999) / 1000);
	return ivs_error_set(err, IVS_QMP_E_HUNG,
			     "the monitor at %s is hung: no answer to %s in %d s", qmp->path,
			     command, (qmp->timeout_ms + 999) / 1000);
}

static int qmp_lost(struct ivs_qmp *qmp, struct ivs_error *err)
{
	qmp->broken = true;
	return ivs_error_set(err, IVS_QMP_E_LOST,
			     "the monitor at %s closed the connection: QEMU has ended, or has "
			     "disconnected this program",
			     qmp->path);
}

static int qmp_protocol(struct ivs_qmp *qmp, const char *why, struct ivs_error *err)
{
	qmp->broken = true;
	return ivs_error_set(err, IVS_QMP_E_PROTOCOL,
			     "the process that listens at %s does not speak QMP (%s): use the "
			     "socket of -qmp, not of -monitor",
			     qmp->path, why);
}

/* Wait until the socket is ready. Return: 0 if it may be; 1 at the deadline; -errno. */
static int qmp_poll(const struct ivs_qmp *qmp, short events, int64_t deadline_ns, bool *stop)
{
	struct pollfd fds[2] = {{.fd = qmp->sock, .events = events},
				{.fd = stop ? qmp->stop_fd : -1, .events = POLLIN}};
	int n = poll(fds, 2, ivs_clock_left_ms(deadline_ns));

	if (n < 0)
		return errno == EINTR ? 0 : -errno;
	if (stop && fds[1].revents)
		*stop = true;
	return n ? 0 : 1;
}

/* Make room for RECV_LEN bytes. Return: whether there is room. */
static bool qmp_make_room(struct ivs_qmp *qmp)
{
	char *grown;

	if (qmp->text_from) {
		qmp->text_len -= qmp->text_from;
		memmove(qmp->text, qmp->text + qmp->text_from, qmp->text_len);
		qmp->text_from = 0;
	}
	if (qmp->text_room - qmp->text_len >= RECV_LEN)
		return true;
	grown = realloc(qmp->text, qmp->text_len * 2 + RECV_LEN);
	if (!grown)
		return false;
	qmp->text = grown;
	qmp->text_room = qmp->text_len * 2 + RECV_LEN;
	return true;
}

/* Receive what there is. Return: 0; -EAGAIN: nothing; IVS_QMP_E_LOST; -errno. */
static int qmp_receive(struct ivs_qmp *qmp, struct ivs_error *err)
{
	ssize_t n;

	if (!qmp_make_room(qmp))
		return ivs_error_errno(err, ENOMEM, "cannot receive from the monitor at %s",
				       qmp->path);
	n = recv(qmp->sock, qmp->text + qmp->text_len, RECV_LEN, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return -EAGAIN;
	if (n <= 0)
		return qmp_lost(qmp, err);
	qmp->text_len += (size_t)n;
	return 0;
}

/* Take the next line that is not empty. Return: NULL if there is none. */
static const char *qmp_take_line(struct ivs_qmp *qmp, size_t *len)
{
	for (;;) {
		char *line = qmp->text + qmp->text_from;
		char *end = qmp->text_len > qmp->text_from
				    ? memchr(line, '\n', qmp->text_len - qmp->text_from)
				    : NULL;

		if (!end)
			return NULL;
		*len = (size_t)(end - line);
		qmp->text_from += *len + 1;
		if (*len && line[*len - 1] == '\r')
			--*len;
		if (*len)
			return line;
	}
}

/*
 * Receive the next message. The limit on the length of a line stops a monitor that sends bytes
 * endlessly without a newline. Return: 0; IVS_QMP_E_TIMEOUT, _LOST, _PROTOCOL, _INTERRUPTED (only
 * if @stop is not NULL); -errno.
 */
static int qmp_next(struct ivs_qmp *qmp, int64_t deadline_ns, bool *stop,
		    struct ivs_qmp_message *out, struct ivs_error *err)
{
	struct ivs_error why;
	bool received = false;
	const char *line;
	size_t len;
	int result;

	while (!(line = qmp_take_line(qmp, &len))) {
		if (qmp->text_len - qmp->text_from > IVS_QMP_LINE_MAX)
			return qmp_protocol(qmp, "a message is longer than 1 MiB", err);
		/* There may always be something to receive, such as empty lines. */
		if (received && !ivs_clock_left_ms(deadline_ns))
			return IVS_QMP_E_TIMEOUT;
		result = qmp_receive(qmp, err);
		received |= !result;
		if (!result)
			continue;
		if (result != -EAGAIN)
			return result;
		result = qmp_poll(qmp, POLLIN, deadline_ns, stop);
		if (result < 0)
			return ivs_error_errno(err, -result, "cannot poll");
		if (stop && *stop)
			return ivs_error_set(err, IVS_QMP_E_INTERRUPTED, "interrupted");
		if (result)
			return IVS_QMP_E_TIMEOUT;
	}
	if (ivs_qmp_message_parse(line, len, out, &why))
		return qmp_protocol(qmp, why.text, err);
	return 0;
}

/* Take event @i out of the list. Return: the event. */
static json_t *qmp_cut_event(struct ivs_qmp *qmp, unsigned int i)
{
	json_t *event = qmp->events[i];
	size_t rest_n = --qmp->events_n - i;

	memmove(qmp->events + i, qmp->events + i + 1, rest_n * sizeof(*qmp->events));
	memmove(qmp->events_len + i, qmp->events_len + i + 1, rest_n * sizeof(*qmp->events_len));
	return event;
}

static void qmp_keep_event(struct ivs_qmp *qmp, struct ivs_qmp_message *message)
{
	size_t len = message->len;

	if (len > IVS_QMP_EVENT_LEN_MAX) {
		qmp->events_lost_n++;
		return;
	}
	for (unsigned int i = 0; i < qmp->events_n; i++)
		len += qmp->events_len[i];
	while (qmp->events_n == IVS_QMP_EVENTS_MAX || len > IVS_QMP_EVENTS_LEN_MAX) {
		len -= qmp->events_len[0];
		json_decref(qmp_cut_event(qmp, 0));
		qmp->events_lost_n++;
	}
	qmp->events_len[qmp->events_n] = message->len;
	qmp->events[qmp->events_n++] = message->json;
	message->json = NULL;
}

/* Send all bytes, and @fd with the first ones. Return: 0, IVS_QMP_E_HUNG, _LOST; -errno. */
static int qmp_send(struct ivs_qmp *qmp, const char *bytes, size_t len, int fd, int64_t deadline_ns,
		    const char *command, struct ivs_error *err)
{
	union ivs_fdpass_control control;
	size_t sent_len = 0;

	while (sent_len < len) {
		struct iovec iov = {(char *)bytes + sent_len, len - sent_len};
		struct msghdr hdr = {.msg_iov = &iov, .msg_iovlen = 1};
		ssize_t n;
		int result;

		if (fd >= 0 && !sent_len)
			ivs_fdpass_attach(&hdr, &control, fd);
		n = sendmsg(qmp->sock, &hdr, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n >= 0) {
			sent_len += (size_t)n;
			continue;
		}
		if (errno != EAGAIN && errno != EINTR)
			return errno == EPIPE || errno == ECONNRESET
				       ? qmp_lost(qmp, err)
				       : ivs_error_errno(err, errno, "cannot send to %s",
							 qmp->path);
		result = qmp_poll(qmp, POLLOUT, deadline_ns, NULL);
		if (result < 0)
			return ivs_error_errno(err, -result, "cannot poll");
		if (result) {
			qmp->broken = sent_len > 0; /* a command has been sent in part */
			return qmp_hung(qmp, command, err);
		}
	}
	return 0;
}

static int qmp_refused(struct ivs_qmp *qmp, const struct ivs_qmp_message *message,
		       const char *command, struct ivs_error *err)
{
	struct ivs_qmp_refusal *refusal = &qmp->refusal;

	ivs_text_shown(message->name, refusal->class, sizeof(refusal->class));
	ivs_text_shown(message->text, refusal->text, sizeof(refusal->text));
	return ivs_error_set(err, IVS_QMP_E_REFUSED, "QEMU refuses %s: %s", command, refusal->text);
}

/* Wait for the answer to the last command. Late answers to earlier commands are ignored. */
static int qmp_answer(struct ivs_qmp *qmp, int64_t deadline_ns, const char *command, json_t **out,
		      struct ivs_error *err)
{
	struct ivs_qmp_message message;
	int result;

	do {
		result = qmp_next(qmp, deadline_ns, NULL, &message, err);
		if (result)
			return result == IVS_QMP_E_TIMEOUT ? qmp_hung(qmp, command, err) : result;
		result = -EAGAIN;
		if (message.type == IVS_QMP_EVENT) {
			qmp_keep_event(qmp, &message);
		} else if (message.type == IVS_QMP_ERROR &&
			   (message.id == qmp->last_id || message.id < 0)) {
			result = qmp_refused(qmp, &message, command, err);
		} else if (message.type == IVS_QMP_RETURN && message.id == qmp->last_id) {
			if (out)
				*out = json_incref(message.data);
			result = 0;
		} else if (message.type == IVS_QMP_GREETING || message.id < 0 ||
			   message.id > qmp->last_id) {
			result = qmp_protocol(qmp, "a reply answers no command", err);
		}
		ivs_qmp_message_deinit(&message);
		if (result == -EAGAIN && !ivs_clock_left_ms(deadline_ns))
			result = qmp_hung(qmp, command, err);
	} while (result == -EAGAIN);
	return result;
}

/* Run a command; takes ownership of @arguments, which may be NULL. */
static int qmp_run(struct ivs_qmp *qmp, json_t **out, const char *command, json_t *arguments,
		   int fd, struct ivs_error *err)
{
	int64_t deadline_ns = ivs_clock_deadline(qmp->timeout_ms);
	json_t *request;
	char *text;
	int result;

	request = json_pack("{s:s, s:o*, s:I}", "execute", command, "arguments", arguments, "id",
			    ++qmp->last_id);
	text = request ? json_dumps(request, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
	json_decref(request);
	if (!text)
		return ivs_error_errno(err, ENOMEM, "cannot run %s", command);
	if (out)
		*out = NULL;
	qmp->hung = false;
	result = qmp->broken || qmp->sock < 0
			 ? qmp_lost(qmp, err)
			 : qmp_send(qmp, text, strlen(text), fd, deadline_ns, command, err);
	free(text);
	if (!result)
		result = qmp_send(qmp, "\n", 1, -1, deadline_ns, command, err);
	return result ? result : qmp_answer(qmp, deadline_ns, command, out, err);
}

int ivs_qmp_execute(struct ivs_qmp *qmp, json_t **out, struct ivs_error *err, const char *command,
		    const char *format, ...)
{
	json_t *arguments = NULL;
	va_list args;

	if (format) {
		va_start(args, format);
		arguments = json_vpack_ex(NULL, 0, format, args);
		va_end(args);
		if (!arguments)
			return ivs_error_set(err, -EINVAL,
					     "cannot run %s: an argument is not UTF-8", command);
	}
	return qmp_run(qmp, out, command, arguments, -1, err);
}

int ivs_qmp_send_fd(struct ivs_qmp *qmp, const char *name, int fd, struct ivs_error *err)
{
	json_t *arguments = json_pack("{s:s}", "fdname", name);

	if (!arguments)
		return ivs_error_errno(err, ENOMEM, "cannot run getfd");
	return qmp_run(qmp, NULL, "getfd", arguments, fd, err);
}

static int qmp_connect_error(const struct ivs_qmp *qmp, int errnum, struct ivs_error *err)
{
	char why[IVS_ACCESS_TEXT_LEN];

	switch (errnum) {
	case ENOENT:
		return ivs_error_set(err, IVS_QMP_E_ABSENT,
				     "there is no socket %s: is QEMU running, with -qmp "
				     "unix:%s,server=on,wait=off?",
				     qmp->path, qmp->path);
	case ECONNREFUSED:
		return ivs_error_set(err, IVS_QMP_E_ABSENT,
				     "no process listens at %s: QEMU has ended, or this is not a "
				     "monitor's socket",
				     qmp->path);
	case EACCES:
		return ivs_error_set(err, -EACCES, "cannot connect to %s: Permission denied: %s",
				     qmp->path, ivs_access_explain(qmp->path, W_OK, why));
	case EPROTOTYPE:
		return ivs_error_set(err, IVS_QMP_E_ABSENT,
				     "%s is a socket of a different type: use the socket of -qmp",
				     qmp->path);
	default:
		return ivs_error_errno(err, errnum, "cannot connect to %s", qmp->path);
	}
}

static int qmp_open(struct ivs_qmp *qmp, int64_t deadline_ns, struct ivs_error *err)
{
	const struct timespec pause = {.tv_nsec = CONNECT_PAUSE_NS};
	struct ucred cred;
	socklen_t len = sizeof(cred);
	struct sockaddr_un addr;

	if (!ivs_unix_address(qmp->path, &addr, err))
		return IVS_QMP_E_ABSENT;
	qmp->sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (qmp->sock < 0)
		return ivs_error_errno(err, errno, "cannot create a socket");
	/* EAGAIN: other programs are already waiting for this monitor. */
	while (connect(qmp->sock, (const struct sockaddr *)&addr, sizeof(addr))) {
		if (errno != EAGAIN && errno != EINTR)
			return qmp_connect_error(qmp, errno, err);
		if (!ivs_clock_left_ms(deadline_ns))
			return qmp_hung(qmp, NULL, err);
		nanosleep(&pause, NULL);
	}
	if (!getsockopt(qmp->sock, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		qmp->pid = cred.pid;
	return 0;
}

static void qmp_take_version(struct ivs_qmp *qmp, const json_t *version)
{
	static const char *const keys[] = {"major", "minor", "micro"};
	unsigned int *const places[] = {&qmp->version.major, &qmp->version.minor,
					&qmp->version.micro};

	for (unsigned int i = 0; i < 3; i++) {
		json_int_t n = json_integer_value(json_object_get(version, keys[i]));

		*places[i] = n < 0 || n > 9999 ? 9999 : (unsigned int)n;
	}
}

static int qmp_greet(struct ivs_qmp *qmp, int64_t deadline_ns, struct ivs_error *err)
{
	struct ivs_qmp_message message;
	int result = qmp_next(qmp, deadline_ns, NULL, &message, err);

	if (result)
		return result == IVS_QMP_E_TIMEOUT ? qmp_hung(qmp, NULL, err) : result;
	if (message.type == IVS_QMP_GREETING)
		qmp_take_version(qmp, message.data);
	else
		result = qmp_protocol(qmp, "the first message is not a greeting", err);
	ivs_qmp_message_deinit(&message);
	return result;
}

int ivs_qmp_connect(struct ivs_qmp *qmp, const char *path, struct ivs_error *err)
{
	int64_t deadline_ns = ivs_clock_deadline(qmp->timeout_ms);
	struct sockaddr_un addr;
	int result;

	if (!ivs_unix_address(path, &addr, err))
		return IVS_QMP_E_ABSENT;
	memcpy(qmp->path, addr.sun_path, sizeof(qmp->path));
	result = qmp_open(qmp, deadline_ns, err);
	if (!result)
		result = qmp_greet(qmp, deadline_ns, err);
	return result ? result : ivs_qmp_execute(qmp, NULL, err, "qmp_capabilities", NULL);
}

void ivs_qmp_forget_events(struct ivs_qmp *qmp)
{
	while (qmp->events_n)
		json_decref(qmp->events[--qmp->events_n]);
}

void ivs_qmp_close(struct ivs_qmp *qmp)
{
	ivs_qmp_forget_events(qmp);
	free(qmp->text);
	qmp->text = NULL;
	qmp->text_from = qmp->text_len = qmp->text_room = 0;
	ivs_fd_close(&qmp->sock);
}

static bool event_is(const json_t *event, const struct ivs_qmp_wanted *wanted)
{
	const char *name = json_string_value(json_object_get(event, "event"));
	const char *value;

	if (!name || strcmp(name, wanted->name))
		return false;
	if (!wanted->key)
		return true;
	value = json_string_value(json_object_get(json_object_get(event, "data"), wanted->key));
	return value && !strcmp(value, wanted->value);
}

/* Take the oldest event that is wanted. Return: NULL if there is none. */
static json_t *qmp_take_event(struct ivs_qmp *qmp, const struct ivs_qmp_wanted *wanted,
			      unsigned int wanted_n)
{
	for (unsigned int i = 0; i < qmp->events_n; i++) {
		for (unsigned int k = 0; k < wanted_n; k++) {
			if (event_is(qmp->events[i], &wanted[k]))
				return qmp_cut_event(qmp, i);
		}
	}
	return NULL;
}

int ivs_qmp_wait_event(struct ivs_qmp *qmp, const struct ivs_qmp_wanted *wanted,
		       unsigned int wanted_n, int64_t deadline_ns, json_t **out,
		       struct ivs_error *err)
{
	struct ivs_qmp_message message;
	bool late = false;
	bool stop = false;
	int result;

	if (qmp->broken || qmp->sock < 0)
		return qmp_lost(qmp, err);
	for (;;) {
		*out = qmp_take_event(qmp, wanted, wanted_n);
		if (*out)
			return 0;
		if (late)
			break;
		late = !ivs_clock_left_ms(deadline_ns);
		result = qmp_next(qmp, deadline_ns, &stop, &message, err);
		if (result == IVS_QMP_E_TIMEOUT)
			break;
		if (result)
			return result;
		/* A message that is not an event is a late answer to an earlier command. */
		if (message.type == IVS_QMP_EVENT)
			qmp_keep_event(qmp, &message);
		ivs_qmp_message_deinit(&message);
	}
	return ivs_error_set(err, IVS_QMP_E_TIMEOUT, "the event %s did not arrive in time",
			     wanted->name);
}
