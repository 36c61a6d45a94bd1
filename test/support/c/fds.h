/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Helpers for fds in tests: count the open fds, create fds that can be told apart, and send raw
 * messages with fds.
 *
 * If a system call fails, the helpers abort the process: a test that cannot be prepared must not
 * pass.
 */
#ifndef TEST_SUPPORT_FDS_H
#define TEST_SUPPORT_FDS_H

#include <stdbool.h>
#include <stddef.h>

/** test_fds_open() - return the number of open fds of this process */
unsigned int test_fds_open(void);

/** test_fds_check() - abort unless @before fds are open: Criterion ignores failures in .fini */
void test_fds_check(unsigned int before);

/** test_fds_make() - create an fd with its own inode */
int test_fds_make(void);

/** test_fds_same() - return true if both fds refer to the same file */
bool test_fds_same(int a, int b);

/** test_fds_cloexec() - return true if @fd is close-on-exec */
bool test_fds_cloexec(int fd);

/** test_fds_pair() - create a connected pair of blocking UNIX stream sockets */
void test_fds_pair(int out[2]);

/** test_fds_send() - send bytes and fds in one sendmsg(); @fds_n may be 0 */
void test_fds_send(int sock, const void *bytes, size_t len, const int *fds, size_t fds_n);

/**
 * test_fds_exhaust() - set the soft limit so that exactly @spare more fds can be opened
 *
 * Unused numbers below the highest open fd are filled with duplicates of fd 0.
 */
void test_fds_exhaust(unsigned int spare);

#endif
