/* SPDX-License-Identifier: BSD-3-Clause */
/* Interface between faults.c and faults_malloc.c. */
#ifndef TEST_SUPPORT_FAULTS_H
#define TEST_SUPPORT_FAULTS_H

/*
 * An allocation "writes" to this fd to ask whether it must fail: a system call that every sandbox
 * allows and that has no effect.
 */
#define FAULTS_MALLOC_FD (-7007)

/* This is counted as one more system call, with this number. */
#define FAULTS_MALLOC_NR 100000

#endif
