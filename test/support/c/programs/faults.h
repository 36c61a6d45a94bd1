/* SPDX-License-Identifier: BSD-3-Clause */
/* Interface between faults.c and faults_malloc.c. */
#ifndef TEST_SUPPORT_FAULTS_H
#define TEST_SUPPORT_FAULTS_H

/*
 * faults_malloc.c "writes" to this invalid fd to ask whether an allocation must fail. Every sandbox
 * allows write(2), and writing to this fd has no effect.
 */
#define FAULTS_MALLOC_FD (-7007)

/* Allocations are counted like a system call of this number. */
#define FAULTS_MALLOC_NR 100000

#endif
