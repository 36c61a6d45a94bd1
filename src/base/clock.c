/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/clock.h"

#include <stdio.h>

const char *ivs_clock_wall_text(int64_t wall_ms, char out[IVS_CLOCK_TEXT_LEN])
{
	int64_t ms = wall_ms % 1000;
	time_t seconds;
	struct tm parts = {0};

	ms += ms < 0 ? 1000 : 0;
	seconds = (time_t)((wall_ms - ms) / 1000);
	gmtime_r(&seconds, &parts);
	snprintf(out, IVS_CLOCK_TEXT_LEN, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
		 parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday, parts.tm_hour, parts.tm_min,
		 parts.tm_sec, (int)ms);
	return out;
}
