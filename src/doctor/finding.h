/* SPDX-License-Identifier: BSD-3-Clause */
/* What the rules have found, in words. Pure. */
#ifndef IVS_DOCTOR_FINDING_H
#define IVS_DOCTOR_FINDING_H

#include "host/regions.h"
#include "ivshmem/api.h"

#define IVS_DOCTOR_TEXT_LEN 1024
#define IVS_DOCTOR_CURE_LEN 4608 /* room for a command with a quoted path */
#define IVS_DOCTOR_NAME_LEN 320
#define IVS_DOCTOR_FINDINGS_MAX 4096 /* any user can create many faulty files */

struct ivs_doctor_rule;

/**
 * struct ivs_doctor_finding - a fault that a rule has found
 * @subject: name of the subject, such as "region shm:frames"; untrusted
 * @text:    what was found; untrusted
 * @command: shell command that mends it; "" if it takes more than a command
 * @advice:  what to do if there is no command, or before it or after it; may be ""; untrusted
 */
struct ivs_doctor_finding {
	const struct ivs_doctor_rule *rule;
	char subject[IVS_DOCTOR_NAME_LEN];
	char text[IVS_DOCTOR_TEXT_LEN];
	char command[IVS_DOCTOR_CURE_LEN];
	char advice[IVS_DOCTOR_TEXT_LEN];
};

/**
 * struct ivs_doctor_findings - the findings, in the order of the table
 * @left_n: findings beyond IVS_DOCTOR_FINDINGS_MAX, which were left out
 * @result: 0; -ENOMEM: the list is incomplete
 * @rule:   the rule that is being applied
 * @name:   name of its subject
 */
struct ivs_doctor_findings {
	struct ivs_doctor_finding *list;
	size_t n;
	size_t left_n;
	int result;
	const struct ivs_doctor_rule *rule;
	char name[IVS_DOCTOR_NAME_LEN];
};

/**
 * ivs_doctor_found() - report a fault of the subject that is being looked at
 *
 * Return: the finding, for the functions below; NULL if there are too many, or memory is exhausted.
 */
IVS_PRINTF(2, 3)
struct ivs_doctor_finding *ivs_doctor_found(struct ivs_doctor_findings *findings,
					    const char *format, ...);

/**
 * ivs_doctor_command() - set the command that mends the fault
 * @before: the command up to a path
 * @path:   the path, which this function quotes; NULL: none
 * @after:  the rest of the command
 *
 * There is no command if the path cannot be quoted. No-op if @finding is NULL.
 */
void ivs_doctor_command(struct ivs_doctor_finding *finding, const char *before, const char *path,
			const char *after);

/**
 * ivs_doctor_command_on() - set a command that changes the file of a region
 * @is_safe: no other user can put another file at the path
 * @uid:     owner of the file
 *
 * The owner of a file could put a link in its place before root runs the command. So a command for
 * such a file runs as its owner; there is none if the file belongs to root.
 */
void ivs_doctor_command_on(struct ivs_doctor_finding *finding, bool is_safe, uid_t uid,
			   const char *before, const char *path);

/** ivs_doctor_advise() - set the advice; no-op if @finding is NULL */
IVS_PRINTF(2, 3)
void ivs_doctor_advise(struct ivs_doctor_finding *finding, const char *format, ...);

/** ivs_doctor_users_text() - the users of a region, at most eight of them by name. Return: @out. */
const char *ivs_doctor_users_text(const struct ivs_host_region *region,
				  char out[IVS_DOCTOR_TEXT_LEN]);

void ivs_doctor_findings_deinit(struct ivs_doctor_findings *findings);

#endif
