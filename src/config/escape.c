/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/escape.h"

#include <string.h>

#include "base/shell.h"
#include "base/text.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define PLAIN LETTERS "0123456789_./-"

/**
 * struct rules - how a syntax represents characters
 * @bare:   a string that consists of these characters is added as it is; NULL: any string
 * @quote:  the character that begins and ends any other string
 * @marked: characters that get a "\\" in front of them
 * @twice:  characters that are written twice
 */
struct rules {
	const char *bare;
	const char *quote;
	const char *marked;
	const char *twice;
};

/*
 * For AppArmor, "\" also removes the special meaning of glob characters, even in quotation marks.
 */
static const struct rules all_rules[] = {
	[IVS_SYNTAX_QEMU] = {NULL, "", "", ","},
	[IVS_SYNTAX_JSON] = {NULL, "", "\"\\", ""},
	[IVS_SYNTAX_UNIT] = {PLAIN ":,=@+", "\"", "\"\\", "%$"},
	[IVS_SYNTAX_ENVIRONMENT] = {PLAIN ":,=@+", "\"", "\"\\$`", ""},
	[IVS_SYNTAX_WORDS] = {PLAIN ":,=@+", "\"", "\"\\", ""},
	[IVS_SYNTAX_TMPFILES] = {PLAIN ":,=@+", "\"", "\"\\", "%"},
	[IVS_SYNTAX_APPARMOR] = {PLAIN, "\"", "\"\\*?[]{}^", ""},
};

/* The characters U+FFFE and U+FFFF, which XML does not allow. */
static bool is_noncharacter(const char *text, size_t len)
{
	return len == 3 && (!memcmp(text, "\xef\xbf\xbe", 3) || !memcmp(text, "\xef\xbf\xbf", 3));
}

bool ivs_escape_valid(const char *text)
{
	if (!*text || !ivs_text_is_printable(text))
		return false;
	for (size_t len; *text; text += len) {
		len = ivs_text_char(text);
		if (is_noncharacter(text, len))
			return false;
	}
	return true;
}

void ivs_escape_check(struct ivs_out *out, const char *text)
{
	if (*text && !ivs_escape_valid(text))
		out->full = true;
}

static void put_char(struct ivs_out *out, char c)
{
	ivs_out_put(out, &c, 1);
}

static bool has(const char *set, char c)
{
	return strchr(set, c);
}

static void escape_by_rules(struct ivs_out *out, const struct rules *rules, const char *text)
{
	const char *quote = rules->quote;

	if (rules->bare && *text && !text[strspn(text, rules->bare)])
		quote = "";
	ivs_out_text(out, quote);
	for (; *text; text++) {
		if (has(rules->marked, *text))
			put_char(out, '\\');
		if (has(rules->twice, *text))
			put_char(out, *text);
		put_char(out, *text);
	}
	ivs_out_text(out, quote);
}

static void escape_shell(struct ivs_out *out, const char *text)
{
	size_t len;

	if (out->full)
		return;
	len = ivs_shell_quote(text, out->text + out->len, out->room - out->len);
	out->len += len;
	out->full = !len;
}

static void escape_xml(struct ivs_out *out, const char *text)
{
	static const struct {
		char c;
		const char *entity;
	} entities[] = {
		{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&apos;"},
	};

	for (; *text; text++) {
		const char *entity = NULL;

		for (size_t i = 0; i < sizeof(entities) / sizeof(*entities); i++) {
			if (entities[i].c == *text)
				entity = entities[i].entity;
		}
		if (entity)
			ivs_out_text(out, entity);
		else
			put_char(out, *text);
	}
}

static void escape_instance(struct ivs_out *out, const char *text)
{
	for (const char *at = text; *at; at++) {
		if (*at == '/')
			put_char(out, '-');
		else if (has(LETTERS "0123456789:_.", *at) && !(at == text && *at == '.'))
			put_char(out, *at);
		else
			ivs_out_format(out, "\\x%02x", (unsigned int)(unsigned char)*at);
	}
}

/*
 * udev substitutes "%" and "$". In e"", "\" begins an escape sequence; in "", it must not be the
 * last character.
 */
static void escape_udev(struct ivs_out *out, const char *text)
{
	static const struct rules value = {NULL, "\"", "\"\\", "%$"};

	if (strchr(text, '\\'))
		put_char(out, 'e');
	escape_by_rules(out, &value, text);
}

void ivs_escape(struct ivs_out *out, enum ivs_syntax syntax, const char *text)
{
	ivs_escape_check(out, text);
	switch (syntax) {
	case IVS_SYNTAX_SHELL:
		escape_shell(out, text);
		break;
	case IVS_SYNTAX_XML:
		escape_xml(out, text);
		break;
	case IVS_SYNTAX_INSTANCE:
		escape_instance(out, text);
		break;
	case IVS_SYNTAX_UDEV:
		escape_udev(out, text);
		break;
	default:
		escape_by_rules(out, &all_rules[syntax], text);
		break;
	}
}
