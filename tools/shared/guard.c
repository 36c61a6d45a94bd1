/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/shared/guard.h"

#include <string.h>
#include <unistd.h>

#include "tools/shared/usage.h"

struct guard guard;

static void handle_lost_page(int signo)
{
	static const char text[] = ": the region: " GUARD_LOST "\n";

	(void)signo;
	if (guard.active)
		siglongjmp(guard.lost, 1);
	if (write(STDERR_FILENO, usage_name(), strlen(usage_name())) < 0 ||
	    write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(STATUS_FAILED + 1);
	_exit(STATUS_FAILED);
}

void guard_start(void)
{
	struct sigaction action = {.sa_handler = handle_lost_page};

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}
