/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Messages to the service manager: sd_notify(3), and fds for its file descriptor store.
 *
 * libsystemd's functions connect for each message, and block. Here one socket is connected at the
 * start, so that it works after chroot(2) and under a system call filter, and no call blocks.
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
 * @sock_fd:        -1: there is no manager
 * @watchdog_ns: it expects a report at least this often; 0: none
 */
struct ivs_service {
	int sock_fd;
	int64_t watchdog_ns;
};

enum ivs_service_error {
	IVS_SERVICE_E_LATER = 1, /* the manager has not read earlier messages */
};

extern const struct ivs_syscall ivs_service_syscalls[];

/** The most fds that ivs_service_store() takes at once. */
#define IVS_SERVICE_BATCH 32

/** ivs_service_open() - connect to the manager if NOTIFY_SOCKET names one. Return: 0 or -errno. */
IVS_MUST_USE int ivs_service_open(struct ivs_service *service, struct ivs_error *err);

/**
 * ivs_service_adopt() - take over the socket of a former program of this process; -1: it had none
 */
void ivs_service_adopt(struct ivs_service *service, int sock);

void ivs_service_close(struct ivs_service *service);

/** ivs_service_exists() - whether there is a manager */
static inline bool ivs_service_exists(const struct ivs_service *service)
{
	return service->sock_fd >= 0;
}

/**
 * ivs_service_say() - send lines such as "READY=1"
 *
 * Return: 0, also without a manager; IVS_SERVICE_E_LATER, -errno: not sent.
 */
int ivs_service_say(const struct ivs_service *service, const char *text);

/**
 * ivs_service_store() - store copies of fds at the manager, which passes them to the next start
 * @fds_n:    at most IVS_SERVICE_BATCH
 * @stored_n: how many were sent, in order, also if the result is not 0
 *
 * Return: 0, IVS_SERVICE_E_LATER, -errno.
 */
IVS_MUST_USE int ivs_service_store(const struct ivs_service *service,
				   const struct ivs_named_fd *fds, unsigned int fds_n,
				   unsigned int *stored_n);

/** ivs_service_forget() - have the manager drop fds, by name; as ivs_service_store() */
IVS_MUST_USE int ivs_service_forget(const struct ivs_service *service,
				    const struct ivs_named_fd *fds, unsigned int fds_n,
				    unsigned int *forgotten_n);

#endif
