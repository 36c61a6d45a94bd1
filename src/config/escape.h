/* SPDX-License-Identifier: BSD-3-Clause */
/* Escaping names and paths for the files and command lines into which they are pasted. */
#ifndef IVS_CONFIG_ESCAPE_H
#define IVS_CONFIG_ESCAPE_H

#include <stdbool.h>

#include "config/out.h"

/**
 * enum ivs_syntax - where a name is to be pasted
 * @IVS_SYNTAX_SHELL:    a word of a POSIX shell command
 * @IVS_SYNTAX_QEMU:     a value of a QEMU option: "-object memory-backend-file,mem-path=VALUE"
 * @IVS_SYNTAX_JSON:     the inside of a JSON string, between its quotation marks
 * @IVS_SYNTAX_XML:      XML text, or the inside of an attribute in single or double quotation marks
 * @IVS_SYNTAX_UNIT:     a word in the ExecStart= line of a systemd unit
 * @IVS_SYNTAX_INSTANCE: the instance name of a systemd unit, as systemd-escape(1) writes it
 * @IVS_SYNTAX_ENVIRONMENT: a value in a file that EnvironmentFile= names
 * @IVS_SYNTAX_WORDS:    a word of a variable that ExecStart= splits into words ($NAME)
 * @IVS_SYNTAX_TMPFILES: the path in a line of tmpfiles.d(5)
 * @IVS_SYNTAX_UDEV:     a value that a udev rule assigns, with its quotation marks
 * @IVS_SYNTAX_APPARMOR: a path in an AppArmor rule
 */
enum ivs_syntax {
	IVS_SYNTAX_SHELL,
	IVS_SYNTAX_QEMU,
	IVS_SYNTAX_JSON,
	IVS_SYNTAX_XML,
	IVS_SYNTAX_UNIT,
	IVS_SYNTAX_INSTANCE,
	IVS_SYNTAX_ENVIRONMENT,
	IVS_SYNTAX_WORDS,
	IVS_SYNTAX_TMPFILES,
	IVS_SYNTAX_UDEV,
	IVS_SYNTAX_APPARMOR,
};

/**
 * ivs_escape_valid() - whether a string is safe to paste anywhere: it is not empty, is UTF-8, and
 * has neither control characters nor characters that XML does not allow
 */
IVS_MUST_USE bool ivs_escape_valid(const char *text);

/**
 * ivs_escape_check() - if @text is neither empty nor valid, set @out->full, so that nothing more is
 * added and the caller does not use @out
 */
void ivs_escape_check(struct ivs_out *out, const char *text);

/**
 * ivs_escape() - add @text in the given syntax, in quotation marks if needed
 *
 * A string that is neither empty nor valid sets @out->full: no syntax can represent a newline.
 */
void ivs_escape(struct ivs_out *out, enum ivs_syntax syntax, const char *text);

#endif
