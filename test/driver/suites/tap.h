/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The output of the test program, in TAP: cases that are checked once, and cases that are repeated.
 */
#ifndef DRIVER_TEST_TAP_H
#define DRIVER_TEST_TAP_H

#include <stdbool.h>

/*
 * Begin the output. @suite becomes part of each case's name. Child processes add cases to the same
 * plan.
 */
void tap_begin(const char *suite);

/* Print the plan. Return: the exit status of the program. */
int tap_end(void);

/* Report a case. Return: @ok */
bool check(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/*
 * Report a case: a call that returned @result must have set errno to @expected, or must have
 * succeeded if @expected is 0.
 */
bool check_errno(int expected, long result, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/*
 * Check a precondition of all later cases. If it does not hold, the program exits with a failure.
 */
void need(bool ok, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Print a comment. */
void note(const char *format, ...) __attribute__((format(printf, 1, 2)));

/*
 * Count one repetition of the check that @what identifies. All repetitions of a check together are
 * one case, whose name contains their number. check_repeated_report() prints these cases.
 * Thread-safe.
 */
void check_repeated(bool ok, const char *what);
void check_repeated_report(void);

#endif
