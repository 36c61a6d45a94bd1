/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What a program says to its service manager: sd_notify(3), and fds for its file descriptor store.
 *
 * Not libsystemd's functions: these connect anew each time and wait. Here one socket is connected at
 * the start, so that it can be used after chroot(2) and under a system call filter, and nothing ever
 * waits for the manager.
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
 * struct ivs_service - the way to the manager
 * @sock_fd:        -1: there is no manager
 * @watchdog_ns: how often it wants to hear of us; 0: never
 */
struct ivs_service {
	int sock_fd;
	int64_t watchdog_ns;
};

enum ivs_service_error {
	IVS_SERVICE_E_LATER = 1, /* the manager has not read what it was told before */
};

extern const struct ivs_syscall ivs_service_syscalls[];

/** The most fds that ivs_service_store() takes at once. */
#define IVS_SERVICE_BATCH 32

/** ivs_service_open() - the manager that the environment names, if any. Return: 0 or -errno. */
IVS_MUST_USE int ivs_service_open(struct ivs_service *service, struct ivs_error *err);

/** ivs_service_adopt() - the socket of a former program in this process, or -1 */
void ivs_service_adopt(struct ivs_service *service, int sock);

void ivs_service_close(struct ivs_service *service);

/** ivs_service_exists() - whether there is a manager */
static inline bool ivs_service_exists(const struct ivs_service *service)
{
	return service->sock_fd >= 0;
}

/**
 * ivs_service_say() - "READY=1" and the like, several lines at a time
 *
 * Return: 0, also without a manager; IVS_SERVICE_E_LATER, -errno: it has not been said.
 */
int ivs_service_say(const struct ivs_service *service, const char *text);

/**
 * ivs_service_store() - give copies of fds to the manager, which has them at the next start
 * @fds_n:    at most IVS_SERVICE_BATCH
 * @stored_n: how many it has been given, in order, also when the result is not 0
 *
 * Return: 0, IVS_SERVICE_E_LATER, -errno.
 */
IVS_MUST_USE int ivs_service_store(const struct ivs_service *service,
				   const struct ivs_named_fd *fds, unsigned int fds_n,
				   unsigned int *stored_n);

/** ivs_service_forget() - the same in reverse, by name; the fds in @fds are not looked at */
IVS_MUST_USE int ivs_service_forget(const struct ivs_service *service,
				    const struct ivs_named_fd *fds, unsigned int fds_n,
				    unsigned int *forgotten_n);

#endif
