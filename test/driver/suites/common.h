/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helpers for tests of the guest driver: requests to the host, and access to the device. All suites
 * are in one static program, driver-test (main.c), to keep the initramfs small.
 */
#ifndef DRIVER_TEST_COMMON_H
#define DRIVER_TEST_COMMON_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ivshmem/driver.h"
#include "ivshmem/registers.h"
#include "tap.h"

#define PAGE 4096UL
/* Timeout for an expected event, on a loaded machine without KVM and with a debug kernel. */
#define TIMEOUT_MS 20000
/* How long to wait to be sure that an event does not occur. */
#define QUIET_MS 50

/* Send a request to the host (driver_guest.py), and wait until the host has carried it out. */
void ask(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Poll @is_so until it returns true. Return: false after TIMEOUT_MS */
bool eventually(bool (*is_so)(void *data), void *data);

int64_t now_ms(void);

/* Number of the device node that functions use unless they have the parameter number. */
extern int device_number;

int open_device(int flags);
int open_number(int number, int flags);
struct ivs_ioc_info info_of(int fd);
void *map(int fd, uint64_t offset, size_t len, int prot);
const struct ivs_driver_status *map_status(int fd);

/* Return: an attribute in /sys/class/ivshmem/ivshmemN/, without the newline; "(none)" if absent */
const char *attribute(const char *name);
/* Write to a file. Return: 0 or -errno */
int write_file(const char *text, const char *path_format, ...)
	__attribute__((format(printf, 2, 3)));

uint64_t count_of(unsigned int vector); /* from the attribute interrupts */
int listen_to(int fd, unsigned int vector, int event);
int ring(int fd, unsigned int peer, unsigned int vector);
/* Wait until the eventfd is readable, and read it. Return: its count, or 0 on a timeout */
uint64_t take_event(int event, int timeout_ms);

/* Looked up in the page tables; see modules/ivs_walk.h. */
const char *cache_type(const void *addr);
uint64_t physical(const void *addr); /* 0: not present */

/* The suites. Return: 0, or another value if the arguments are invalid */
int suite_device(int argc, char **argv);
int suite_events(int argc, char **argv);
int suite_grid(int argc, char **argv);
int suite_mapgrid(int argc, char **argv);
int suite_mapping(int argc, char **argv);
int suite_user(int argc, char **argv);
int suite_life(int argc, char **argv);
int suite_load(int argc, char **argv);
int suite_storm(int argc, char **argv);
int suite_dmabuf(int argc, char **argv);
int suite_pin(int argc, char **argv);

/* Return: whether the device can be opened. For eventually(). */
bool is_there(void *unused);

#endif
