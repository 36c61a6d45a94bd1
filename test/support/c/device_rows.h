/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_ROWS_H
#define DEVICE_ROWS_H

/**
 * device_rows_run() - run lines of device_script.h, each ended by a newline, and compare
 *
 * The text after " = " is the expected output; without it no output is expected.
 */
void device_rows_run(const char *rows);

#endif
