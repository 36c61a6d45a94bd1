/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of the distribution of times that ping prints. */
#include <criterion/criterion.h>

#include "tools/shared/latency.h"

static struct latency latency;

Test(latency, without_times)
{
	cr_expect_eq(latency_percentile(&latency, 500), 0);
	cr_expect_eq(latency_between(&latency, 1, UINT64_C(1) << 40), 0);
}

Test(latency, one_time_is_every_percentile)
{
	latency_add(&latency, 12345);
	for (unsigned int permille = 1; permille <= 1000; permille++)
		cr_expect_eq(latency_percentile(&latency, permille), 12345);
}

/* All times are found, with an error of at most 1/64. */
Test(latency, error_is_small_at_all_sizes)
{
	for (unsigned int power = 0; power < 64; power++) {
		for (int around = -1; around <= 1; around++) {
			uint64_t ns = (UINT64_C(1) << power) + (uint64_t)around;
			struct latency two = {.n = 0};
			uint64_t got;

			latency_add(&two, 0);
			latency_add(&two, ns);
			latency_add(&two, UINT64_MAX);
			got = latency_percentile(&two, 600);
			cr_expect_leq(got > ns ? got - ns : ns - got, ns / 64, "%lu is %lu", ns,
				      got);
		}
	}
}

Test(latency, percentiles_of_many)
{
	for (uint64_t i = 1; i <= 1000; i++)
		latency_add(&latency, i * 1000);
	cr_expect_eq(latency.min_ns, 1000);
	cr_expect_eq(latency.max_ns, 1000000);
	cr_expect_leq(latency_percentile(&latency, 500), 508000);
	cr_expect_geq(latency_percentile(&latency, 500), 492000);
	cr_expect_leq(latency_percentile(&latency, 990), 1000000);
	cr_expect_geq(latency_percentile(&latency, 990), 974000);
	cr_expect_eq(latency_percentile(&latency, 1000), 1000000);
}

Test(latency, each_time_is_in_one_bar)
{
	uint64_t n = 0;

	for (uint64_t i = 1; i < 100000; i += 7)
		latency_add(&latency, i);
	for (uint64_t from = 1; from < 200000; from *= 2)
		n += latency_between(&latency, from, 2 * from);
	cr_expect_eq(n, latency.n);
}

static void expect_text(uint64_t ns, const char *expected)
{
	char text[LATENCY_TEXT_LEN];

	latency_text(text, ns);
	cr_expect_str_eq(text, expected, "%lu ns is %s", ns, text);
}

Test(latency, text_has_three_digits)
{
	expect_text(0, "0 ns");
	expect_text(999, "999 ns");
	expect_text(1000, "1.00 us");
	expect_text(9994, "9.99 us");
	expect_text(9996, "10.0 us");
	expect_text(99940, "99.9 us");
	expect_text(99960, "100 us");
	expect_text(999600, "1.00 ms");
	expect_text(1500000000, "1.50 s");
	expect_text(UINT64_C(20000000000000), "20000 s");
}
