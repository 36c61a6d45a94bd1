/* SPDX-License-Identifier: BSD-3-Clause */
/* The test program's output, in TAP: cases that are checked once, and cases that are repeated. */
#ifndef DRIVER_TEST_TAP_H
#define DRIVER_TEST_TAP_H

#include <stdbool.h>

/* Begin the output; @suite is part of each case's name. Child processes add to the same plan. */
void tap_begin(const char *suite);

/* Print the plan. Return: the exit status of the program. */
int tap_end(void);

/* A case. Return: @ok */
bool check(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A case: a call returned @result and was to set errno to @expected, or to succeed if that is 0. */
bool check_errno(int expected, long result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* A precondition of all further cases: if it does not hold, the program ends with a failure. */
void need(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A comment in the output. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * A check that is repeated many times makes one case, with the number of repetitions in its name.
 * @what identifies it. Thread-safe. check_repeated_report() prints the cases.
 */
void check_repeated(bool ok, const char *what);
void check_repeated_report(void);

#endif
