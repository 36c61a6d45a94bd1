/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The reply is composed piece by piece: first the server's own values, then one client after
 * another. So a reply with many clients needs memory for its text, but not for all JSON values at
 * once.
 */
#include "server/observe/status.h"

#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/fd.h"
#include "daemon/json.h"
#include "server/announce.h"
#include "server/flight.h"

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020 /* since Linux 6.3 */
#endif

IVS_SYSCALLS(ivs_status_syscalls, {"getpid"}, IVS_CALL_GETRLIMIT, IVS_CALL_OPEN_TO_READ, {"read"},
	     {"close"}, {"fcntl", {IVS_ARG_IS(2, F_GET_SEALS)}},
	     {"fcntl64", {IVS_ARG_IS(2, F_GET_SEALS)}}, IVS_CALL_DUPFD_CLOEXEC, {"poll"}, {"ppoll"},
	     {"ppoll_time64"});

const char *ivs_refusal_name(enum ivs_refusal why)
{
	static const char *const names[REFUSALS_N] = {
		[REFUSED_NOT_ALLOWED] = "not_allowed",
		[REFUSED_MAX_PEERS] = "max_peers",
		[REFUSED_MAX_PEERS_PER_USER] = "max_peers_per_user",
		[REFUSED_MAX_JOINS_PER_USER] = "max_joins_per_user",
		[REFUSED_USER_SHARE] = "user_share",
		[REFUSED_NO_ID] = "no_id",
		[REFUSED_NO_FD] = "no_fd",
		[REFUSED_FAILED] = "failed",
	};

	return names[why];
}

const char *ivs_drop_name(enum ivs_drop why)
{
	static const char *const names[DROPS_N] = {
		[DROP_CLOSED] = "closed",
		[DROP_SPOKE] = "spoke",
		[DROP_FAILED] = "failed",
		[DROP_COSTLY] = "costly",
	};

	return names[why];
}

static json_t *number_or_null(uint64_t n)
{
	return n ? json_integer((json_int_t)n) : json_null();
}

static json_t *seals_of(int fd)
{
	static const struct {
		int seal;
		const char *name;
	} seals[] = {
		{F_SEAL_SEAL, "seal"},
		{F_SEAL_SHRINK, "shrink"},
		{F_SEAL_GROW, "grow"},
		{F_SEAL_WRITE, "write"},
		{F_SEAL_FUTURE_WRITE, "future_write"},
		{F_SEAL_EXEC, "exec"},
	};
	json_t *names = json_array();
	int has = fcntl(fd, F_GET_SEALS);

	if (has < 0) /* the file is not a memfd */
		has = 0;
	for (size_t i = 0; i < sizeof(seals) / sizeof(*seals); i++) {
		if (has & seals[i].seal)
			json_array_append_new(names, json_string(seals[i].name));
	}
	return names;
}

static json_t *region_of(const struct ivs_server *server)
{
	const struct ivs_region *region = server->region;
	const char *path = ivs_region_path(region);
	json_t *address = ivs_json_text(server->region_address);
	json_t *backend = json_stringn(server->region_address,
				       strcspn(server->region_address, ":"));

	return json_pack("{s:o, s:o, s:o, s:I, s:I, s:b, s:o, s:b, s:o}", "address", address,
			 "backend", backend, "path", *path ? ivs_json_text(path) : json_null(),
			 "size", (json_int_t)ivs_region_size(region), "page_size",
			 (json_int_t)ivs_region_page_size(region), "sealed",
			 ivs_region_sealed(region), "seals", seals_of(ivs_region_fd(region)),
			 "created", ivs_region_created(region), "changes",
			 ivs_json_flags(ivs_region_watch_look(&server->watch), IVS_REGION_CHANGES_N,
					ivs_region_change_name));
}

static json_t *limits_of(const struct ivs_server *server)
{
	struct rlimit limit = {0};

	getrlimit(RLIMIT_NOFILE, &limit);
	return json_pack("{s:o, s:o, s:o, s:I}", "max_peers",
			 number_or_null(server->admission.peers_max), "max_peers_per_user",
			 number_or_null(server->admission.user_peers_max), "max_joins_per_user",
			 number_or_null(server->admission.user_joins_max), "nofile",
			 (json_int_t)limit.rlim_cur);
}

static json_t *totals_of(const struct ivs_server *server)
{
	const struct ivs_server_totals *totals = &server->totals;
	json_t *left = json_object();
	json_t *refused = json_object();

	for (unsigned int why = 0; why < DROPS_N; why++)
		json_object_set_new(left, ivs_drop_name(why),
				    json_integer((json_int_t)totals->left[why]));
	for (unsigned int why = 0; why < REFUSALS_N; why++)
		json_object_set_new(refused, ivs_refusal_name(why),
				    json_integer((json_int_t)totals->refused[why]));
	return json_pack("{s:I, s:o, s:o, s:I, s:I}", "joined", (json_int_t)totals->joined, "left",
			 left, "refused", refused, "messages", (json_int_t)totals->messages,
			 "waits", (json_int_t)totals->waits);
}

/* Return: the status without the clients. */
static json_t *head_of(const struct ivs_server *server)
{
	return json_pack(
		"{s:s, s:i, s:o, s:o, s:o, s:I, s:o, s:o, s:I, s:I, s:I, s:b}", "version",
		IVS_VERSION, "pid", (int)getpid(), "since", ivs_json_time(server->since_ms),
		"socket", ivs_json_text(server->listener.path), "region", region_of(server),
		"vectors", (json_int_t)server->vectors_n, "limits", limits_of(server), "totals",
		totals_of(server), "ids_left", (json_int_t)ivs_roster_unknown(server->roster),
		"vacant_ids", (json_int_t)server->seats_n, "in_flight",
		(json_int_t)ivs_flight_total(server), "waiting", ivs_server_is_waiting(server));
}

/* Get an eventfd's count from fdinfo: read(2) would reset it. Return: NULL if unknown. */
static json_t *count_of(int self, int fd)
{
	static const char key[] = "eventfd-count:";
	IVS_OWNED_FD info = -1;
	unsigned long long count;
	char text[512];
	const char *at;
	ssize_t len;

	snprintf(text, sizeof(text), "fdinfo/%d", fd);
	info = openat(self, text, O_RDONLY | O_CLOEXEC);
	len = info < 0 ? -1 : read(info, text, sizeof(text) - 1);
	if (len < 0)
		return NULL;
	text[len] = '\0';
	at = strstr(text, key);
	if (!at)
		return NULL;
	/* In hexadecimal. A peer may have written a count that json_int_t cannot hold. */
	count = strtoull(at + sizeof(key) - 1, NULL, 16);
	return json_integer(count < INT64_MAX ? (json_int_t)count : INT64_MAX);
}

/*
 * Find out which of @n doorbells have been rung: one system call for all, because most counts are 0
 * and fdinfo takes three calls each. With a time limit of 0, poll(2) does not add itself to the
 * eventfd's queue, which untrusted processes can make long. Return: whether they are known.
 */
static bool find_rung(const struct ivs_client *client, unsigned int n, bool *rung)
{
	struct pollfd fds[IVS_MSIX_VECTORS_MAX];

	for (unsigned int i = 0; i < n; i++)
		fds[i] = (struct pollfd){.fd = client->eventfds[i], .events = POLLIN};
	if (poll(fds, n, 0) < 0)
		return false;
	for (unsigned int i = 0; i < n; i++)
		rung[i] = fds[i].revents != 0;
	return true;
}

/* Return: the counts of a client's doorbells; JSON null if the kernel does not report them. */
static json_t *doorbells_of(const struct ivs_server *server, const struct ivs_client *client)
{
	bool rung[IVS_MSIX_VECTORS_MAX];
	bool known = find_rung(client, client->vectors_n, rung);
	json_t *counts = json_array();

	for (unsigned int i = 0; counts && i < client->vectors_n; i++) {
		json_t *count = NULL;

		if (server->proc_self_fd >= 0)
			count = known && !rung[i]
					? json_integer(0)
					: count_of(server->proc_self_fd, client->eventfds[i]);
		if (!count || json_array_append_new(counts, count)) {
			json_decref(counts);
			return json_null();
		}
	}
	return counts;
}

static json_t *peer_of(const struct ivs_server *server, unsigned int id, bool doorbells)
{
	const struct ivs_client *client = server->clients[id];
	json_t *peer;

	peer = json_pack("{s:I, s:I, s:I, s:I, s:o, s:I, s:b, s:b, s:b, s:I}", "id", (json_int_t)id,
			 "pid", (json_int_t)client->cred.pid, "uid", (json_int_t)client->cred.uid,
			 "gid", (json_int_t)client->cred.gid, "since",
			 ivs_json_time(client->since_ms), "vectors", (json_int_t)client->vectors_n,
			 "told_leaves", !client->quiet, "greeted",
			 ivs_roster_greeted(server->roster, id), "blocked", client->blocked,
			 "behind", (json_int_t)ivs_roster_behind(server->roster, id));
	if (peer && doorbells &&
	    json_object_set_new(peer, "doorbells", doorbells_of(server, client))) {
		json_decref(peer);
		return NULL;
	}
	return peer;
}

/* Write @value, and take ownership of it. Return: whether it was written. */
static bool put_value(FILE *out, json_t *value, size_t flags)
{
	bool good = value && !ivs_json_write(value, JSON_COMPACT | flags, out);

	json_decref(value);
	return good;
}

static bool put_status(struct ivs_server *server, bool doorbells, FILE *out)
{
	const char *gap = "";
	bool good;

	/* Clients may have taken all other fds, so release the reserved one for reading fdinfo. */
	ivs_fd_close(&server->reserve_fd);
	fputs("{", out);
	good = put_value(out, head_of(server), JSON_EMBED);
	fputs(",\"peers\":[", out);
	for (unsigned int id = 0; good && id < server->ids_end; id++) {
		if (!server->clients[id])
			continue;
		fputs(gap, out);
		gap = ",";
		good = put_value(out, peer_of(server, id, doorbells), 0);
	}
	fputs("]}", out);
	ivs_server_reserve(server);
	return good;
}

/* Complete the text of a reply, or free it on failure. */
static int finish_text(FILE *out, bool good, char **text, size_t *len)
{
	fputs("\n", out);
	good = !ferror(out) && good;
	if (!fclose(out) && good)
		return 0;
	free(*text);
	*text = NULL;
	*len = 0;
	return -ENOMEM;
}

int ivs_status_reply(struct ivs_server *server, const struct ivs_request *request, char **text,
		     size_t *len)
{
	FILE *out = open_memstream(text, len);
	bool good;

	if (!out)
		return -ENOMEM;
	if (request->type == IVS_REQUEST_STATUS)
		good = put_status(server, request->doorbells, out);
	else
		good = put_value(
			out, json_pack("{s:s, s:i}", "version", IVS_VERSION, "pid", (int)getpid()),
			0);
	return finish_text(out, good, text, len);
}

int ivs_status_error(const char *reason, char **text, size_t *len)
{
	FILE *out = open_memstream(text, len);

	if (!out)
		return -ENOMEM;
	return finish_text(out,
			   put_value(out, json_pack("{s:o}", "error", ivs_json_text(reason)), 0),
			   text, len);
}
