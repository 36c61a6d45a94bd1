/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/cost.h"

unsigned int ivs_cost_batch(const struct ivs_cost *cost, int64_t now_ns)
{
	if (ivs_cost_is_slow(cost) || !cost->sent_ns ||
	    now_ns - cost->sent_ns > IVS_COST_TRUSTED_NS)
		return 1;
	return IVS_COST_BATCH;
}

/*
 * Each time a send exceeds even IVS_COST_MAX_NS, the client has to be quick for twice as many
 * messages: watchers can be arranged so that they cost nothing for some messages, and a lot for the
 * next ones.
 */
static void record_slow(struct ivs_cost *cost, bool too_slow)
{
	if (cost->quick_max < IVS_COST_QUICK_MIN)
		cost->quick_max = IVS_COST_QUICK_MIN;
	else if (too_slow && cost->quick_max < IVS_COST_QUICK_MAX)
		cost->quick_max *= 2;
	cost->quick_n = cost->quick_max;
}

void ivs_cost_record(struct ivs_cost *cost, int64_t now_ns, int64_t cpu_ns, unsigned int msgs_n)
{
	int64_t each_ns = cpu_ns / (int64_t)msgs_n;
	bool too_slow = each_ns > IVS_COST_MAX_NS;

	cost->sent_ns = now_ns;
	cost->history = cost->history << 1 | too_slow;
	if (each_ns > IVS_COST_SLOW_NS)
		record_slow(cost, too_slow);
	else if (cost->quick_n)
		cost->quick_n -= cost->quick_n < msgs_n ? cost->quick_n : msgs_n;
	if (__builtin_popcount(cost->history) >= IVS_COST_DROP_N)
		cost->excessive = true;
}
