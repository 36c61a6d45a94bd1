/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/spin.h"

#define FIRST_NS 16000
#define SOON 2 /* times the longest look */

/*
 * If what the call waited for came soon, looking a little longer could have spared the sleep. If it
 * did not come within the longest look either, it comes at intervals that looking does not cover.
 */
void ivs_spin_learn(struct ivs_spin *spin, int64_t waited_ns)
{
	int64_t longer_ns = spin->ns ? spin->ns * 2 : FIRST_NS;

	if (waited_ns >= spin->max_ns * SOON || spin->ns == spin->max_ns)
		spin->ns = 0;
	else
		spin->ns = longer_ns < spin->max_ns ? longer_ns : spin->max_ns;
}
