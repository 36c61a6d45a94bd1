/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/slow.h"

#include "base/clock.h"

#define CALL_NS ((int64_t)IVS_SLOW_CALL_MS * IVS_NS_PER_MS)
#define DEBT_NS ((int64_t)IVS_SLOW_DEBT_MS * IVS_NS_PER_MS)
#define MEASURE_NS (10 * IVS_NS_PER_S)

void ivs_slow_begin(struct ivs_slow *slow)
{
	slow->began_ns = ivs_clock_ns();
	slow->began_cpu_ns = slow->began_ns < slow->measured_until_ns ? ivs_clock_cpu_ns() : -1;
}

static int64_t debt_at(const struct ivs_slow *slow, int64_t now_ns)
{
	int64_t debt_ns = slow->debt_ns - (now_ns - slow->debt_at_ns) / IVS_SLOW_FORGIVEN;

	return debt_ns > 0 ? debt_ns : 0;
}

/* Return: the processor time since the last restart; 0 if it was not measured. */
static int64_t restart(struct ivs_slow *slow, int64_t now_ns, int64_t cpu_ns)
{
	int64_t used_ns = slow->began_cpu_ns < 0 ? 0 : cpu_ns - slow->began_cpu_ns;

	slow->measured_until_ns = now_ns + MEASURE_NS;
	slow->began_ns = now_ns;
	slow->began_cpu_ns = cpu_ns;
	return used_ns;
}

bool ivs_slow_check(struct ivs_slow *slow)
{
	int64_t now_ns = ivs_clock_ns();
	int64_t cpu_ns;
	int64_t used_ns;

	if (now_ns - slow->began_ns < CALL_NS)
		return false;
	cpu_ns = ivs_clock_cpu_ns();
	if (slow->began_cpu_ns >= 0 && cpu_ns - slow->began_cpu_ns < CALL_NS)
		return false;
	used_ns = restart(slow, now_ns, cpu_ns);
	slow->debt_ns = debt_at(slow, now_ns) + used_ns;
	slow->debt_at_ns = now_ns;
	return used_ns && slow->debt_ns >= DEBT_NS;
}

int ivs_slow_pause_ms(const struct ivs_slow *slow)
{
	if (slow->debt_ns < DEBT_NS)
		return 0;
	return (int)(debt_at(slow, ivs_clock_ns()) * IVS_SLOW_FORGIVEN / IVS_NS_PER_MS);
}
