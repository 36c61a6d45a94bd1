/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_ROWS_H
#define DEVICE_ROWS_H

/**
 * device_rows_run() - lines of support/device_script.h, each ended by a newline; behind " = " stands
 * what has to come of one, or nothing of it
 */
void device_rows_run(const char *rows);

#endif
