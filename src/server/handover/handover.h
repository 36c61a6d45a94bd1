/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handover: the state that outlives the process, so that clients keep their connections across
 * an upgrade, a restart or a crash.
 *
 * A memfd contains notes and the roster's memory: who is connected, and what each client has been
 * told. The rest of the handover consists of open fds with names: the region, the listening socket,
 * the eventfds of each seat, and the socket of each client. After SIGUSR2, the next program in this
 * process resumes from them. After a restart or a crash, the next process of the service resumes
 * from the copies of the fds that the service manager has (in its "file descriptor store").
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
#include "daemon/log.h"
#include "daemon/service.h"
#include "ivshmem/region.h"
#include "roster/memory.h"
#include "server/client.h"

#define IVS_HANDOVER_ADDRESS_LEN 4112
#define IVS_HANDOVER_FILTER_LEN 16384

/**
 * struct ivs_handover_notes - the beginning of the memfd
 * @magic, @version: the format; state in any other format cannot be resumed
 * @resumed_n:  number of programs that have resumed from this state
 * @socket_dev, @socket_ino: device and inode of the socket file that a server created; 0: another
 *                           process created the socket
 * @control_dev, @control_ino: the same for the control socket; 0: none
 * @region_created: a server created the region, so the last server removes it
 * @memory_len: length of the roster's memory, which follows the notes, in bytes
 * @region_len: length of the region in bytes
 * @region:     address of the region
 * @filter:     the loaded system call filter, as listed by ivs_sandbox_list(); "": none
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

/* The server's own fds, which belong to no client. */
enum ivs_handover_own {
	IVS_HANDOVER_STATE,
	IVS_HANDOVER_REGION,
	IVS_HANDOVER_LISTENER,
	IVS_HANDOVER_OWN_N,
};

/**
 * struct ivs_handover - the handover
 * @state_fd:  the memfd, or -1
 * @file_len:  length of the memfd in bytes
 * @memory:    the roster's memory, which is part of the memfd
 * @service:   the service manager, if any
 * @inherited: fds that this process started with and that have not been taken yet
 * @resumed:   the server resumes the state of a previous server
 * @in_place:  the previous server ran in this process, before execve(2)
 * @unstored_fds: own fds that the manager still has to store; -1: nothing to store
 * @has_former:   the manager may have a previous server's fd of this name and must first drop it
 * @forget:    names of fds that the manager still has to drop
 * @rest:      fds of a previous process's clients that are not resumed
 * @log:       rate limit of log lines when clients leave
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
	struct ivs_inherited rest;
	struct ivs_log_limit log;
};

#define IVS_HANDOVER_INIT                                                                          \
	{                                                                                          \
		.state_fd = -1, .service.sock_fd = -1, .unstored_fds = {-1, -1, -1},               \
	}

extern const struct ivs_syscall ivs_handover_syscalls[];

enum ivs_handover_error {
	IVS_HANDOVER_E_ABSENT = 1, /* fds of the client are missing */
	IVS_HANDOVER_E_OTHER,	   /* the state has another format */
	IVS_HANDOVER_E_LATER,	   /* the manager has not read earlier messages, so retry later */
};

/**
 * ivs_handover_open() - take the state and fds of a previous server, or start with new state
 * @list_fd: the list from ivs_inherited_pass(), or -1
 *
 * If there is state that cannot be resumed, the function logs this and starts with new state.
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_handover_open(struct ivs_handover *handover, int list_fd,
				   struct ivs_error *err);

/** ivs_handover_forget_own() - have the manager drop the server's own fds after a failed start */
void ivs_handover_forget_own(struct ivs_handover *handover);

/** ivs_handover_close() - close the handover; the manager keeps its copies of the fds */
void ivs_handover_close(struct ivs_handover *handover);

/**
 * ivs_handover_read_notes() - read the notes in @fd, the memfd of another process
 *
 * Return: 0; IVS_HANDOVER_E_OTHER: this program cannot resume from @fd; -errno.
 */
IVS_MUST_USE int ivs_handover_read_notes(int fd, struct ivs_handover_notes *notes,
					 struct ivs_error *err);

/** ivs_handover_notes() - the notes; the pointer is valid until the roster's memory grows */
struct ivs_handover_notes *ivs_handover_notes(const struct ivs_handover *handover);

/**
 * ivs_handover_open_region() - take the previous server's region, or open one
 *
 * If the previous region has another address or size, the previous state is discarded.
 *
 * Return: 0, IVS_REGION_E_*, -errno.
 */
IVS_MUST_USE int ivs_handover_open_region(struct ivs_handover *handover, const char *address,
					  const struct ivs_region_options *opts,
					  struct ivs_region **out, struct ivs_error *err);

/**
 * ivs_handover_take_listener() - take the previous server's listening socket, or the manager's
 * @path: path of the socket; a previous socket at another path is closed
 * @ours: set to the socket file if the server has to remove it, otherwise to all zeroes
 *
 * Return: the socket; -1: none.
 */
int ivs_handover_take_listener(struct ivs_handover *handover, const char *path, struct stat *ours);

/** ivs_handover_store_listener() - record and store a new listening socket; @name: its file */
void ivs_handover_store_listener(struct ivs_handover *handover, int sock_fd,
				 const struct stat *name);

/**
 * ivs_handover_take_control() - take over the control socket of the program that ran in this
 * process before execve(2)
 * @name: set to the attributes of the socket's file
 *
 * Return: the socket; -1: none.
 */
int ivs_handover_take_control(struct ivs_handover *handover, struct stat *name);

/** ivs_handover_take_closer() - take the previous program's pool of helper processes; -1: none */
int ivs_handover_take_closer(struct ivs_handover *handover);

/** ivs_handover_note_control() - record the file of a new control socket */
void ivs_handover_note_control(struct ivs_handover *handover, const struct stat *name);

/**
 * struct ivs_handover_client - what identifies the fds of a client or a vacant seat
 * @serial: the client's serial; 0: the seat is vacant
 */
struct ivs_handover_client {
	unsigned int id;
	uint64_t serial;
	uint64_t seat_serial;
	unsigned int vectors_n;
};

/**
 * ivs_handover_take_client() - create a client from the fds of a client or a vacant seat of the
 * previous server
 *
 * Return: 0, IVS_HANDOVER_E_ABSENT, -errno. If the client's socket is missing, its eventfds are
 * left for the vacant seat.
 */
IVS_MUST_USE int ivs_handover_take_client(struct ivs_handover *handover,
					  const struct ivs_handover_client *which,
					  struct ivs_client **out);

/**
 * ivs_handover_take_rest() - take the fds of former clients that are not resumed, and close all
 * other fds that have not been taken
 *
 * The sockets are shut down. The manager drops its copies after ivs_handover_retry_store().
 *
 * Return: the object of ivs_client_of_rest(); NULL: there are no such fds, or they have been closed
 * because memory is short.
 */
struct ivs_client *ivs_handover_take_rest(struct ivs_handover *handover);

/**
 * ivs_handover_store_client() - have the manager store the fds of @client
 *
 * Return: 0, IVS_HANDOVER_E_LATER, -errno.
 */
IVS_MUST_USE int ivs_handover_store_client(const struct ivs_handover *handover,
					   struct ivs_client *client);

/**
 * ivs_handover_forget_client() - have the next ivs_handover_retry_store() make the manager drop the
 * fds of @client
 */
void ivs_handover_forget_client(struct ivs_handover *handover, const struct ivs_client *client);

/**
 * ivs_handover_retry_store() - send the updates that the manager has not accepted yet
 *
 * Return: 0; IVS_HANDOVER_E_LATER: the manager's socket is full; -errno: sending is impossible.
 */
IVS_MUST_USE int ivs_handover_retry_store(struct ivs_handover *handover);

/**
 * struct ivs_handover_fds - fds of a server that belong to no client
 * @control: the control socket; -1: none
 */
struct ivs_handover_fds {
	int region;
	int listener;
	int control;
};

/**
 * ivs_handover_list_fds() - list all fds for the next program in this process
 * @seats:    the vacant seats
 * @departed: clients that have left; the next program closes their fds
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int
ivs_handover_list_fds(const struct ivs_handover *handover, const struct ivs_handover_fds *fds,
		      struct ivs_client *const *clients, struct ivs_client *const *seats,
		      const struct ivs_client *departed, struct ivs_inherited *out);

#endif
