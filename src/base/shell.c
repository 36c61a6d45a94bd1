/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/shell.h"

#include <string.h>

#include "base/text.h"

#define BARE                                                                                       \
	"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./-"                       \
	":,=@+%"

/* Append @text at @len. Return: the new length; @out_len if it does not fit. */
static size_t add(char *out, size_t out_len, size_t len, const char *text)
{
	size_t text_len = strlen(text);

	if (text_len >= out_len - len)
		return out_len;
	memcpy(out + len, text, text_len + 1);
	return len + text_len;
}

size_t ivs_shell_quote(const char *text, char *out, size_t out_len)
{
	bool bare = *text && !text[strspn(text, BARE)];
	size_t len = 0;

	out[0] = '\0';
	if (!ivs_text_is_printable(text))
		return 0;
	if (!bare)
		len = add(out, out_len, len, "'");
	for (; *text && len < out_len; text++)
		len = add(out, out_len, len, *text == '\'' ? "'\\''" : (const char[]){*text, '\0'});
	if (!bare && len < out_len)
		len = add(out, out_len, len, "'");
	if (len < out_len)
		return len;
	out[0] = '\0';
	return 0;
}

void ivs_shell_add(char *message, size_t message_len, const char *before, const char *path,
		   const char *after)
{
	char word[IVS_SHELL_WORD_LEN];
	size_t start = strlen(message);
	size_t len = start;

	if (!ivs_shell_quote(path, word, sizeof(word)))
		return;
	len = add(message, message_len, len, before);
	if (len < message_len)
		len = add(message, message_len, len, word);
	if (len < message_len)
		len = add(message, message_len, len, after);
	if (len >= message_len)
		message[start] = '\0';
}
