/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of tools/ivshmem/bench_print.c with made-up measurements, and a stand-in for the peer. */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <stdio.h>
#include <string.h>

#include "tools/ivshmem/bench_print.h"

#define CURE "use our driver"
#define SLOW "the region's memory is uncached here"
#define NOT_SLOW "this host ignores that"
#define ELSEWHERE "although this program has mapped the region cached"

static const char *uncached; /* why the peer's memory is uncached, or NULL */

const char *ivs_peer_cap_reason(const struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	(void)peer;
	return cap == IVS_CAP_CACHED ? uncached : NULL;
}

unsigned int ivs_peer_caps(const struct ivs_peer *peer)
{
	(void)peer;
	return uncached ? 0 : IVS_CAP_CACHED;
}

const char *ivs_peer_transport(const struct ivs_peer *peer)
{
	(void)peer;
	return "sysfs";
}

const char *ivs_peer_describe(const struct ivs_peer *peer)
{
	(void)peer;
	return "sysfs: a description";
}

void ivs_peer_stop(struct ivs_peer *peer)
{
	(void)peer;
}

/* Print a report with reads that take so many times as long as the floor. */
static void print_ratios(double small, double large)
{
	const struct bench_report report = {
		.address = "pci:",
		.len = 4096,
		.complete = true,
		.rows = {{BENCH_READ, 64, {{10 * small, 10}, 1}},
			 {BENCH_READ, 4096, {{1000 * large, 1000}, 1}},
			 {BENCH_COPY_OUT, 4096, {{1e9, 1}, 1}}},
		.rows_n = 3,
		.why_no_doorbell = "no server",
	};

	cr_assert_eq(bench_print(&report), 0);
}

static const char *printed(void)
{
	static char text[8192];
	FILE *out = cr_get_redirected_stdout();
	size_t n;

	fflush(stdout);
	n = fread(text, 1, sizeof(text) - 1, out);
	text[n] = '\0';
	return text;
}

static void expect(const char *text, const char *wanted)
{
	static const char *const verdicts[] = {SLOW, NOT_SLOW, ELSEWHERE};

	for (unsigned int i = 0; i < sizeof(verdicts) / sizeof(*verdicts); i++)
		cr_expect_eq(!!strstr(text, verdicts[i]), wanted && !strcmp(wanted, verdicts[i]),
			     "\"%s\" in %s", verdicts[i], text);
}

Test(bench_print, slow_and_uncached, .init = cr_redirect_stdout)
{
	const char *text;

	uncached = CURE;
	print_ratios(10, 40);
	text = printed();
	expect(text, SLOW);
	cr_expect(strstr(text, "10 to 40 times"));
	cr_expect(strstr(text, CURE));
}

Test(bench_print, slow_although_cached, .init = cr_redirect_stdout)
{
	uncached = NULL;
	print_ratios(50, 11);
	expect(printed(), ELSEWHERE);
}

Test(bench_print, uncached_but_not_slow, .init = cr_redirect_stdout)
{
	uncached = CURE;
	print_ratios(1, 9);
	expect(printed(), NOT_SLOW);
}

/* One slow size, or slow copies, do not suffice. */
Test(bench_print, no_verdict, .init = cr_redirect_stdout)
{
	uncached = CURE;
	print_ratios(1, 100);
	expect(printed(), NULL);
}

Test(bench_print, cached_and_not_slow, .init = cr_redirect_stdout)
{
	uncached = NULL;
	print_ratios(1, 1);
	expect(printed(), NULL);
}

Test(bench_print, table, .init = cr_redirect_stdout)
{
	const char *text;

	uncached = NULL;
	print_ratios(2, 1);
	text = printed();
	cr_expect(strstr(text, "\nOPERATION  SIZE     TIME  PRIVATE  GB/S"));
	cr_expect(strstr(text, "\nread         64  20.0 ns  10.0 ns  3.20  "), "%s", text);
	cr_expect(strstr(text, "\nread         4K  1.00 us  1.00 us  4.10  "), "%s", text);
	cr_expect(strstr(text, "\ndoorbells were not measured: no server\n"));
}
