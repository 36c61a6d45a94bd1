/* SPDX-License-Identifier: BSD-3-Clause */
/* Refuse to unplug a device if its VM could die. */
#ifndef TOOLS_IVSHMEM_DETACH_CHECK_H
#define TOOLS_IVSHMEM_DETACH_CHECK_H

#include "qmp/vm.h"

/**
 * enum told - whether a server has told a QEMU that a peer left
 * @TOLD_UNKNOWN: no server that knows this QEMU could be asked
 * @TOLD_SILENT:  the server does not report this, because it is too old
 */
enum told {
	TOLD_NO,
	TOLD_YES,
	TOLD_UNKNOWN,
	TOLD_SILENT,
};

#define SERVER_SOCKET_LEN 256
#define SERVER_REGION_LEN 512

/**
 * struct server_view - what the servers say about a QEMU
 * @pid:      QEMU's pid; 0: unknown
 * @path:     control socket that was asked, for messages; "" if none could be asked
 * @others_n: number of clients of these servers that are other processes
 * @socket:  path of the socket for clients of the server that has this QEMU as a client; "" if
 *           there is none, or more than one
 * @region:  path of that server's region; "" if it has none
 * @servers_n: number of servers that have this QEMU as a client
 */
struct server_view {
	enum told told;
	pid_t pid;
	char path[256];
	unsigned int others_n;
	char socket[SERVER_SOCKET_LEN];
	char region[SERVER_REGION_LEN];
	unsigned int servers_n;
};

/**
 * server_view_get() - ask the control sockets of the servers that a QEMU may be connected to
 * @control:   path of a control socket; NULL: those of the units, /run/ivshmem-NAME/control
 * @pid:       QEMU's pid; 0: unknown, so no server is asked
 * @devices_n: number of doorbell devices of this QEMU: if its servers report fewer clients with
 *             this pid, one of them has not been asked
 *
 * Return: 0, or 1 if the server at @control cannot be asked.
 */
IVS_MUST_USE int server_view_get(const char *control, pid_t pid, unsigned int devices_n,
				 struct server_view *out, struct ivs_error *err);

#define SERVER_OLD_LEN 512

/**
 * server_note_old() - compose a note if a server of a QEMU does not say whether it tells QEMUs of
 * leaves, because it is too old; "ivshmem detach" will then refuse to unplug this QEMU's devices
 * @control: control socket that is asked besides those of the units; NULL: none
 * @pid:     QEMU's pid; 0: unknown
 *
 * Return: the note; "" if there is no such server, or none that can be asked.
 */
const char *server_note_old(const char *control, pid_t pid, char out[SERVER_OLD_LEN]);

/**
 * struct unplug_facts - what decides whether a doorbell device can be unplugged
 * @fds_known: the QEMU's fds can be read in /proc
 * @no_rings:  the operator says that no peer rings the device
 */
struct unplug_facts {
	struct ivs_qmp_version version;
	bool kvm;
	bool fds_known;
	bool no_rings;
	const struct server_view *server;
};

#define UNPLUG_WHY_LEN 768

/** unplug_why_not() - why the device must not be unplugged; "" if it may be */
const char *unplug_why_not(const struct unplug_facts *facts, const char *id,
			   char why[UNPLUG_WHY_LEN]);

/** unplug_needs_placeholders() - whether this QEMU keeps polling the numbers of closed fds */
bool unplug_needs_placeholders(const struct ivs_qmp_version *version, bool kvm);

#endif
