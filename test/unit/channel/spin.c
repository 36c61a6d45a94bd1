/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of how long a call looks before it sleeps. */
#include <criterion/criterion.h>

#include "channel/spin.h"

#define US 1000
#define MAX_NS (200 * US)

TestSuite(channel_spin);

Test(channel_spin, short_sleeps_make_it_look_longer_up_to_a_limit)
{
	struct ivs_spin spin = {.max_ns = MAX_NS};
	int64_t before;

	do {
		before = spin.ns;
		ivs_spin_learn(&spin, before + 50 * US);
	} while (spin.ns > before);
	cr_expect_eq(before, MAX_NS);
}

Test(channel_spin, long_sleep_ends_looking)
{
	struct ivs_spin spin = {.max_ns = MAX_NS};

	ivs_spin_learn(&spin, 50 * US);
	cr_assert_gt(spin.ns, 0);
	ivs_spin_learn(&spin, 1000 * US);
	cr_expect_eq(spin.ns, 0);
	ivs_spin_learn(&spin, 1000 * US);
	cr_expect_eq(spin.ns, 0);
}

/* Messages at intervals that are a little longer than the longest look cost a part of the CPU. */
Test(channel_spin, looks_in_vain_are_limited)
{
	static const int64_t intervals_us[] = {50, 100, 190, 210, 250, 300, 390, 410, 1000, 10000};

	for (size_t i = 0; i < sizeof(intervals_us) / sizeof(*intervals_us); i++) {
		const int64_t interval_ns = intervals_us[i] * US;
		struct ivs_spin spin = {.max_ns = MAX_NS};
		int64_t vain_ns = 0;
		int64_t slept_n = 0;

		for (unsigned int n = 0; n < 1000; n++) {
			if (spin.ns >= interval_ns)
				continue;
			vain_ns += spin.ns;
			slept_n++;
			ivs_spin_learn(&spin, interval_ns);
		}
		cr_expect_leq(vain_ns, slept_n * interval_ns / 2, "%ld us", intervals_us[i]);
	}
}

Test(channel_spin, limit_of_0_means_never)
{
	struct ivs_spin spin = {0};

	for (unsigned int i = 0; i < 100; i++)
		ivs_spin_learn(&spin, 50 * US);
	cr_expect_eq(spin.ns, 0);
}
