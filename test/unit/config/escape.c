/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>

#include "config/escape.h"

static const struct {
	enum ivs_syntax syntax;
	const char *text;
	const char *expected;
} rows[] = {
	{IVS_SYNTAX_SHELL, "shm:looking-glass", "shm:looking-glass"},
	{IVS_SYNTAX_SHELL, "", "''"},
	{IVS_SYNTAX_SHELL, "a b", "'a b'"},
	{IVS_SYNTAX_SHELL, "it's", "'it'\\''s'"},
	{IVS_SYNTAX_SHELL, "$HOME", "'$HOME'"},
	{IVS_SYNTAX_SHELL, "~", "'~'"},
	{IVS_SYNTAX_SHELL, "a\\", "'a\\'"},
	{IVS_SYNTAX_SHELL, "\u00e4", "'\u00e4'"},
	{IVS_SYNTAX_QEMU, "/dev/shm/a", "/dev/shm/a"},
	{IVS_SYNTAX_QEMU, "a,b", "a,,b"},
	{IVS_SYNTAX_QEMU, "a \"b\" \\", "a \"b\" \\"},
	{IVS_SYNTAX_JSON, "a \"b\" \\", "a \\\"b\\\" \\\\"},
	{IVS_SYNTAX_XML, "a<b>&\"c\"'d'", "a&lt;b&gt;&amp;&quot;c&quot;&apos;d&apos;"},
	{IVS_SYNTAX_UNIT, "shm:a", "shm:a"},
	{IVS_SYNTAX_UNIT, "", "\"\""},
	{IVS_SYNTAX_UNIT, "a b", "\"a b\""},
	{IVS_SYNTAX_UNIT, "100%", "\"100%%\""},
	{IVS_SYNTAX_UNIT, "$a", "\"$$a\""},
	{IVS_SYNTAX_UNIT, "a\"b\\", "\"a\\\"b\\\\\""},
	{IVS_SYNTAX_UNIT, ";", "\";\""},
	{IVS_SYNTAX_INSTANCE, "demo", "demo"},
	{IVS_SYNTAX_INSTANCE, "my-net", "my\\x2dnet"},
	{IVS_SYNTAX_INSTANCE, ".a.b", "\\x2ea.b"},
	{IVS_SYNTAX_INSTANCE, "a/b c", "a-b\\x20c"},
	{IVS_SYNTAX_INSTANCE, "\u00e4", "\\xc3\\xa4"},
	{IVS_SYNTAX_ENVIRONMENT, "memfd:", "memfd:"},
	{IVS_SYNTAX_ENVIRONMENT, "a b$`\\\"", "\"a b\\$\\`\\\\\\\"\""},
	{IVS_SYNTAX_WORDS, "a b", "\"a b\""},
	{IVS_SYNTAX_WORDS, "a%$\\", "\"a%$\\\\\""},
	{IVS_SYNTAX_TMPFILES, "/dev/shm/a", "/dev/shm/a"},
	{IVS_SYNTAX_TMPFILES, "/dev/shm/a b", "\"/dev/shm/a b\""},
	{IVS_SYNTAX_TMPFILES, "/dev/shm/100%", "\"/dev/shm/100%%\""},
	{IVS_SYNTAX_TMPFILES, "/dev/shm/a'\"\\", "\"/dev/shm/a'\\\"\\\\\""},
	{IVS_SYNTAX_UDEV, "kvm", "\"kvm\""},
	{IVS_SYNTAX_UDEV, "a\"$%", "\"a\\\"$$%%\""},
	{IVS_SYNTAX_UDEV, "a\\", "e\"a\\\\\""},
	{IVS_SYNTAX_APPARMOR, "/dev/shm/a", "/dev/shm/a"},
	{IVS_SYNTAX_APPARMOR, "/dev/shm/a,", "\"/dev/shm/a,\""},
	{IVS_SYNTAX_APPARMOR, "/a b*?[c]{d}^", "\"/a b\\*\\?\\[c\\]\\{d\\}\\^\""},
	{IVS_SYNTAX_APPARMOR, "/a\"\\", "\"/a\\\"\\\\\""},
};

Test(escape, rows)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char buffer[128];
		struct ivs_out out = IVS_OUT_INIT(buffer, sizeof(buffer));

		ivs_escape(&out, rows[i].syntax, rows[i].text);
		cr_expect_not(out.full);
		cr_expect_str_eq(buffer, rows[i].expected, "row %zu: %s", i, buffer);
	}
}

static const struct {
	const char *text;
	bool valid;
} texts[] = {
	{"a", true},
	{"a, b \"c\" 'd' \\ $ % \u00e4", true},
	{"", false},
	{"a\n", false},
	{"\ta", false},
	{"a\x7f", false},
	{"a\xc2\x85", false},
	{"a\u2028", false},
	{"a\u202e", false},
	{"a\xff", false},
	{"a\xc3", false},
	{"a\xef\xbf\xbe", false},
	{"a\xef\xbf\xbf", false},
	{"a\xef\xbf\xbd", true},
};

Test(escape, texts_that_can_be_pasted)
{
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++)
		cr_expect_eq(ivs_escape_valid(texts[i].text), texts[i].valid, "row %zu", i);
}

static const char *const invalid[] = {"a\nb", "\t", "a\x7f", "a\xc2\x85", "\xff", "a\xef\xbf\xbe"};

Test(escape, no_syntax_adds_an_invalid_text)
{
	for (int syntax = IVS_SYNTAX_SHELL; syntax <= IVS_SYNTAX_APPARMOR; syntax++) {
		for (size_t i = 0; i < sizeof(invalid) / sizeof(*invalid); i++) {
			char buffer[128];
			struct ivs_out out = IVS_OUT_INIT(buffer, sizeof(buffer));

			ivs_out_text(&out, "f ");
			ivs_escape(&out, (enum ivs_syntax)syntax, invalid[i]);
			ivs_out_text(&out, " -\n");
			cr_expect(out.full, "syntax %d, row %zu", syntax, i);
			cr_expect_str_eq(buffer, "f ", "syntax %d, row %zu", syntax, i);
		}
	}
}

Test(out, says_that_the_buffer_was_too_small)
{
	char buffer[8] = "garbage";
	struct ivs_out out = IVS_OUT_INIT(buffer, sizeof(buffer));

	ivs_out_text(&out, "1234567");
	cr_expect_not(out.full);
	cr_expect_str_eq(buffer, "1234567");
	ivs_out_text(&out, "8");
	cr_expect(out.full);
	cr_expect_str_eq(buffer, "1234567");
}

Test(out, stays_as_it_was_when_full)
{
	char buffer[8];
	struct ivs_out out = IVS_OUT_INIT(buffer, sizeof(buffer));

	ivs_out_format(&out, "%d", 123);
	cr_expect_str_eq(buffer, "123");
	ivs_out_format(&out, "%d", 12345);
	cr_expect(out.full);
	cr_expect_str_eq(buffer, "123");
	ivs_out_text(&out, "4");
	cr_expect_str_eq(buffer, "123", "what follows a gap is dropped");
}
