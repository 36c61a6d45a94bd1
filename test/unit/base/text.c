/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "base/clock.h"
#include "base/text.h"

static const struct {
	const char *in;
	const char *valid;
	const char *shown;
} texts[] = {
	{"", "", ""},
	{"plain", "plain", "plain"},
	{"a\nb\x1b[2J\x7f", "a\nb\x1b[2J\x7f", "a?b?[2J?"},
	{"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
	{"\xe2\x82\xac\xf0\x9f\x99\x82", "\xe2\x82\xac\xf0\x9f\x99\x82",
	 "\xe2\x82\xac\xf0\x9f\x99\x82"},
	{"\xff\xfe", "??", "??"},
	{"\xc3", "?", "?"},		      /* truncated */
	{"\xe2\x82", "??", "??"},	      /* truncated */
	{"\xc3(", "?(", "?("},		      /* no continuation byte */
	{"\xc0\xaf", "??", "??"},	      /* overlong */
	{"\xe0\x80\xaf", "???", "???"},	      /* overlong */
	{"\xf0\x80\x80\xaf", "????", "????"}, /* overlong */
	{"\xed\xa0\x80", "???", "???"},	      /* a surrogate */
	{"\xf4\x90\x80\x80", "????", "????"}, /* beyond the last code point */
	{"\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf", "\xf4\x8f\xbf\xbf"}, /* the last code point */
	{"\xc2\x9b"
	 "2J",
	 "\xc2\x9b"
	 "2J",
	 "?2J"}, /* CSI, a control character in Latin-1 */
	{"a\xe2\x80\xae"
	 "b",
	 "a\xe2\x80\xae"
	 "b",
	 "a?b"}, /* right-to-left override */
};

Test(text, invalid_and_control_characters_are_replaced)
{
	char out[64];

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		cr_assert_str_eq(ivs_text_valid(texts[i].in, out, sizeof(out)), texts[i].valid,
				 "%zu", i);
		cr_assert_str_eq(ivs_text_shown(texts[i].in, out, sizeof(out)), texts[i].shown,
				 "%zu", i);
	}
}

Test(text, truncation_keeps_characters_whole)
{
	char out[8];

	cr_assert_str_eq(ivs_text_valid("ab\xe2\x82\xac", out, 5), "ab");
	cr_assert_str_eq(ivs_text_valid("ab\xe2\x82\xac", out, 6), "ab\xe2\x82\xac");
	cr_assert_str_eq(ivs_text_valid("ab", out, 1), "");
}

Test(text, columns)
{
	cr_assert_eq(ivs_text_columns(""), 0);
	cr_assert_eq(ivs_text_columns("gr\xc3\xbc\xe2\x82\xac"), 4);
}

static const struct {
	int64_t ms;
	const char *text;
} times[] = {
	{0, "1970-01-01T00:00:00.000Z"},
	{1, "1970-01-01T00:00:00.001Z"},
	{951782400000, "2000-02-29T00:00:00.000Z"},
	{1709251199999, "2024-02-29T23:59:59.999Z"},
	{4102444800000, "2100-01-01T00:00:00.000Z"},
	{4107542400000, "2100-03-01T00:00:00.000Z"},
	{-1, "1969-12-31T23:59:59.999Z"},
};

Test(clock, wall_text)
{
	char out[IVS_CLOCK_TEXT_LEN];

	for (size_t i = 0; i < sizeof(times) / sizeof(*times); i++)
		cr_assert_str_eq(ivs_clock_wall_text(times[i].ms, out), times[i].text, "%zu", i);
}
