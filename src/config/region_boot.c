/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/region_boot.h"

#include <string.h>

#include "base/parse.h"
#include "config/escape.h"

#define PLAIN "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_."

void ivs_region_boot_stem(struct ivs_out *out, const char *address)
{
	bool is_name = !strncmp(address, "shm:", 4);
	const char *text = address + (is_name ? 4 : strlen("file:/"));

	/* The stem of a name never has a bare ":", so it never equals the stem of a path. */
	if (!is_name)
		ivs_out_text(out, "file:");
	for (const char *at = text; *at; at++) {
		if (*at == '/' || (is_name && *at == '-'))
			ivs_out_text(out, "-");
		else if (strchr(PLAIN, *at))
			ivs_out_put(out, at, 1);
		else
			ivs_out_format(out, "\\x%02x", (unsigned int)(unsigned char)*at);
	}
}

static void put_mark(struct ivs_out *out, const struct ivs_region_boot *boot)
{
	ivs_out_text(out, IVS_REGION_BOOT_MARK "; remove it with: ivshmem remove ");
	ivs_escape(out, IVS_SYNTAX_SHELL, boot->address);
	ivs_out_text(out, "\n");
}

void ivs_region_boot_tmpfiles(struct ivs_out *out, const struct ivs_region_boot *boot)
{
	put_mark(out, boot);
	ivs_out_text(out,
		     "# An empty file with its owner and mode. A unit sets size and memory.\nf ");
	ivs_escape(out, IVS_SYNTAX_TMPFILES, boot->path);
	ivs_out_format(out, " %04o ", boot->mode);
	ivs_escape(out, IVS_SYNTAX_TMPFILES, boot->owner);
	ivs_out_text(out, " ");
	ivs_escape(out, IVS_SYNTAX_TMPFILES, boot->group);
	ivs_out_text(out, " -\n");
}

/*
 * Write text that systemd does not split into words. "%" is special; the text must not end with
 * "\".
 */
static void put_description(struct ivs_out *out, const struct ivs_region_boot *boot)
{
	char size[IVS_SIZE_TEXT_LEN];

	ivs_escape_check(out, boot->path);
	ivs_out_text(out, "Description=Shared memory ");
	for (const char *at = boot->path; *at; at++)
		ivs_out_text(out, (const char[]){*at, *at == '%' ? '%' : '\0', '\0'});
	ivs_out_format(out, " of %s\n", ivs_size_text(boot->size, size));
}

static void put_command(struct ivs_out *out, const struct ivs_region_boot *boot)
{
	char size[IVS_SIZE_TEXT_LEN];

	ivs_out_text(out, "ExecStart=");
	ivs_escape(out, IVS_SYNTAX_UNIT, boot->program);
	ivs_out_text(out, " create ");
	ivs_escape(out, IVS_SYNTAX_UNIT, boot->address);
	ivs_out_format(out, " --size %s --owner ", ivs_size_text(boot->size, size));
	ivs_escape(out, IVS_SYNTAX_UNIT, boot->owner);
	ivs_out_text(out, " --group ");
	ivs_escape(out, IVS_SYNTAX_UNIT, boot->group);
	ivs_out_format(out, " --mode %04o\n", boot->mode);
}

void ivs_region_boot_unit(struct ivs_out *out, const struct ivs_region_boot *boot)
{
	put_mark(out, boot);
	ivs_out_text(out, "[Unit]\n");
	put_description(out, boot);
	ivs_out_text(out, "Documentation=man:ivshmem-region(1)\n"
			  "# Before all services that do not say otherwise, and so before any VM\n"
			  "DefaultDependencies=no\n"
			  "Conflicts=shutdown.target\n"
			  "After=sysinit.target\n"
			  "Before=basic.target shutdown.target\n"
			  "RequiresMountsFor=");
	ivs_escape(out, IVS_SYNTAX_TMPFILES, boot->path);
	ivs_out_text(out, "\n\n[Service]\nType=oneshot\nRemainAfterExit=yes\n");
	put_command(out, boot);
	ivs_out_text(out, "\n[Install]\nWantedBy=basic.target\n");
}
