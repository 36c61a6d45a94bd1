/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about servers. */
#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/access.h"
#include "base/file.h"
#include "base/shell.h"
#include "doctor/private.h"

#define UNITS_DIR "/run/ivshmem/"
#define UNIT_NAME_MAX 23
#define SPARE_FDS 256		    /* more than the server needs for itself */
#define FDS_MAX (UINT64_C(1) << 20) /* fs.nr_open by default */
#define IDS_FEW 6554 /* a tenth of all ids, when the server warns for the last time */

/* Set @out to the part of a socket's file name that can be the name of a region. */
static void name_of(const char *path, char out[IVS_DOCTOR_NAME_LEN])
{
	const char *slash = strrchr(path, '/');
	char *dot;

	snprintf(out, IVS_DOCTOR_NAME_LEN, "%s", slash ? slash + 1 : path);
	dot = strrchr(out, '.');
	if (dot && dot != out)
		*dot = '\0';
}

/* Return: whether ivshmem@NAME.socket listens at the path, if it is enabled. */
static bool is_unit(const char *path, const char *name)
{
	char expected[IVS_DOCTOR_NAME_LEN + sizeof(UNITS_DIR) + 8];

	snprintf(expected, sizeof(expected), UNITS_DIR "%s.sock", name);
	if (strcmp(path, expected) != 0 || strlen(name) > UNIT_NAME_MAX)
		return false;
	while (isalnum((unsigned char)*name) || *name == '-' || *name == '_')
		name++;
	return !*name;
}

void ivs_doctor_start_server(struct ivs_doctor_finding *finding, const char *path, const char *name)
{
	char derived[IVS_DOCTOR_NAME_LEN];
	char pidfile[IVS_HOST_SOCKET_LEN + 8];
	char text[IVS_DOCTOR_CURE_LEN] = "";

	name_of(path, derived);
	if (!finding)
		return;
	if (is_unit(path, derived)) {
		snprintf(text, sizeof(text), "systemctl enable --now ivshmem@%s.socket", derived);
	} else {
		snprintf(pidfile, sizeof(pidfile), "%s.pid", path);
		ivs_shell_add(text, sizeof(text), "ivshmem-server --socket ", path, "");
		if (*text)
			ivs_shell_add(text, sizeof(text), " --shm ", name ? name : derived, "");
		if (strstr(text, " --shm "))
			ivs_shell_add(text, sizeof(text), " --pidfile ", pidfile, "");
		if (!strstr(text, " --pidfile "))
			*text = '\0';
	}
	ivs_doctor_command(finding, text, NULL, "");
}

/* Return: whether the user asked about this socket, and this is there. */
static bool finds(const struct ivs_doctor_case *at, enum ivs_doctor_socket socket)
{
	return at->server->named && at->server->socket == socket;
}

static void check_absent(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	struct ivs_doctor_finding *finding;

	if (!finds(at, IVS_DOCTOR_SOCKET_ABSENT))
		return;
	finding = ivs_doctor_found(findings, "there is no such socket");
	ivs_doctor_start_server(finding, at->server->path, NULL);
	ivs_doctor_advise(finding, "give the server the region, size and vectors that the VMs "
				   "expect (--shm, --size, --vectors)");
}

static void check_dead(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	struct ivs_doctor_finding *finding;

	if (!finds(at, IVS_DOCTOR_SOCKET_DEAD))
		return;
	finding = ivs_doctor_found(findings, "no process listens at it: its server has ended "
					     "without removing it");
	ivs_doctor_start_server(finding, at->server->path, NULL);
	ivs_doctor_advise(finding, "start the server as before; it replaces the socket. Then "
				   "restart the VMs, because QEMU connects only once");
}

static void check_file(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (finds(at, IVS_DOCTOR_SOCKET_OTHER))
		ivs_doctor_advise(ivs_doctor_found(findings, "it is %s, not a socket",
						   ivs_file_kind(at->server->mode)),
				  "use the path of the server's socket, or move this away and "
				  "start the server");
}

static void check_denied(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (finds(at, IVS_DOCTOR_SOCKET_DENIED))
		ivs_doctor_advise(ivs_doctor_found(findings, "this user may not connect to it"),
				  "%s", at->server->denied_why);
}

static void check_refuses(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (finds(at, IVS_DOCTOR_SOCKET_REFUSES))
		ivs_doctor_advise(
			ivs_doctor_found(findings,
					 "it accepts connections and closes them at once"),
			"the server's log has the reason: this user is not admitted "
			"(--allow-user, --allow-group), or there are too many clients "
			"(--max-peers, "
			"file descriptors)");
}

static void check_silent(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_server *server = at->server;
	struct ivs_doctor_finding *finding;
	char command[64];

	if (server->stopped) {
		finding = ivs_doctor_found(findings, "its process, pid %d, is stopped (SIGSTOP)",
					   (int)server->pid);
		snprintf(command, sizeof(command), "kill -CONT %d", (int)server->pid);
		ivs_doctor_command(finding, command, NULL, "");
	} else if (finds(at, IVS_DOCTOR_SOCKET_SILENT)) {
		finding = ivs_doctor_found(
			findings, "a process listens at it, but sends no greeting in time");
		ivs_doctor_advise(finding,
				  "end that process, and start an ivshmem-server there; if it is "
				  "one, find out what it waits for (cat /proc/PID/wchan)");
	}
}

static void check_alien(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (finds(at, IVS_DOCTOR_SOCKET_ALIEN))
		ivs_doctor_advise(ivs_doctor_found(findings, "what listens is not a server: %s",
						   at->server->spoken),
				  "use the path of the server's socket for clients (--socket), not "
				  "that of another program");
}

static void check_foreign(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_server *server = at->server;
	char listener[IVS_ACCESS_NAME_LEN];
	char owner[IVS_ACCESS_NAME_LEN];

	if (!server->listener_uid || server->listener_uid == server->owner)
		return;
	ivs_access_user(server->listener_uid, listener);
	ivs_access_user(server->owner, owner);
	ivs_doctor_advise(
		ivs_doctor_found(findings,
				 "the process that listens, pid %d, is run by %s, but "
				 "the socket belongs to %s",
				 (int)server->listener, listener, owner),
		"if that user is not meant to run the server, end the process, remove the "
		"socket, and start the server in a directory in which only its user "
		"can create files");
}

static void check_nofile(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_server *server = at->server;
	const struct ivs_doctor_status *status = &server->status;
	uint64_t peers_n = status->peers_max ? status->peers_max : 2 * status->peers_n;
	struct ivs_doctor_finding *finding;
	uint64_t need = peers_n * (1 + status->vectors_n);
	char command[96];
	int len;

	if (!server->nofile || need <= server->nofile)
		return;
	finding = ivs_doctor_found(findings,
				   "its limit of %" PRIu64 " file descriptors is too low for "
				   "%s%" PRIu64 " clients with %" PRIu64 " vectors, which need "
				   "%" PRIu64,
				   server->nofile, status->peers_max ? "" : "twice its clients, ",
				   peers_n, status->vectors_n, need);
	if (need > FDS_MAX - SPARE_FDS) {
		ivs_doctor_advise(finding, "lower --max-peers or --vectors: the kernel allows a "
					   "process at most 1048576 descriptors by default");
		return;
	}
	len = snprintf(command, sizeof(command), "prlimit --pid %d --nofile=%" PRIu64 ":",
		       (int)server->pid, need + SPARE_FDS);
	if (need + SPARE_FDS > server->nofile_top)
		snprintf(command + len, sizeof(command) - (size_t)len, "%" PRIu64,
			 need + SPARE_FDS);
	ivs_doctor_command(finding, command, NULL, "");
	ivs_doctor_advise(finding, "raise the limit for the next start, too (ulimit -n, "
				   "LimitNOFILE=)");
}

static void check_ids(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (at->server->status.ids_left < IDS_FEW)
		ivs_doctor_advise(ivs_doctor_found(findings, "it has only %" PRIu64 " ids left",
						   at->server->status.ids_left),
				  "at the next opportunity, shut down the VMs that are connected, "
				  "restart the server, and start the VMs again");
}

static void check_behind(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_status *status = &at->server->status;

	for (unsigned int i = 0; i < status->blocked_n; i++) {
		const struct ivs_doctor_blocked *peer = &status->blocked[i];

		ivs_doctor_advise(ivs_doctor_found(findings,
						   "client %u, %s (pid %d), does not read: %" PRIu64
						   " messages are still to be sent to it",
						   peer->id,
						   *peer->program ? peer->program : "a program",
						   (int)peer->pid, peer->behind),
				  "end or mend that program; if it is a QEMU, the VM may be "
				  "stopped (SIGSTOP)");
	}
}

static void check_outdated(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_server *server = at->server;
	struct ivs_doctor_finding *finding;
	char command[IVS_DOCTOR_UNIT_LEN + 32];

	if (!server->outdated || server->maker != IVS_DOCTOR_MAKER_OURS)
		return;
	finding = ivs_doctor_found(findings,
				   "its program file has been replaced since pid %d started",
				   (int)server->pid);
	if (*server->unit) {
		snprintf(command, sizeof(command), "systemctl restart %s", server->unit);
		ivs_doctor_command(finding, command, NULL, "");
	} else {
		snprintf(command, sizeof(command), "kill -USR2 %d", (int)server->pid);
		ivs_doctor_command(finding, command, NULL, "");
		ivs_doctor_advise(finding,
				  "clients do not notice; with --chroot or --sandbox strict, "
				  "which rule an upgrade out, restart the server and the VMs");
	}
}

static void check_qemu(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (at->server->maker == IVS_DOCTOR_MAKER_QEMU)
		ivs_doctor_advise(
			ivs_doctor_found(findings, "pid %d is QEMU's example of a server",
					 (int)at->server->pid),
			"shut down the VMs, stop it, and run the ivshmem-server of this project, "
			"which accepts the same options");
}

/* Return: whether the server's process uses the region. */
static bool is_user(const struct ivs_doctor_case *at, const struct ivs_host_region *region)
{
	for (size_t i = 0; i < region->users_n; i++) {
		if (region->users[i].pid == at->server->pid)
			return true;
	}
	return false;
}

/* Return: whether a rule about the region reports that its file has been removed. */
static bool is_reported(const struct ivs_doctor_case *at)
{
	const unsigned int gone = IVS_HOST_NOTE_REMOVED | IVS_HOST_NOTE_REPLACED;

	for (size_t i = 0; i < at->facts->regions_n; i++) {
		const struct ivs_doctor_region *region = &at->facts->regions[i];

		if (region->selected && region->host->notes & gone && is_user(at, region->host))
			return true;
	}
	return false;
}

/*
 * Return: whether the region that the server names can be enlarged. The file must be a region that
 * its process uses, no other user may be able to put a link in its place, and it must become
 * larger, so that no bytes are lost. The server of another user may name any size.
 */
static bool can_enlarge(const struct ivs_doctor_case *at)
{
	const struct ivs_doctor_status *status = &at->server->status;

	if (!at->server->is_trusted)
		return false;

	for (size_t i = 0; i < at->facts->regions_n; i++) {
		const struct ivs_host_region *host = at->facts->regions[i].host;

		if (!strcmp(host->path, status->region_path) && is_user(at, host))
			return at->facts->regions[i].is_safe && host->known &&
			       host->size < status->region_size;
	}
	return false;
}

static void check_region(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_status *status = &at->server->status;
	struct ivs_doctor_finding *finding;
	char command[64];

	if (status->changes & IVS_DOCTOR_CHANGE_SHRUNK) {
		finding = ivs_doctor_found(findings,
					   "its region has been made smaller: clients that touch "
					   "what is missing are ended by SIGBUS");
		snprintf(command, sizeof(command), "truncate -c -s '>%" PRIu64 "' ",
			 status->region_size);
		if (can_enlarge(at) && !(status->changes & IVS_DOCTOR_CHANGE_NAME_LOST))
			ivs_doctor_command(finding, command, status->region_path, "");
		ivs_doctor_advise(finding,
				  "give the file its size of %" PRIu64
				  " bytes back at once; the bytes "
				  "that were cut off are lost",
				  status->region_size);
	} else if (status->changes & IVS_DOCTOR_CHANGE_GROWN) {
		finding = ivs_doctor_found(findings, "its region has been made larger than it was "
						     "when the server started");
		ivs_doctor_advise(finding, "stop the clients, restart the server with this "
					   "--size, and start the clients");
	} else if (status->changes & IVS_DOCTOR_CHANGE_NAME_LOST && !is_reported(at)) {
		finding = ivs_doctor_found(findings, "the file of its region has been removed, "
						     "renamed or replaced");
		ivs_doctor_advise(finding, "stop the clients, restart the server, and start the "
					   "clients, so that all share one region");
	}
}

/* What to do if clients are refused, in the order of ivs_doctor_refusal_name(). */
static const char *const refusal_cures[IVS_DOCTOR_REFUSALS_N] = {
	"admit their users with --allow-user or --allow-group",
	"raise --max-peers",
	"raise --max-peers-per-user",
	"find the program that connects again and again, or raise --max-joins-per-user",
	"set --max-peers-per-user, or raise the limit on file descriptors (LimitNOFILE=)",
	"shut down the VMs, and restart the server",
	"raise the limit on file descriptors (ulimit -n, LimitNOFILE=)",
	"look in the server's log for the resource that the kernel lacked",
};

static void check_refused(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const uint64_t *refused = at->server->status.refused;
	char text[IVS_DOCTOR_TEXT_LEN] = "";
	struct ivs_doctor_finding *finding;
	unsigned int most = 0;
	size_t len = 0;

	for (unsigned int i = 0; i < IVS_DOCTOR_REFUSALS_N; i++) {
		if (refused[i])
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s%" PRIu64 " (%s)", len ? ", " : "", refused[i],
						ivs_doctor_refusal_name(i));
		if (refused[i] > refused[most])
			most = i;
	}
	if (!len)
		return;
	finding = ivs_doctor_found(findings, "it has refused clients since it started: %s", text);
	ivs_doctor_advise(finding,
			  "%s; the server's log names the clients. The count is that of "
			  "the running server",
			  refusal_cures[most]);
}

#define SOCKET IVS_DOCTOR_SERVER_SOCKET
#define PROCESS IVS_DOCTOR_SERVER_PROCESS
#define STATUS IVS_DOCTOR_SERVER_STATUS

static const struct ivs_doctor_rule rules[] = {
	{"server-absent", IVS_DOCTOR_ERROR, IVS_DOCTOR_SERVER, SOCKET,
	 "there is no socket at the path of a server",
	 "QEMU refuses to start (\"Failed to connect\"), and other clients fail as well",
	 "start a server there before the VM", false, check_absent},
	{"server-dead", IVS_DOCTOR_ERROR, IVS_DOCTOR_SERVER, SOCKET,
	 "no process listens at the socket of a server",
	 "clients cannot connect (\"Connection refused\")",
	 "start the server again; it replaces the socket", false, check_dead},
	{"server-file", IVS_DOCTOR_ERROR, IVS_DOCTOR_SERVER, SOCKET,
	 "the path of a server is not a socket",
	 "clients cannot connect, and a server refuses to replace what is there",
	 "use the path of the server's socket, or move the file away", false, check_file},
	{"server-denied", IVS_DOCTOR_ERROR, IVS_DOCTOR_SERVER, SOCKET,
	 "the user of the doctor may not connect to a server",
	 "clients of this user fail with \"Permission denied\"",
	 "change group and mode of the socket (--socket-group, --socket-mode)", false,
	 check_denied},
	{"server-refuses", IVS_DOCTOR_ERROR, IVS_DOCTOR_SERVER, SOCKET,
	 "a server accepts a connection and closes it at once",
	 "a QEMU that connects uses a processor and never starts its VM",
	 "admit the user, or raise the server's limits", false, check_refuses},
	{"server-silent", IVS_DOCTOR_ERROR, IVS_DOCTOR_SERVER, 0,
	 "a server accepts connections but sends nothing, or its process is stopped",
	 "a QEMU that connects waits forever; if the device is hot-plugged, the running VM hangs",
	 "resume the process (kill -CONT), or start another server", false, check_silent},
	{"server-alien", IVS_DOCTOR_ERROR, IVS_DOCTOR_SERVER, SOCKET,
	 "what listens at the path of a server does not speak its protocol",
	 "clients cannot use it, and QEMU may hang",
	 "use the path of the server's socket for clients", false, check_alien},
	{"server-foreign", IVS_DOCTOR_WARNING, IVS_DOCTOR_SERVER,
	 SOCKET | IVS_DOCTOR_SERVER_LISTENER,
	 "the process that listens is run neither by the owner of the socket nor by root",
	 "another user's program may have taken the place of the server; clients would share "
	 "their memory with it",
	 "end that program, and use a directory in which only the server's user can create files",
	 false, check_foreign},
	{"server-nofile", IVS_DOCTOR_WARNING, IVS_DOCTOR_SERVER, PROCESS | STATUS,
	 "the limit on file descriptors is too low for --max-peers or, without that option, for "
	 "twice the present clients",
	 "the server will refuse clients, and a QEMU that is refused never starts its VM",
	 "raise the limit with prlimit", false, check_nofile},
	{"server-ids", IVS_DOCTOR_WARNING, IVS_DOCTOR_SERVER, STATUS,
	 "less than a tenth of a server's ids are left",
	 "newcomers will not be announced to QEMUs that have been connected throughout",
	 "restart the server and its VMs", true, check_ids},
	{"server-behind", IVS_DOCTOR_WARNING, IVS_DOCTOR_SERVER, STATUS,
	 "a client of a server does not read what it is sent",
	 "it does not learn of other clients, and holds file descriptors in flight, which the "
	 "kernel limits for all clients together",
	 "end or mend the client", false, check_behind},
	{"server-outdated", IVS_DOCTOR_WARNING, IVS_DOCTOR_SERVER, PROCESS,
	 "the program of a server has been replaced since the server started",
	 "the server runs without the corrections of the installed version",
	 "upgrade the server, which clients do not notice (SIGUSR2, systemctl restart)", false,
	 check_outdated},
	{"server-qemu", IVS_DOCTOR_WARNING, IVS_DOCTOR_SERVER, PROCESS,
	 "a server is QEMU's example, which is not meant for production",
	 "it exits when a client leaves at the wrong moment, loses messages to slow clients, and "
	 "lets any client end all others",
	 "run the server of this project with the same options", false, check_qemu},
	{"server-region", IVS_DOCTOR_ERROR, IVS_DOCTOR_SERVER, STATUS,
	 "the file of a server's region has been resized, removed, renamed or replaced",
	 "clients and programs that open the file do not share the same memory, or are ended by "
	 "SIGBUS",
	 "restart the server and its clients", false, check_region},
	{"server-refused", IVS_DOCTOR_WARNING, IVS_DOCTOR_SERVER, STATUS,
	 "a server has refused clients since it started",
	 "a QEMU that is refused uses a processor and never starts its VM",
	 "raise the limit that the reason names, or admit the user", false, check_refused},
};

const struct ivs_doctor_table ivs_doctor_server_rules = {rules, sizeof(rules) / sizeof(*rules)};
