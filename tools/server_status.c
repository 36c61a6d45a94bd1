/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Asks once, reads one line, and prints. The reply is not trusted: what it lacks is shown as "-", and
 * nothing in it reaches the terminal but characters that can be seen.
 */
#include "server_status.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "server_options.h"
#include "util/clock.h"
#include "util/error.h"
#include "util/fd.h"
#include "util/log.h"
#include "util/parse.h"
#include "util/text.h"

#define TIMEOUT_S 5
#define REPLY_MAX (64u << 20)
#define CELL_LEN 64
#define DOORBELLS_SHOWN 16 /* of one client */

/* What is asked; old servers may not know a newer request, and say so. */
static const char request_text[] = "{\"request\":\"status\",\"doorbells\":true}\n";

enum {
	E_STATUS = 1, /* the reason is in the struct ivs_error */
};

/* What was received, NUL-terminated. */
struct reply {
	char *text;
	size_t len;
	size_t room;
};

static int not_a_server(const char *path, const char *what, struct ivs_error *err)
{
	return ivs_error_set(err, E_STATUS,
			     "%s %s: is it the control socket (--control) of an ivshmem-server, "
			     "and not the one for clients?",
			     path, what);
}

static int connect_to(const char *path, int *out, struct ivs_error *err)
{
	const struct timeval timeout = {.tv_sec = TIMEOUT_S};
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	IVS_OWNED_FD fd = -1;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return ivs_error_set(err, E_STATUS,
				     "the socket's path has %zu bytes; 1 to %zu are possible: %s",
				     strlen(path), sizeof(addr.sun_path) - 1, path);
	strcpy(addr.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout)))
		return ivs_error_errno(err, errno, "cannot make a socket");
	if (!connect(fd, (const struct sockaddr *)&addr, sizeof(addr))) {
		*out = ivs_fd_take(&fd);
		return 0;
	}
	switch (errno) {
	case ENOENT:
		return ivs_error_set(err, E_STATUS,
				     "there is no socket %s: is the server running, with --control "
				     "%s?",
				     path, path);
	case ECONNREFUSED:
		return ivs_error_set(err, E_STATUS,
				     "nobody listens at %s: the server has ended without removing "
				     "it, or it is no socket",
				     path);
	case EACCES:
	case EPERM:
		return ivs_error_set(err, E_STATUS,
				     "not allowed to ask at %s: its permissions say who is "
				     "(--control-mode, --control-group of the server)",
				     path);
	case EAGAIN:
		return not_a_server(path, "does not accept a connection in 5 s", err);
	case EPROTOTYPE:
		return not_a_server(path, "is a socket of another type", err);
	default:
		return ivs_error_errno(err, errno, "cannot connect to %s", path);
	}
}

/* Return: whether there is room for more. */
static bool make_room(struct reply *reply)
{
	size_t room = reply->room ? reply->room * 2 : 65536;
	char *bigger;

	if (reply->len + 1 < reply->room)
		return true;
	bigger = room > REPLY_MAX ? NULL : realloc(reply->text, room);
	if (!bigger)
		return false;
	reply->text = bigger;
	reply->room = room;
	return true;
}

/* Until the newline, which is cut off. */
static int read_reply(int fd, const char *path, struct reply *reply, struct ivs_error *err)
{
	int64_t deadline = ivs_clock_deadline(TIMEOUT_S * 1000);
	struct pollfd wait = {.fd = fd, .events = POLLIN};

	for (;;) {
		char *end;
		ssize_t n;

		if (poll(&wait, 1, ivs_clock_left_ms(deadline)) == 0)
			return not_a_server(path, "did not answer in 5 s", err);
		if (!make_room(reply))
			return not_a_server(path, "answers without an end", err);
		n = recv(fd, reply->text + reply->len, reply->room - reply->len - 1, MSG_DONTWAIT);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			return ivs_error_set(err, E_STATUS,
					     "the server at %s ended the connection before its "
					     "reply was complete",
					     path);
		end = memchr(reply->text + reply->len, '\n', (size_t)n);
		reply->len += (size_t)n;
		reply->text[reply->len] = '\0';
		if (*reply->text != '{')
			return not_a_server(path, "answers something else", err);
		if (end) {
			*end = '\0';
			reply->len = (size_t)(end - reply->text);
			return 0;
		}
	}
}

static int ask(const char *path, struct reply *reply, struct ivs_error *err)
{
	IVS_OWNED_FD fd = -1;
	int result;

	result = connect_to(path, &fd, err);
	if (result)
		return result;
	/* Whoever closes at once may have said why: that is read first. */
	if (send(fd, request_text, sizeof(request_text) - 1, MSG_NOSIGNAL) < 0 && errno != EPIPE &&
	    errno != ECONNRESET)
		return ivs_error_errno(err, errno, "cannot ask at %s", path);
	return read_reply(fd, path, reply, err);
}

enum column {
	COLUMN_ID,
	COLUMN_PID,
	COLUMN_PROGRAM,
	COLUMN_USER,
	COLUMN_SINCE,
	COLUMN_STATE,
	COLUMN_VECTORS,
	COLUMN_BEHIND,
	COLUMN_DOORBELLS, /* the last: need not be filled up */
	COLUMNS_N,
};

static const struct {
	const char *title;
	bool right;
} columns[COLUMNS_N] = {
	[COLUMN_ID] = {"ID", true},
	[COLUMN_PID] = {"PID", true},
	[COLUMN_PROGRAM] = {"PROGRAM", false},
	[COLUMN_USER] = {"USER", false},
	[COLUMN_SINCE] = {"SINCE", false},
	[COLUMN_STATE] = {"STATE", false},
	[COLUMN_VECTORS] = {"VECTORS", true},
	[COLUMN_BEHIND] = {"BEHIND", true},
	[COLUMN_DOORBELLS] = {"DOORBELLS", false},
};

/* One line of the table. The doorbells of one client may be many: they have room of their own. */
struct row {
	char cells[COLUMN_DOORBELLS][CELL_LEN];
	char doorbells[DOORBELLS_SHOWN * 21 + 32];
};

/* A member as text fit for a terminal: "-" if it is not there. */
static const char *show(const json_t *object, const char *key, char *out, size_t out_len)
{
	const json_t *value = json_object_get(object, key);

	if (json_is_string(value))
		return ivs_text_shown(json_string_value(value), out, out_len);
	if (json_is_integer(value))
		snprintf(out, out_len, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	else
		snprintf(out, out_len, "%s", json_is_null(value) ? "none" : "-");
	return out;
}

static void show_program(const json_t *peer, char out[CELL_LEN])
{
	char path[64];
	char name[CELL_LEN] = "";
	FILE *file;

	snprintf(out, CELL_LEN, "-");
	snprintf(path, sizeof(path), "/proc/%" JSON_INTEGER_FORMAT "/comm",
		 json_integer_value(json_object_get(peer, "pid")));
	file = fopen(path, "re");
	if (!file)
		return;
	if (fgets(name, sizeof(name), file)) {
		name[strcspn(name, "\n")] = '\0';
		ivs_text_shown(name, out, CELL_LEN);
	}
	fclose(file);
}

static void show_user(const json_t *peer, char out[CELL_LEN])
{
	const json_t *uid = json_object_get(peer, "uid");
	const struct passwd *user = NULL;

	if (json_is_integer(uid))
		user = getpwuid((uid_t)json_integer_value(uid));
	if (user)
		ivs_text_shown(user->pw_name, out, CELL_LEN);
	else
		show(peer, "uid", out, CELL_LEN);
}

/* Without the fraction: "2024-05-31T12:34:56Z" */
static const char *show_time(const json_t *object, const char *key, char out[CELL_LEN])
{
	char *dot;

	show(object, key, out, CELL_LEN);
	dot = strchr(out, '.');
	if (dot)
		strcpy(dot, "Z");
	return out;
}

static void show_doorbells(const json_t *peer, char *out, size_t out_len)
{
	const json_t *counts = json_object_get(peer, "doorbells");
	size_t n = json_array_size(counts);
	size_t at = 0;

	snprintf(out, out_len, "-");
	for (size_t i = 0; i < n && i < DOORBELLS_SHOWN; i++)
		at += (size_t)snprintf(out + at, out_len - at, "%s%" JSON_INTEGER_FORMAT,
				       i ? " " : "", json_integer_value(json_array_get(counts, i)));
	if (n > DOORBELLS_SHOWN)
		snprintf(out + at, out_len - at, " and %zu more", n - DOORBELLS_SHOWN);
}

static const char *state_of(const json_t *peer)
{
	if (json_is_true(json_object_get(peer, "blocked")))
		return "blocked";
	return json_is_true(json_object_get(peer, "greeted")) ? "ready" : "new";
}

static void fill_row(struct row *row, const json_t *peer)
{
	show(peer, "id", row->cells[COLUMN_ID], CELL_LEN);
	show(peer, "pid", row->cells[COLUMN_PID], CELL_LEN);
	show_program(peer, row->cells[COLUMN_PROGRAM]);
	show_user(peer, row->cells[COLUMN_USER]);
	show_time(peer, "since", row->cells[COLUMN_SINCE]);
	snprintf(row->cells[COLUMN_STATE], CELL_LEN, "%s", state_of(peer));
	show(peer, "vectors", row->cells[COLUMN_VECTORS], CELL_LEN);
	show(peer, "behind", row->cells[COLUMN_BEHIND], CELL_LEN);
	show_doorbells(peer, row->doorbells, sizeof(row->doorbells));
}

static void print_row(const struct row *row, const size_t widths[COLUMNS_N])
{
	for (unsigned int i = 0; i < COLUMN_DOORBELLS; i++) {
		int gap = (int)(widths[i] - ivs_text_columns(row->cells[i]));

		printf("%*s%s%*s  ", columns[i].right ? gap : 0, "", row->cells[i],
		       columns[i].right ? 0 : gap, "");
	}
	puts(row->doorbells);
}

static int print_peers(const json_t *peers, struct ivs_error *err)
{
	size_t rows_n = json_array_size(peers) + 1;
	struct row *rows = calloc(rows_n, sizeof(*rows));
	size_t widths[COLUMNS_N] = {0};

	if (!rows)
		return ivs_error_errno(err, ENOMEM, "cannot make a table of %zu clients", rows_n);
	for (unsigned int i = 0; i < COLUMN_DOORBELLS; i++)
		snprintf(rows->cells[i], CELL_LEN, "%s", columns[i].title);
	snprintf(rows->doorbells, sizeof(rows->doorbells), "%s", columns[COLUMN_DOORBELLS].title);
	for (size_t at = 0; at < rows_n; at++) {
		if (at)
			fill_row(&rows[at], json_array_get(peers, at - 1));
		for (unsigned int i = 0; i < COLUMN_DOORBELLS; i++) {
			size_t width = ivs_text_columns(rows[at].cells[i]);

			widths[i] = width > widths[i] ? width : widths[i];
		}
	}
	for (size_t at = 0; at < rows_n; at++)
		print_row(&rows[at], widths);
	free(rows);
	return 0;
}

static json_int_t sum_of(json_t *reasons)
{
	json_int_t sum = 0;
	const char *key;
	json_t *value;

	json_object_foreach(reasons, key, value) sum += json_integer_value(value);
	return sum;
}

/* "3 (closed 2, spoke 1)"; reasons that did not happen are left out */
static void print_reasons(const char *what, json_t *reasons)
{
	const char *gap = " (";
	const char *key;
	json_t *value;

	printf("%" JSON_INTEGER_FORMAT " %s", sum_of(reasons), what);
	json_object_foreach(reasons, key, value)
	{
		char name[CELL_LEN];

		if (!json_integer_value(value))
			continue;
		printf("%s%s %" JSON_INTEGER_FORMAT, gap, ivs_text_shown(key, name, sizeof(name)),
		       json_integer_value(value));
		gap = ", ";
	}
	fputs(*gap == ',' ? ")" : "", stdout);
}

static const char *show_size(const json_t *object, const char *key, char out[IVS_SIZE_TEXT_LEN])
{
	const json_t *value = json_object_get(object, key);

	if (!json_is_integer(value))
		return "-";
	return ivs_size_text((uint64_t)json_integer_value(value), out);
}

static void print_region(const json_t *region)
{
	bool sealed = json_is_true(json_object_get(region, "sealed"));
	bool created = json_is_true(json_object_get(region, "created"));
	char page[IVS_SIZE_TEXT_LEN];
	char size[IVS_SIZE_TEXT_LEN];
	char text[4352];

	printf("region   %s", show(region, "address", text, sizeof(text)));
	printf(", %s in pages of %s", show_size(region, "size", size),
	       show_size(region, "page_size", page));
	if (json_is_string(json_object_get(region, "path")))
		printf(", at %s", show(region, "path", text, sizeof(text)));
	printf(", %s, %s\n", sealed ? "sealed" : "not sealed",
	       created ? "new" : "was there before");
}

static void print_limits(const json_t *status)
{
	const json_t *limits = json_object_get(status, "limits");
	char peers[CELL_LEN];
	char each[CELL_LEN];
	char nofile[CELL_LEN];
	char left[CELL_LEN];

	printf("limits   clients %s, of one user %s, open files %s, ids left %s\n",
	       show(limits, "max_peers", peers, CELL_LEN),
	       show(limits, "max_peers_per_user", each, CELL_LEN),
	       show(limits, "nofile", nofile, CELL_LEN), show(status, "ids_left", left, CELL_LEN));
}

static void print_totals(const json_t *status)
{
	const json_t *totals = json_object_get(status, "totals");
	char joined[CELL_LEN];
	char messages[CELL_LEN];
	char waits[CELL_LEN];

	printf("clients  %zu now, %s joined, ", json_array_size(json_object_get(status, "peers")),
	       show(totals, "joined", joined, CELL_LEN));
	print_reasons("left", json_object_get(totals, "left"));
	fputs("\nrefused  ", stdout);
	print_reasons("connections", json_object_get(totals, "refused"));
	printf("\ntold     %s messages, %s waits for the kernel%s\n\n",
	       show(totals, "messages", messages, CELL_LEN), show(totals, "waits", waits, CELL_LEN),
	       json_is_true(json_object_get(status, "waiting")) ? ", waiting now" : "");
}

static int print_status(const json_t *status, struct ivs_error *err)
{
	char version[CELL_LEN];
	char pid[CELL_LEN];
	char since[CELL_LEN];
	char socket[512];

	printf("server   pid %s, version %s, since %s\n", show(status, "pid", pid, CELL_LEN),
	       show(status, "version", version, CELL_LEN), show_time(status, "since", since));
	printf("socket   %s, %" JSON_INTEGER_FORMAT " vectors\n",
	       show(status, "socket", socket, sizeof(socket)),
	       json_integer_value(json_object_get(status, "vectors")));
	print_region(json_object_get(status, "region"));
	print_limits(status);
	print_totals(status);
	return print_peers(json_object_get(status, "peers"), err);
}

static int print_reply(const char *path, const struct reply *reply, bool json,
		       struct ivs_error *err)
{
	json_t *status = json_loadb(reply->text, reply->len, 0, NULL);
	const json_t *reason = json_object_get(status, "error");
	char text[CELL_LEN * 4];
	int result;

	if (json_is_string(reason))
		result = ivs_error_set(
			err, E_STATUS, "the server at %s says: %s", path,
			ivs_text_shown(json_string_value(reason), text, sizeof(text)));
	else if (!json_is_array(json_object_get(status, "peers")))
		result = not_a_server(path, "answers something else", err);
	else if (json)
		result = puts(reply->text) < 0 ? -errno : 0;
	else
		result = print_status(status, err);
	json_decref(status);
	if (!result && fflush(stdout))
		result = ivs_error_errno(err, errno, "cannot print the status");
	return result;
}

int show_status(const char *path, bool json)
{
	struct reply reply = {0};
	struct ivs_error err = {0};
	int result;

	result = ask(path, &reply, &err);
	if (!result)
		result = print_reply(path, &reply, json, &err);
	free(reply.text);
	if (result)
		ivs_log(IVS_LOG_ERROR, "%s", err.text);
	return result ? STATUS_FAILED : 0;
}
