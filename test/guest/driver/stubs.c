// SPDX-License-Identifier: BSD-3-Clause
#include "common.h"

int suite_pin(int argc, char **argv)
{
	(void)argv;
	return argc;
}
