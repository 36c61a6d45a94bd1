/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/client/outcome.h"

#include <stdio.h>

enum outcome report_failure(const char *what, const char *why)
{
	fflush(stdout);
	fprintf(stderr, PROGRAM ": %s: %s\n", what, why);
	return OUTCOME_FAILED;
}
