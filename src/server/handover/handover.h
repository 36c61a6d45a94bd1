/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What outlives the process: so that an upgrade, a restart or a crash costs no client anything.
 *
 * A memfd with notes and the roster's memory says who is there and what each has been told; every
 * other thing is an open fd with a name (the region, the listening socket, each client's socket and
 * eventfds). Whoever holds these can go on: the next program in this process (SIGUSR2), or the next
 * process of a service, whose manager keeps copies of the fds (its "file descriptor store").
 *
 * The manager is given a client's fds before the client is told anything, so that nobody has heard of
 * a client that would not be there after a crash.
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
 * @magic, @version: whoever does not know these cannot go on
 * @resumed_n:  how often another process has gone on
 * @socket_dev, @socket_ino: the listening socket's name when it was made; 0: it is not ours
 * @control_dev, @control_ino: likewise of the control socket
 * @region_created: the region was made by a server, to be removed by the last
 * @memory_len: of the roster's memory, which follows, in bytes
 * @region_len: its bytes
 * @region:     address of the region
 * @filter:     the system call filter in force, as ivs_sandbox_list() has it; "" if there is none
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

/* What there is once, besides clients. */
enum ivs_handover_own {
	IVS_HANDOVER_STATE,
	IVS_HANDOVER_REGION,
	IVS_HANDOVER_LISTENER,
	IVS_HANDOVER_OWN_N,
};

/**
 * struct ivs_handover - all that is kept
 * @fd:        the memfd; -1: nothing is kept
 * @file_len:  its bytes
 * @memory:    the roster's part of it
 * @service:   the manager, if any
 * @inherited: what this process began with and nobody has taken yet
 * @resumed:   there was another before us, to go on from
 * @in_place:  that was a program in this process
 * @own:       what the manager is still to be given a copy of; -1: nothing
 * @own_old:   the manager may have one of before under the same name, which must go first
 * @forget:    names that the manager still has to forget
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
	IVS_HANDOVER_E_ABSENT = 1,
	IVS_HANDOVER_E_OTHER, /* left by a program that kept it otherwise */
	IVS_HANDOVER_E_LATER, /* the manager has not read what it was sent before */
};

/**
 * ivs_handover_open() - take what another process left, or begin
 * @list_fd: of ivs_handover_pass(), or -1
 *
 * What cannot be gone on with is closed, with a line in the log.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_handover_open(struct ivs_handover *handover, int list_fd,
				   struct ivs_error *err);

/** ivs_handover_forget_own() - have the manager forget what is ours: nothing is to be gone on with */
void ivs_handover_forget_own(struct ivs_handover *handover);

/** ivs_handover_close() - what the manager has it keeps */
void ivs_handover_close(struct ivs_handover *handover);

/**
 * ivs_handover_read_notes() - the notes in @fd, a memfd of another, if this program could go on with it
 *
 * Return: 0, IVS_HANDOVER_E_OTHER, -errno.
 */
IVS_MUST_USE int ivs_handover_read_notes(int fd, struct ivs_handover_notes *notes,
					 struct ivs_error *err);

/** ivs_handover_notes() - valid until the roster's memory grows */
struct ivs_handover_notes *ivs_handover_notes(const struct ivs_handover *handover);

/**
 * ivs_handover_open_region() - the region of before, or ivs_region_open()
 *
 * If it was another, nothing of before is gone on with.
 */
IVS_MUST_USE int ivs_handover_open_region(struct ivs_handover *handover, const char *address,
					  const struct ivs_region_options *opts,
					  struct ivs_region **out, struct ivs_error *err);

/**
 * ivs_handover_take_listener() - the listening socket of before, or the manager's; -1 if there is none
 * @path: where to listen; one of before elsewhere is let go of
 * @ours: its name in the file system, if that is for us to remove, else all 0
 */
int ivs_handover_take_listener(struct ivs_handover *handover, const char *path, struct stat *ours);

/** ivs_handover_store_listener() - @sock is new and ours */
void ivs_handover_store_listener(struct ivs_handover *handover, int sock, const struct stat *name);

/** ivs_handover_take_control() - the control socket of a former program in this process; -1 if there is none */
int ivs_handover_take_control(struct ivs_handover *handover, struct stat *name);

/** ivs_handover_note_control() - it is new */
void ivs_handover_note_control(struct ivs_handover *handover, const struct stat *name);

/**
 * ivs_handover_take_client() - client @id of before
 *
 * Return: 0, IVS_HANDOVER_E_ABSENT if not all of its fds are there, -errno.
 */
IVS_MUST_USE int ivs_handover_take_client(struct ivs_handover *handover, unsigned int id,
					  uint64_t serial, unsigned int vectors_n,
					  struct ivs_client **out);

/** ivs_handover_close_rest() - close what nobody has taken, and have the manager do so at ivs_handover_retry_store() */
void ivs_handover_close_rest(struct ivs_handover *handover);

/** ivs_handover_store_client() - have the manager keep @client. Return: 0, IVS_HANDOVER_E_LATER, -errno. */
IVS_MUST_USE int ivs_handover_store_client(const struct ivs_handover *handover,
					   struct ivs_client *client);

/** ivs_handover_forget_client() - have the manager forget @client, now or at ivs_handover_retry_store() */
void ivs_handover_forget_client(struct ivs_handover *handover, const struct ivs_client *client);

/**
 * ivs_handover_retry_store() - tell the manager what it had no room for before
 *
 * Return: 0, IVS_HANDOVER_E_LATER if it still has none, -errno if it cannot be told at all.
 */
IVS_MUST_USE int ivs_handover_retry_store(struct ivs_handover *handover);

/**
 * struct ivs_handover_fds - what a server has besides its clients
 * @control: -1: none
 */
struct ivs_handover_fds {
	int region;
	int listener;
	int control;
};

/** ivs_handover_list_fds() - every fd that the next program in this process needs. Return: 0 or -errno. */
IVS_MUST_USE int ivs_handover_list_fds(const struct ivs_handover *handover,
				       const struct ivs_handover_fds *fds,
				       struct ivs_client *const *clients, unsigned int ids_end,
				       struct ivs_inherited *out);

#endif
