/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Run the PCI function with lines from standard input (support/c/device_script.h), and print the
 * output of each line.
 */
#include <stdio.h>

#include "support/c/device_script.h"

int main(void)
{
	static struct device_script script;
	char line[1024], out[DEVICE_SCRIPT_OUT];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		if (!device_script_line(&script, line, out)) {
			fprintf(stderr, "no such line: %s", line);
			return 2;
		}
		puts(out);
	}
	return 0;
}
