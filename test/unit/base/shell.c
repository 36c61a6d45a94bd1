/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/access.h"
#include "base/shell.h"

static const struct {
	const char *text;
	const char *word;
} rows[] = {
	{"/dev/shm/a-b", "/dev/shm/a-b"},
	{"", "''"},
	{"a b", "'a b'"},
	{"it's", "'it'\\''s'"},
	{"$(reboot)", "'$(reboot)'"},
	{"a;b", "'a;b'"},
	{"\u00e4", "'\u00e4'"},
	{"a\nb", ""},
	{"a\x1b[", ""},
	{"a\xff", ""},
	{"a\u202e", ""},
};

Test(shell, quote)
{
	char word[64];

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		size_t len = ivs_shell_quote(rows[i].text, word, sizeof(word));

		cr_expect_str_eq(word, rows[i].word, "row %zu: %s", i, word);
		cr_expect_eq(len, strlen(rows[i].word), "row %zu", i);
	}
}

/*
 * A word that does not fit is left out, not cut off. All sizes up to the required one are tested.
 */
Test(shell, a_word_that_does_not_fit)
{
	static const char *const texts[] = {"it's", "abc"};

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char whole[64];
		char word[64];
		size_t len = ivs_shell_quote(texts[i], whole, sizeof(whole));

		for (size_t room = 1; room <= len; room++) {
			cr_expect_eq(ivs_shell_quote(texts[i], word, room), 0);
			cr_expect_str_empty(word);
		}
		cr_expect_eq(ivs_shell_quote(texts[i], word, len + 1), len);
	}
}

Test(shell, a_command_is_added_as_a_whole_or_not_at_all)
{
	static const char whole[] = "failed: rm 'a b', then start again";

	for (size_t room = strlen("failed") + 1; room <= sizeof(whole); room++) {
		char message[64] = "failed";

		ivs_shell_add(message, room, ": rm ", "a b", ", then start again");
		cr_expect_str_eq(message, room == sizeof(whole) ? whole : "failed", "%zu", room);
	}
}

Test(shell, a_command_that_cannot_be_quoted_is_left_out)
{
	struct ivs_error err = {"failed"};

	ivs_shell_add_error(&err, ": rm ", "a\nreboot", "");
	cr_expect_str_eq(err.text, "failed");
	ivs_shell_add_error(NULL, ": rm ", "a", "");
}
