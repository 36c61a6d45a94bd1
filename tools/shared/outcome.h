/* SPDX-License-Identifier: BSD-3-Clause */
/* The results of commands, and messages about failures. */
#ifndef TOOLS_SHARED_OUTCOME_H
#define TOOLS_SHARED_OUTCOME_H

/*
 * The result of a command or of taking events. QUIT ends the program, and so does FAILED, except
 * for a command from standard input.
 */
enum outcome { OUTCOME_OK, OUTCOME_FAILED, OUTCOME_QUIT };

/** report_failure() - print "NAME: WHAT: WHY", with usage_name(). Return: OUTCOME_FAILED. */
enum outcome report_failure(const char *what, const char *why);

#endif
