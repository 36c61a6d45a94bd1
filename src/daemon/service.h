/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages to the service manager: sd_notify(3), and fds for its fd store.
 *
 * libsystemd's functions connect for each message, and block. Here one socket is connected at
 * startup, so that it works after chroot(2) and under a system call filter, and no call blocks.
 *
 * Source: sd_notify(3), sections "Well-known assignments" and "Notes".
 */
#ifndef IVS_DAEMON_SERVICE_H
#define IVS_DAEMON_SERVICE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/syscalls.h"
#include "daemon/inherit.h"
#include "ivshmem/api.h"

/**
 * struct ivs_service - the connection to the service manager
 * @sock_fd:     connected socket; -1: there is no service manager
 * @watchdog_ns: longest interval between reports that the watchdog accepts; 0: no watchdog
 */
struct ivs_service {
	int sock_fd;
	int64_t watchdog_ns;
};

enum ivs_service_error {
	IVS_SERVICE_E_LATER = 1, /* the socket is full, or memory is low: retry later */
};

extern const struct ivs_syscall ivs_service_syscalls[];

/** The maximum number of fds per call of ivs_service_store() or ivs_service_forget(). */
#define IVS_SERVICE_BATCH 32

/**
 * ivs_service_open() - connect to the service manager if NOTIFY_SOCKET is set
 *
 * Return: 0 or -errno.
 */
IVS_MUST_USE int ivs_service_open(struct ivs_service *service, struct ivs_error *err);

/**
 * ivs_service_adopt() - take over the socket that was inherited across execve(2), or -1
 */
void ivs_service_adopt(struct ivs_service *service, int sock);

void ivs_service_close(struct ivs_service *service);

/** ivs_service_exists() - whether there is a service manager */
static inline bool ivs_service_exists(const struct ivs_service *service)
{
	return service->sock_fd >= 0;
}

/**
 * ivs_service_say() - send lines such as "READY=1"
 *
 * Return: 0, even without a service manager; IVS_SERVICE_E_LATER, -errno: not sent.
 */
int ivs_service_say(const struct ivs_service *service, const char *text);

/**
 * ivs_service_store() - put copies of fds in the fd store; the next start inherits them
 * @fds_n:    at most IVS_SERVICE_BATCH
 * @stored_n: set to the number of fds sent, in order, even if the result is not 0
 *
 * Return: 0, IVS_SERVICE_E_LATER, -errno.
 */
IVS_MUST_USE int ivs_service_store(const struct ivs_service *service,
				   const struct ivs_named_fd *fds, unsigned int fds_n,
				   unsigned int *stored_n);

/** ivs_service_forget() - remove fds from the fd store, by name; see ivs_service_store() */
IVS_MUST_USE int ivs_service_forget(const struct ivs_service *service,
				    const struct ivs_named_fd *fds, unsigned int fds_n,
				    unsigned int *forgotten_n);

/**
 * ivs_service_barrier() - ask the service manager to report when it has processed all messages that
 * have been sent so far
 * @fd: set to an fd that hangs up (EPOLLHUP) when this has happened, or when the service manager
 *      exits
 *
 * Return: 0, IVS_SERVICE_E_LATER, -errno.
 */
IVS_MUST_USE int ivs_service_barrier(const struct ivs_service *service, int *fd);

#endif
