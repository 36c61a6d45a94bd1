/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor/finding.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/shell.h"

#define USERS_MAX 8

struct ivs_doctor_finding *ivs_doctor_found(struct ivs_doctor_findings *findings,
					    const char *format, ...)
{
	struct ivs_doctor_finding *grown;
	struct ivs_doctor_finding *finding;
	va_list args;

	if (findings->n == IVS_DOCTOR_FINDINGS_MAX) {
		findings->left_n++;
		return NULL;
	}
	grown = reallocarray(findings->list, findings->n + 1, sizeof(*grown));
	if (!grown) {
		findings->result = -ENOMEM;
		return NULL;
	}
	findings->list = grown;
	finding = &grown[findings->n++];
	*finding = (struct ivs_doctor_finding){.rule = findings->rule};
	memcpy(finding->subject, findings->name, sizeof(finding->subject));
	va_start(args, format);
	vsnprintf(finding->text, sizeof(finding->text), format, args);
	va_end(args);
	return finding;
}

void ivs_doctor_command(struct ivs_doctor_finding *finding, const char *before, const char *path,
			const char *after)
{
	size_t len;

	if (!finding)
		return;
	*finding->command = '\0';
	len = strlen(before);
	if (path)
		ivs_shell_add(finding->command, sizeof(finding->command), before, path, after);
	else if (len + strlen(after) < sizeof(finding->command))
		strcpy(strcpy(finding->command, before) + len, after);
}

void ivs_doctor_command_on(struct ivs_doctor_finding *finding, bool is_safe, uid_t uid,
			   const char *before, const char *path)
{
	char words[128];

	if (!is_safe && uid)
		snprintf(words, sizeof(words), "setpriv --reuid %u --clear-groups %s",
			 (unsigned int)uid, before);
	if (is_safe || uid)
		ivs_doctor_command(finding, is_safe ? before : words, path, "");
}

void ivs_doctor_advise(struct ivs_doctor_finding *finding, const char *format, ...)
{
	va_list args;

	if (!finding)
		return;
	va_start(args, format);
	vsnprintf(finding->advice, sizeof(finding->advice), format, args);
	va_end(args);
}

const char *ivs_doctor_users_text(const struct ivs_host_region *region,
				  char out[IVS_DOCTOR_TEXT_LEN])
{
	char text[IVS_HOST_USER_TEXT_LEN];
	size_t len = 0;

	*out = '\0';
	for (size_t i = 0; i < region->users_n && i < USERS_MAX && len < IVS_DOCTOR_TEXT_LEN; i++)
		len += (size_t)snprintf(out + len, IVS_DOCTOR_TEXT_LEN - len, "%s%s", i ? ", " : "",
					ivs_host_users_text(&region->users[i], text));
	return out;
}

void ivs_doctor_findings_deinit(struct ivs_doctor_findings *findings)
{
	free(findings->list);
	*findings = (struct ivs_doctor_findings){0};
}
