/* SPDX-License-Identifier: BSD-3-Clause */
/* What the slots of a process say of themselves, as JSON: see ivshmem-device(1), STATUS. */
#ifndef IVS_SLOT_STATUS_H
#define IVS_SLOT_STATUS_H

#include "slot/slot.h"

/** What is asked for, as one line. */
#define IVS_SLOT_STATUS_REQUEST "{\"request\":\"status\"}"

/**
 * ivs_slot_answer() - the answer to one line at the control socket
 * @line: any bytes, without the newline
 * @text: the caller's to free(); one line with its newline
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int ivs_slot_answer(struct ivs_slot *const *slots, unsigned int slots_n,
				 const char *line, size_t line_len, char **text, size_t *len);

#endif
