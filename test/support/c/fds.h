/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fds in tests: count the open ones, make some that can be told apart, send them raw.
 *
 * On failure of a system call these end the process: a test that cannot prepare must not pass.
 */
#ifndef TEST_SUPPORT_FDS_H
#define TEST_SUPPORT_FDS_H

#include <stdbool.h>
#include <stddef.h>

/** test_fds_open() - number of open fds of this process */
unsigned int test_fds_open(void);

/** test_fds_check() - fail unless @before fds are open: Criterion ignores failures in .fini */
void test_fds_check(unsigned int before);

/** test_fds_make() - a new fd, with an inode of its own */
int test_fds_make(void);

/** test_fds_same() - whether two fds are the same file */
bool test_fds_same(int a, int b);

/** test_fds_cloexec() - whether @fd closes on exec */
bool test_fds_cloexec(int fd);

/** test_fds_pair() - a connected pair of blocking UNIX stream sockets */
void test_fds_pair(int out[2]);

/** test_fds_send() - send bytes and fds in one sendmsg(); @fds_n may be 0 */
void test_fds_send(int sock, const void *bytes, size_t len, const int *fds, size_t fds_n);

/**
 * test_fds_exhaust() - set the soft limit so that exactly @spare more fds can be opened
 *
 * Expects the open fds to be dense from 0 up; fills holes with copies of fd 0.
 */
void test_fds_exhaust(unsigned int spare);

#endif
