/* SPDX-License-Identifier: BSD-3-Clause */
/* The screen of "ivshmem top": curses, keys and signals. */
#ifndef TOOLS_IVSHMEM_TOP_SCREEN_H
#define TOOLS_IVSHMEM_TOP_SCREEN_H

#include "tools/ivshmem/top_sample.h"
#include "tools/ivshmem/top_view.h"

/**
 * top_screen_run() - show the model until the user ends the program
 *
 * A signal that ends the program restores the terminal first.
 *
 * Return: an exit status, after printing the reason for a failure.
 */
int top_screen_run(struct top_sampler *sampler, struct top_view *view);

/** top_notice() - set the notice at the bottom: what could not be examined, or does not answer */
void top_notice(const struct top_sampler *sampler, char out[TOP_NOTE_LEN]);

#endif
