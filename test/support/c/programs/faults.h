/* SPDX-License-Identifier: BSD-3-Clause */
/* What faults.c and faults_malloc.c have agreed on. */
#ifndef TEST_SUPPORT_FAULTS_H
#define TEST_SUPPORT_FAULTS_H

/*
 * To ask whether it shall fail, an allocation "writes" to this fd: a system call that any sandbox
 * lets through and that does nothing.
 */
#define FAULTS_MALLOC_FD (-7007)

/* And so it is one more system call, with this number. */
#define FAULTS_MALLOC_NR 100000

#endif
