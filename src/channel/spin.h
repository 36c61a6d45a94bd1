/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For how long a call that waits looks at the region before it sleeps: as long as that has paid
 * lately. Waking a process costs some 10 us, more than most messages. Pure.
 */
#ifndef IVS_CHANNEL_SPIN_H
#define IVS_CHANNEL_SPIN_H

#include <stdint.h>

/**
 * struct ivs_spin
 * @ns:     for how long to look, initially 0
 * @max_ns: the longest look; 0: never look
 */
struct ivs_spin {
	int64_t ns;
	int64_t max_ns;
};

/** ivs_spin_learn() - a call has slept, and waited for @waited_ns in all */
void ivs_spin_learn(struct ivs_spin *spin, int64_t waited_ns);

#endif
