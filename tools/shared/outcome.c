/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/outcome.h"

#include <stdio.h>

#include "tools/shared/usage.h"

enum outcome report_failure(const char *what, const char *why)
{
	fflush(stdout);
	usage_failed("%s: %s", what, why);
	return OUTCOME_FAILED;
}
