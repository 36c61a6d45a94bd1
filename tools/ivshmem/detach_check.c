/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/detach_check.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

#include "tools/shared/ask.h"

#define UNITS "/run/ivshmem-*/control"
#define UNITS_MAX 32
#define STAYS ". Or leave the device plugged in: it is safe to shut down or reset the VM"

/* Get an absolute path. @out: "" if there is none. */
static void take_path(const json_t *object, const char *name, char *out, size_t out_len)
{
	const char *text = json_string_value(json_object_get(object, name));

	if (text && *text == '/' && strlen(text) < out_len)
		memcpy(out, text, strlen(text) + 1);
}

/* Add what one server says. Return: the number of its clients with this pid. */
static unsigned int take_reply(const json_t *reply, struct server_view *view)
{
	const json_t *peers = json_object_get(reply, "peers");
	unsigned int others_n = 0;
	unsigned int own_n = 0;
	json_t *peer;
	size_t i;

	json_array_foreach(peers, i, peer)
	{
		const json_t *told = json_object_get(peer, "told_leaves");

		if (json_integer_value(json_object_get(peer, "pid")) != view->pid) {
			others_n++;
			continue;
		}
		own_n++;
		if (json_is_true(told))
			view->told = TOLD_YES;
		else if (!json_is_false(told) && view->told != TOLD_YES)
			view->told = TOLD_SILENT;
	}
	if (!own_n)
		return 0;
	view->others_n += others_n;
	*view->socket = *view->region = '\0';
	if (!view->servers_n++) {
		take_path(reply, "socket", view->socket, sizeof(view->socket));
		take_path(json_object_get(reply, "region"), "path", view->region,
			  sizeof(view->region));
	}
	return own_n;
}

static int ask_server(const char *path, bool given, unsigned int *own_n, struct server_view *view,
		      struct ivs_error *err)
{
	const struct ask ask = {path, "an ivshmem-server", "server", "clients"};
	struct reply reply;
	unsigned int n = 0;
	int result = ask_request(&ask, "{\"request\":\"status\"}\n", &reply, err);

	if (!result)
		n = take_reply(reply.json, view);
	reply_deinit(&reply);
	if (result && given)
		return 1;
	if (given || n)
		snprintf(view->path, sizeof(view->path), "%s", path);
	*own_n += n;
	return 0;
}

int server_view_get(const char *control, pid_t pid, unsigned int devices_n, struct server_view *out,
		    struct ivs_error *err)
{
	unsigned int own_n = 0;
	int result = 0;
	glob_t units;

	*out = (struct server_view){.told = pid ? TOLD_NO : TOLD_UNKNOWN, .pid = pid};
	if (!pid)
		return 0;
	if (control) {
		result = ask_server(control, true, &own_n, out, err);
		devices_n = 1;
	} else if (!glob(UNITS, 0, NULL, &units)) {
		for (size_t i = 0; !result && i < units.gl_pathc && i < UNITS_MAX; i++)
			result = ask_server(units.gl_pathv[i], false, &own_n, out, err);
		globfree(&units);
	}
	if (own_n < devices_n && out->told == TOLD_NO)
		out->told = TOLD_UNKNOWN;
	return result;
}

const char *server_note_old(const char *control, pid_t pid, char out[SERVER_OLD_LEN])
{
	struct server_view view = {0};
	struct ivs_error err;
	bool failed = !control || server_view_get(control, pid, 0, &view, &err);

	if (failed || view.told != TOLD_SILENT)
		failed = server_view_get(NULL, pid, 0, &view, &err);
	*out = '\0';
	if (!failed && view.told == TOLD_SILENT)
		snprintf(out, SERVER_OLD_LEN,
			 "the server (%s) is too old to say whether it tells QEMUs that peers "
			 "have left (told_leaves). If it does, each client that leaves makes it "
			 "unsafe to unplug the VM's device, so \"ivshmem detach\" refuses that: "
			 "upgrade the server before the VM is started the next time",
			 view.path);
	return out;
}

static void why_unknown(const struct server_view *server, const char *id, char why[UNPLUG_WHY_LEN])
{
	const char *control = *server->path ? server->path : NULL;

	snprintf(why, UNPLUG_WHY_LEN,
		 "it is not known whether a server has told this QEMU that a peer left; if so, "
		 "unplugging %s kills the VM. %s%s%s" STAYS,
		 id,
		 !server->pid ? "QEMU's pid is not known either, so run this command as root, on "
				"QEMU's host"
		 : control    ? "Give the control socket of QEMU's server with --control PATH: "
				"the server ("
			      : "Give the server's control socket with --control PATH",
		 control ? control : "", control ? ") has no client with QEMU's pid" : "");
}

/* QEMU frees a peer's table when it is told that the peer left, and again on unplug. */
static void why_told(const struct server_view *server, const char *id, char why[UNPLUG_WHY_LEN])
{
	switch (server->told) {
	case TOLD_NO:
		break;
	case TOLD_YES:
		snprintf(why, UNPLUG_WHY_LEN,
			 "the server (%s) has told this QEMU that a peer left, so unplugging %s "
			 "would make QEMU free memory twice and die: leave the device plugged "
			 "in; it is safe to shut down or reset the VM",
			 server->path, id);
		break;
	case TOLD_SILENT:
		snprintf(why, UNPLUG_WHY_LEN,
			 "the server (%s) is too old to say whether it has told this QEMU that a "
			 "peer left; if so, unplugging %s kills the VM. Upgrade the server "
			 "before the VM is started the next time" STAYS,
			 server->path, id);
		break;
	case TOLD_UNKNOWN:
		why_unknown(server, id, why);
		break;
	}
}

static bool version_is_before(const struct ivs_qmp_version *version, unsigned int major,
			      unsigned int minor)
{
	return version->major < major || (version->major == major && version->minor < minor);
}

bool unplug_needs_placeholders(const struct ivs_qmp_version *version, bool kvm)
{
	return !kvm && version_is_before(version, 11, 1);
}

/* Without KVM, QEMU itself polls the eventfds, and keeps polling them after the unplug. */
static void why_rung(const struct unplug_facts *facts, const char *id, char why[UNPLUG_WHY_LEN])
{
	unsigned int n = facts->server->others_n;
	const char *s = n == 1 ? "" : "s";

	if (!version_is_before(&facts->version, 10, 1) && n)
		snprintf(why, UNPLUG_WHY_LEN,
			 "QEMU %u.%u without KVM dies if a peer rings %s at any time after it was "
			 "unplugged, and %u other client%s of the server can do so: disconnect "
			 "them first" STAYS,
			 facts->version.major, facts->version.minor, id, n, s);
	else if (version_is_before(&facts->version, 10, 0) && n && !facts->no_rings)
		snprintf(why, UNPLUG_WHY_LEN,
			 "QEMU %u.%u without KVM dies if a peer rings %s while it is unplugged, "
			 "and %u other client%s of the server can do so: stop the programs that "
			 "ring it, and use --no-rings" STAYS,
			 facts->version.major, facts->version.minor, id, n, s);
	else if (unplug_needs_placeholders(&facts->version, false) && !facts->fds_known)
		snprintf(why, UNPLUG_WHY_LEN,
			 "QEMU %u.%u without KVM keeps polling closed file descriptors after %s "
			 "was unplugged, unless they are replaced, for which this command must "
			 "read /proc/PID/fd of QEMU: run it as root or as QEMU's user, on QEMU's "
			 "host" STAYS,
			 facts->version.major, facts->version.minor, id);
}

const char *unplug_why_not(const struct unplug_facts *facts, const char *id,
			   char why[UNPLUG_WHY_LEN])
{
	*why = '\0';
	why_told(facts->server, id, why);
	if (!*why && !facts->kvm)
		why_rung(facts, id, why);
	return why;
}
