/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For the programs that try the guest's driver: TAP, the host, the device. One program, "driver-test
 * SUITE [ARGUMENT]...", so that there is one static program in the guest.
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

#define PAGE 4096UL
/* For what must come, on a loaded machine without KVM and a kernel with checks; and what must not. */
#define TIMEOUT_MS 20000
#define QUIET_MS 50

/* One case: a TAP line. Return: @ok */
bool check(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A case for a result that is 0, and has errno in its name if it is not so. */
bool check_errno(int expected, long result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* What must be so for the rest to make sense: else the program ends as failed. */
void need(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A line that is no case. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Have the host do something, and wait until it has. */
void ask(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Look again and again, for TIMEOUT_MS. */
bool eventually(bool (*is_so)(void *data), void *data);

int64_t now_ms(void);

/* The device that is used if a function takes none: /dev/ivshmem0, or what "-d N" has said. */
extern int device_number;

int open_device(int flags);
int open_number(int number, int flags);
struct ivs_ioc_info info_of(int fd);
void *map(int fd, uint64_t offset, size_t len, int prot);
const struct ivs_driver_status *map_status(int fd);

/* The text of a file in /sys/class/ivshmem/ivshmemN/, without the newline at its end. */
const char *attribute(const char *name);
/* A file of sysfs, written to; 0 or -errno. */
int write_file(const char *text, const char *path_format, ...)
	__attribute__((format(printf, 2, 3)));

uint64_t count_of(unsigned int vector); /* in sysfs' interrupts */
int listen_to(int fd, unsigned int vector, int event);
int ring(int fd, unsigned int peer, unsigned int vector);
/* Whether it is readable within a time; its count is then taken. */
uint64_t take_event(int event, int timeout_ms);

/* What the page tables say: see modules/ivs_walk.h. */
const char *cache_type(const void *addr);
uint64_t physical(const void *addr); /* 0: nothing there */

/* The suites: 0, or what is wrong with the arguments. */
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

/* Whether the device can be opened; for often(). */
bool is_there(void *unused);

#endif
