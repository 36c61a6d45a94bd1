/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/spin.h"

#define FIRST_NS 16000
#define MAX_NS                                                                                     \
	200000 /* a few times what it costs to sleep and to be woken; as KVM before it halts */
#define SOON_NS 400000

/*
 * If what the call waited for came soon, looking a little longer could have spared the sleep. If it
 * did not come within the longest look either, it comes at intervals that looking does not cover.
 */
void ivs_spin_learn(struct ivs_spin *spin, int64_t waited_ns)
{
	if (spin->is_off || waited_ns >= SOON_NS || spin->ns == MAX_NS)
		spin->ns = 0;
	else if (!spin->ns)
		spin->ns = FIRST_NS;
	else
		spin->ns = spin->ns * 2 < MAX_NS ? spin->ns * 2 : MAX_NS;
}
