/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef DEVICE_ROWS_H
#define DEVICE_ROWS_H

/**
 * device_rows_run() - run lines for device_script.h, each terminated by a newline, and check their
 * output
 *
 * In each line the text after " = " is the expected output. A line without " = " must produce no
 * output.
 */
void device_rows_run(const char *rows);

#endif
