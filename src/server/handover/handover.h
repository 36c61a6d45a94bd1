/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handover: what outlives the process, so that an upgrade, a restart or a crash does not cost
 * the clients their connections.
 *
 * A memfd has notes and the roster's memory: who is connected, and what each client has been told.
 * The rest are open fds with names: the region, the listening socket, and the socket and eventfds
 * of each client. The next program in this process resumes from these (SIGUSR2), or the next
 * process of the service, whose manager stores copies of the fds (its "file descriptor store").
 *
 * The fds of a client are stored before the client is sent anything. So no client knows of another
 * that would be lost in a crash.
 */
#ifndef IVS_SERVER_HANDOVER_HANDOVER_H
#define IVS_SERVER_HANDOVER_HANDOVER_H

#include <stdbool.h>
#include <sys/stat.h>

#include "base/syscalls.h"
#include "daemon/inherit.h"
#include "daemon/service.h"
#include "ivshmem/region.h"
#include "roster/memory.h"
#include "server/client.h"

#define IVS_HANDOVER_ADDRESS_LEN 4112
#define IVS_HANDOVER_FILTER_LEN 16384

/**
 * struct ivs_handover_notes - the beginning of the memfd
 * @magic, @version: others cannot be resumed
 * @resumed_n:  how many processes have resumed from it
 * @socket_dev, @socket_ino: the socket file when it was made; 0: another process made it
 * @control_dev, @control_ino: the same for the control socket
 * @region_created: a server created the region; the last one removes it
 * @memory_len: bytes of the roster's memory, which follows
 * @region_len: bytes of the region
 * @region:     address of the region
 * @filter:     the system call filter that is loaded, as of ivs_sandbox_list(); "": none
 */
struct ivs_handover_notes {
	char magic[8];
	uint32_t version;
	uint32_t resumed_n;
	uint64_t socket_dev;
	uint64_t socket_ino;
	uint64_t control_dev;
	uint64_t control_ino;
	uint64_t memory_len;
	uint64_t region_len;
	uint32_t region_created;
	char region[IVS_HANDOVER_ADDRESS_LEN];
	char filter[IVS_HANDOVER_FILTER_LEN];
};

/* Fds that are not a client's. */
enum ivs_handover_own {
	IVS_HANDOVER_STATE,
	IVS_HANDOVER_REGION,
	IVS_HANDOVER_LISTENER,
	IVS_HANDOVER_OWN_N,
};

/**
 * struct ivs_handover - the handover
 * @state_fd:  the memfd, or -1
 * @file_len:  its bytes
 * @memory:    the roster's part of it
 * @service:   the service manager, if any
 * @inherited: fds that this process started with and that have not been taken yet
 * @resumed:   there is state of a former server
 * @in_place:  that was a program in this process
 * @unstored_fds: fds that have to be stored at the manager; -1: stored
 * @has_former:   the manager may have an older one of that name, which has to be dropped first
 * @forget:    names of fds that the manager has to drop
 */
struct ivs_handover {
	int state_fd;
	uint64_t file_len;
	struct ivs_roster_memory memory;
	struct ivs_service service;
	struct ivs_inherited inherited;
	bool resumed;
	bool in_place;
	int unstored_fds[IVS_HANDOVER_OWN_N];
	bool has_former[IVS_HANDOVER_OWN_N];
	struct ivs_inherited forget;
};

#define IVS_HANDOVER_INIT                                                                          \
	{                                                                                          \
		.state_fd = -1, .service.sock_fd = -1, .unstored_fds = {-1, -1, -1},               \
	}

extern const struct ivs_syscall ivs_handover_syscalls[];

enum ivs_handover_error {
	IVS_HANDOVER_E_ABSENT = 1, /* fds of the client are missing */
	IVS_HANDOVER_E_OTHER,	   /* of another format */
	IVS_HANDOVER_E_LATER,	   /* the service manager has not read earlier messages */
};

/**
 * ivs_handover_open() - take what a former process left, or start without
 * @list_fd: of ivs_inherited_pass(), or -1
 *
 * State that cannot be resumed is closed and logged.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_handover_open(struct ivs_handover *handover, int list_fd,
				   struct ivs_error *err);

/** ivs_handover_forget_own() - have the manager drop our fds: there will be nothing to resume */
void ivs_handover_forget_own(struct ivs_handover *handover);

/** ivs_handover_close() - leaves the fds at the manager as they are */
void ivs_handover_close(struct ivs_handover *handover);

/**
 * ivs_handover_read_notes() - read the notes in @fd, the memfd of another process
 *
 * Return: 0; IVS_HANDOVER_E_OTHER: this program could not resume from it; -errno.
 */
IVS_MUST_USE int ivs_handover_read_notes(int fd, struct ivs_handover_notes *notes,
					 struct ivs_error *err);

/** ivs_handover_notes() - valid until the roster's memory grows */
struct ivs_handover_notes *ivs_handover_notes(const struct ivs_handover *handover);

/**
 * ivs_handover_open_region() - resume the region, or open it
 *
 * If the address or size differs, the former state is discarded.
 *
 * Return: 0, IVS_REGION_E_*, -errno.
 */
IVS_MUST_USE int ivs_handover_open_region(struct ivs_handover *handover, const char *address,
					  const struct ivs_region_options *opts,
					  struct ivs_region **out, struct ivs_error *err);

/**
 * ivs_handover_take_listener() - a former listening socket, or the manager's; -1: none
 * @path: where to listen; a former socket elsewhere is closed
 * @ours: the socket file if we are to remove it, else all 0
 */
int ivs_handover_take_listener(struct ivs_handover *handover, const char *path, struct stat *ours);

/** ivs_handover_store_listener() - note and store a new listening socket; @name: of its file */
void ivs_handover_store_listener(struct ivs_handover *handover, int sock_fd,
				 const struct stat *name);

/**
 * ivs_handover_take_control() - the control socket of a former program of this process; -1: none
 */
int ivs_handover_take_control(struct ivs_handover *handover, struct stat *name);

/** ivs_handover_note_control() - note the file of a new control socket */
void ivs_handover_note_control(struct ivs_handover *handover, const struct stat *name);

/**
 * ivs_handover_take_client() - take the fds of a former client
 *
 * Return: 0, IVS_HANDOVER_E_ABSENT, -errno.
 */
IVS_MUST_USE int ivs_handover_take_client(struct ivs_handover *handover, unsigned int id,
					  uint64_t serial, unsigned int vectors_n,
					  struct ivs_client **out);

/**
 * ivs_handover_close_rest() - close the fds that have not been taken
 *
 * The manager drops its copies at ivs_handover_retry_store().
 */
void ivs_handover_close_rest(struct ivs_handover *handover);

/** ivs_handover_store_client() - store its fds. Return: 0, IVS_HANDOVER_E_LATER, -errno. */
IVS_MUST_USE int ivs_handover_store_client(const struct ivs_handover *handover,
					   struct ivs_client *client);

/** ivs_handover_forget_client() - have the manager drop its fds at ivs_handover_retry_store() */
void ivs_handover_forget_client(struct ivs_handover *handover, const struct ivs_client *client);

/**
 * ivs_handover_retry_store() - send the updates that the manager has not accepted yet
 *
 * Return: 0; IVS_HANDOVER_E_LATER: its socket is full; -errno: they cannot be sent at all.
 */
IVS_MUST_USE int ivs_handover_retry_store(struct ivs_handover *handover);

/**
 * struct ivs_handover_fds - fds of a server that are not a client's
 * @control: -1: none
 */
struct ivs_handover_fds {
	int region;
	int listener;
	int control;
};

/**
 * ivs_handover_list_fds() - list all fds for the next program in this process.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_handover_list_fds(const struct ivs_handover *handover,
				       const struct ivs_handover_fds *fds,
				       struct ivs_client *const *clients, unsigned int ids_end,
				       struct ivs_inherited *out);

#endif
