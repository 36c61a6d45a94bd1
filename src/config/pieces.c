/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/pieces.h"

#include <stdarg.h>
#include <stdio.h>

#define WHERE_LEN (4 * 4096 + 256) /* room for a file name, which can be escaped */

struct ivs_out *ivs_pieces_add(struct ivs_pieces *pieces, enum ivs_language language,
			       const char *format, ...)
{
	struct ivs_out *out = &pieces->out;
	char where[WHERE_LEN];
	struct ivs_piece *piece;
	va_list args;
	int len;

	va_start(args, format);
	len = vsnprintf(where, sizeof(where), format, args);
	va_end(args);
	if (pieces->n == IVS_PIECES_MAX || len < 0 || (size_t)len >= sizeof(where)) {
		out->full = true;
		return out;
	}
	if (pieces->n)
		ivs_out_put(out, "", 1);
	piece = &pieces->items[pieces->n++];
	piece->language = language;
	piece->where = out->text + out->len;
	ivs_out_put(out, where, (size_t)len + 1);
	piece->text = out->text + out->len;
	return out;
}

const char *ivs_language_name(enum ivs_language language)
{
	static const char *const names[] = {
		[IVS_LANGUAGE_SHELL] = "shell",
		[IVS_LANGUAGE_XML] = "xml",
		[IVS_LANGUAGE_QMP] = "qmp",
		[IVS_LANGUAGE_TMPFILES] = "tmpfiles",
		[IVS_LANGUAGE_UNIT] = "unit",
		[IVS_LANGUAGE_ENVIRONMENT] = "environment",
		[IVS_LANGUAGE_UDEV] = "udev",
		[IVS_LANGUAGE_APPARMOR] = "apparmor",
		[IVS_LANGUAGE_QEMU_CONF] = "qemu.conf",
	};

	return names[language];
}

void ivs_piece_print(struct ivs_out *out, const struct ivs_piece *piece)
{
	if (piece->language == IVS_LANGUAGE_XML)
		ivs_out_format(out, "<!-- %s -->\n", piece->where);
	else
		ivs_out_format(out, "# %s\n", piece->where);
	ivs_out_text(out, piece->text);
}
