/* SPDX-License-Identifier: BSD-3-Clause */
/* Pieces: texts to be pasted, each with a sentence that says where it goes. */
#ifndef IVS_CONFIG_PIECES_H
#define IVS_CONFIG_PIECES_H

#include "config/out.h"

#define IVS_PIECES_MAX 256

/**
 * enum ivs_language - the language of a piece, which determines what its comments look like
 * @IVS_LANGUAGE_SHELL:     commands, or arguments of a command
 * @IVS_LANGUAGE_XML:       elements of libvirt's domain XML
 * @IVS_LANGUAGE_QMP:       commands for QEMU's monitor, one per line
 * @IVS_LANGUAGE_TMPFILES:  tmpfiles.d(5) lines
 * @IVS_LANGUAGE_UNIT:      a systemd unit, or part of one
 * @IVS_LANGUAGE_ENVIRONMENT: lines of a file that EnvironmentFile= names
 * @IVS_LANGUAGE_UDEV:      udev rules
 * @IVS_LANGUAGE_APPARMOR:  AppArmor rules
 * @IVS_LANGUAGE_QEMU_CONF: lines of libvirt's qemu.conf
 */
enum ivs_language {
	IVS_LANGUAGE_SHELL,
	IVS_LANGUAGE_XML,
	IVS_LANGUAGE_QMP,
	IVS_LANGUAGE_TMPFILES,
	IVS_LANGUAGE_UNIT,
	IVS_LANGUAGE_ENVIRONMENT,
	IVS_LANGUAGE_UDEV,
	IVS_LANGUAGE_APPARMOR,
	IVS_LANGUAGE_QEMU_CONF,
};

struct ivs_piece {
	enum ivs_language language;
	const char *where;
	const char *text;
};

/**
 * struct ivs_pieces - pieces that are being composed; start from IVS_PIECES_INIT(buffer, size)
 * @out:  the text of all pieces; if it is full, the pieces are incomplete
 */
struct ivs_pieces {
	struct ivs_out out;
	struct ivs_piece items[IVS_PIECES_MAX];
	unsigned int n;
};

#define IVS_PIECES_INIT(buffer, size)                                                              \
	{                                                                                          \
		.out = IVS_OUT_INIT(buffer, size),                                                 \
	}

/**
 * ivs_pieces_add() - begin a piece; everything then added to the result is the piece's text
 * @format: says where the piece goes, in one line; in XML, the line must not contain "--"
 */
IVS_PRINTF(3, 4)
struct ivs_out *ivs_pieces_add(struct ivs_pieces *pieces, enum ivs_language language,
			       const char *format, ...);

/** ivs_language_name() - the name of a language: "shell", "xml", ... */
const char *ivs_language_name(enum ivs_language language);

/**
 * ivs_piece_print() - add a piece in the form in which a user pastes it: a comment, then the text
 */
void ivs_piece_print(struct ivs_out *out, const struct ivs_piece *piece);

#endif
