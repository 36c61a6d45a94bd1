/* SPDX-License-Identifier: BSD-3-Clause */
/* What is checked hundreds of times is one case: how often it was so. */
#ifndef DRIVER_TEST_OFTEN_H
#define DRIVER_TEST_OFTEN_H

#include <stdbool.h>

/* Once more. @what: a string that is the same each time. Also from threads. */
void often(bool ok, const char *what);

/* The cases. */
void often_report(void);

#endif
