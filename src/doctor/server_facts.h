/* SPDX-License-Identifier: BSD-3-Clause */
/* What "ivshmem doctor" has found out about a server. */
#ifndef IVS_DOCTOR_SERVER_FACTS_H
#define IVS_DOCTOR_SERVER_FACTS_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/regions.h"

#define IVS_DOCTOR_DENIED_LEN 400
#define IVS_DOCTOR_PATH_LEN 512
#define IVS_DOCTOR_SPOKEN_LEN 160
#define IVS_DOCTOR_UNIT_LEN 64
#define IVS_DOCTOR_PROGRAM_LEN 48
#define IVS_DOCTOR_BLOCKED_MAX 4

/**
 * enum ivs_doctor_server_knows - flags that say which facts about a server are known
 * @IVS_DOCTOR_SERVER_SOCKET:   what is at the path of its socket
 * @IVS_DOCTOR_SERVER_LISTENER: which process listens there, according to the kernel
 * @IVS_DOCTOR_SERVER_PROCESS:  its process: state, limits, program
 * @IVS_DOCTOR_SERVER_STATUS:   the reply of its control socket
 */
enum ivs_doctor_server_knows {
	IVS_DOCTOR_SERVER_SOCKET = 1,
	IVS_DOCTOR_SERVER_LISTENER = 2,
	IVS_DOCTOR_SERVER_PROCESS = 4,
	IVS_DOCTOR_SERVER_STATUS = 8,
};

/**
 * enum ivs_doctor_socket - what is at the path of a socket
 * @IVS_DOCTOR_SOCKET_ABSENT:  nothing
 * @IVS_DOCTOR_SOCKET_OTHER:   a file that is not a socket
 * @IVS_DOCTOR_SOCKET_DEAD:    a socket at which no process listens
 * @IVS_DOCTOR_SOCKET_DENIED:  this user may not connect
 * @IVS_DOCTOR_SOCKET_LISTENS: a process listens; nothing more is known
 * @IVS_DOCTOR_SOCKET_REFUSES: it closes the connection before the greeting is complete
 * @IVS_DOCTOR_SOCKET_SILENT:  it does not send a greeting in time
 * @IVS_DOCTOR_SOCKET_ALIEN:   it does not speak the protocol of a server
 * @IVS_DOCTOR_SOCKET_GREETS:  it sends a greeting
 */
enum ivs_doctor_socket {
	IVS_DOCTOR_SOCKET_ABSENT,
	IVS_DOCTOR_SOCKET_OTHER,
	IVS_DOCTOR_SOCKET_DEAD,
	IVS_DOCTOR_SOCKET_DENIED,
	IVS_DOCTOR_SOCKET_LISTENS,
	IVS_DOCTOR_SOCKET_REFUSES,
	IVS_DOCTOR_SOCKET_SILENT,
	IVS_DOCTOR_SOCKET_ALIEN,
	IVS_DOCTOR_SOCKET_GREETS,
};

/** enum ivs_doctor_maker - whose program a server runs, according to its program file */
enum ivs_doctor_maker {
	IVS_DOCTOR_MAKER_UNKNOWN,
	IVS_DOCTOR_MAKER_OURS,
	IVS_DOCTOR_MAKER_QEMU,
};

/** enum ivs_doctor_change - flags that say how the region's file has changed */
enum ivs_doctor_change {
	IVS_DOCTOR_CHANGE_NAME_LOST = 1,
	IVS_DOCTOR_CHANGE_SHRUNK = 2,
	IVS_DOCTOR_CHANGE_GROWN = 4,
};

#define IVS_DOCTOR_REFUSALS_N 8

/** ivs_doctor_refusal_name() - why a server refuses clients: a name in its status, @i < 8 */
const char *ivs_doctor_refusal_name(unsigned int i);

/** struct ivs_doctor_blocked - a client that does not read; @program is untrusted, or "" */
struct ivs_doctor_blocked {
	unsigned int id;
	pid_t pid;
	uint64_t behind;
	char program[IVS_DOCTOR_PROGRAM_LEN];
};

/**
 * struct ivs_doctor_status - a server's status; untrusted
 * @peers_max:   limit on clients; 0: none
 * @changes:     enum ivs_doctor_change
 * @region_path: path of the region, or ""
 * @refused:     number of refused clients by reason, in the order of ivs_doctor_refusal_name()
 * @blocked:     the first @blocked_n clients that have not read for some time
 */
struct ivs_doctor_status {
	uint64_t peers_n;
	uint64_t peers_max;
	uint64_t vectors_n;
	uint64_t ids_left;
	unsigned int changes;
	char region_path[IVS_DOCTOR_PATH_LEN];
	uint64_t region_size;
	uint64_t refused[IVS_DOCTOR_REFUSALS_N];
	struct ivs_doctor_blocked blocked[IVS_DOCTOR_BLOCKED_MAX];
	unsigned int blocked_n;
};

/**
 * struct ivs_doctor_server - a server, or the path at which one should listen
 * @knows:        enum ivs_doctor_server_knows
 * @named:        the user asked about this socket
 * @path:         path of its socket; "" if unknown
 * @mode:         kind of the file at @path
 * @owner:        its owner
 * @denied_why:   why this user may not connect, and what to do about it
 * @spoken:       how it has broken the protocol
 * @listener:     the process that listens
 * @listener_uid: the user of that process when it started to listen
 * @pid:          the process that is the server according to its arguments; 0: unknown
 * @is_trusted:   that process belongs to root, or to the user of the doctor
 * @stopped:      that process is stopped (SIGSTOP)
 * @nofile:       its limit on file descriptors; 0: unknown
 * @nofile_top:   up to which it may raise @nofile
 * @maker:        whose program it is
 * @outdated:     the program file has been replaced since the process started
 * @unit:         its unit, such as "ivshmem@net.service", or ""
 */
struct ivs_doctor_server {
	unsigned int knows;
	bool named;
	char path[IVS_HOST_SOCKET_LEN];
	enum ivs_doctor_socket socket;
	mode_t mode;
	uid_t owner;
	char denied_why[IVS_DOCTOR_DENIED_LEN];
	char spoken[IVS_DOCTOR_SPOKEN_LEN];
	pid_t listener;
	uid_t listener_uid;
	pid_t pid;
	bool is_trusted;
	bool stopped;
	uint64_t nofile;
	uint64_t nofile_top;
	enum ivs_doctor_maker maker;
	bool outdated;
	char unit[IVS_DOCTOR_UNIT_LEN];
	struct ivs_doctor_status status;
};

#endif
