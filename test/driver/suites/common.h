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
/*
 * Timeout for an expected event. It is long enough for a loaded machine without KVM and with a
 * debug kernel.
 */
#define TIMEOUT_MS 20000
/* How long to wait to be sure that an event does not occur. */
#define QUIET_MS 50

/* Send a request to the host (driver_guest.py), and wait until the host has carried it out. */
void ask(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Call @is_so repeatedly until it returns true. Return: false if TIMEOUT_MS pass before that */
bool eventually(bool (*is_so)(void *data), void *data);

int64_t now_ms(void);

/* The N of /dev/ivshmemN, for all functions except those with a parameter @number. */
extern int device_number;

int open_device(int flags);
int open_number(int number, int flags);
/* Open the sysfs attribute "memory". Return: the fd or -1 */
int open_memory(int flags);
struct ivs_ioc_info info_of(int fd);
void *map(int fd, uint64_t offset, size_t len, int prot);
const struct ivs_driver_status *map_status(int fd);

/*
 * Return: the value of an attribute in /sys/class/ivshmem/ivshmemN/, without the newline, or
 * "(none)" if the attribute does not exist
 */
const char *attribute(const char *name);
/* Write @text to a file. Return: 0 or -errno */
int write_file(const char *text, const char *path_format, ...)
	__attribute__((format(printf, 2, 3)));
/* Return: the number after the last line of a file that begins with @word, or -1 */
long number_in(const char *path, const char *word);

/* Return: the number of interrupts of @vector, from the sysfs attribute "interrupts" */
uint64_t count_of(unsigned int vector);
int listen_to(int fd, unsigned int vector, int event);
int ring(int fd, unsigned int peer, unsigned int vector);
/*
 * Wait until the eventfd is readable, and read it. Return: the eventfd's count, or 0 on a timeout
 */
uint64_t take_event(int event, int timeout_ms);

/* Return: the memory type of @addr according to the page tables; see modules/ivs_walk.h */
const char *cache_type(const void *addr);
uint64_t physical(const void *addr); /* 0 if not present */

/* Run @run as @user in a child process, which continues the numbering of the cases. */
void as_user(uid_t user, gid_t group, void (*run)(void));

/* Run a suite of tests. Return: 0, or another value if the arguments are invalid */
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
int suite_worst(int argc, char **argv);
int suite_path(int argc, char **argv);

/* For eventually(). Return: whether the device node can be opened */
bool is_there(void *unused);

#endif
