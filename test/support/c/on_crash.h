/* SPDX-License-Identifier: BSD-3-Clause */
/* Reporting what a test program was doing when it crashed. */
#ifndef TEST_SUPPORT_ON_CRASH_H
#define TEST_SUPPORT_ON_CRASH_H

/** on_crash() - call @say before this process dies of a fault, even a stack overflow */
void on_crash(void (*say)(void));

#endif
