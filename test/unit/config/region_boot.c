/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of config/region_boot.h: names and contents of the files that create a region at boot. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "config/region_boot.h"

static char text[8192];

static const char *stem(const char *address)
{
	struct ivs_out out = IVS_OUT_INIT(text, sizeof(text));

	ivs_region_boot_stem(&out, address);
	cr_assert_not(out.full);
	return text;
}

Test(region_boot, stems)
{
	cr_expect_str_eq(stem("shm:looking-glass"), "looking-glass");
	cr_expect_str_eq(stem("shm:A_b.1"), "A_b.1");
	cr_expect_str_eq(stem("shm:a b%\\\"'"), "a\\x20b\\x25\\x5c\\x22\\x27");
	cr_expect_str_eq(stem("shm:\xc3\xa4"), "\\xc3\\xa4");
	cr_expect_str_eq(stem("file:/dev/hugepages/x"), "file:dev-hugepages-x");
}

Test(region_boot, two_regions_have_two_stems)
{
	static const char *const addresses[] = {"shm:a-b",   "shm:a",	    "shm:file:a-b",
						"file:/a/b", "file:/a-b",   "file:/a\\x2db",
						"file:/a b", "shm:a\\x20b", "shm:a b"};
	size_t n = sizeof(addresses) / sizeof(*addresses);
	char stems[16][64];

	for (size_t i = 0; i < n; i++) {
		strcpy(stems[i], stem(addresses[i]));
		for (size_t k = 0; k < i; k++)
			cr_expect_str_neq(stems[i], stems[k], "%s, %s", addresses[i], addresses[k]);
	}
}

static const struct ivs_region_boot boot = {
	.address = "shm:a b",
	.path = "/dev/shm/a b",
	.size = 32 << 20,
	.owner = "alice",
	.group = "kvm",
	.mode = 0660,
	.program = "/usr/bin/ivshmem",
};

static void expect_line(const char *line)
{
	const char *at = strstr(text, line);

	cr_expect(at && (at == text || at[-1] == '\n') && at[strlen(line)] == '\n',
		  "no line '%s' in:\n%s", line, text);
}

Test(region_boot, tmpfiles)
{
	struct ivs_out out = IVS_OUT_INIT(text, sizeof(text));

	ivs_region_boot_tmpfiles(&out, &boot);
	cr_expect_not(out.full);
	cr_expect_eq(strncmp(text, IVS_REGION_BOOT_MARK, strlen(IVS_REGION_BOOT_MARK)), 0);
	expect_line("f \"/dev/shm/a b\" 0660 alice kvm -");
}

Test(region_boot, unit)
{
	struct ivs_out out = IVS_OUT_INIT(text, sizeof(text));

	ivs_region_boot_unit(&out, &boot);
	cr_expect_not(out.full);
	cr_expect_eq(strncmp(text, IVS_REGION_BOOT_MARK, strlen(IVS_REGION_BOOT_MARK)), 0);
	expect_line("Description=Shared memory /dev/shm/a b of 32M");
	expect_line("RequiresMountsFor=\"/dev/shm/a b\"");
	expect_line(
		"ExecStart=/usr/bin/ivshmem create \"shm:a b\" --size 32M --owner alice --group "
		"kvm --mode 0660");
	expect_line("DefaultDependencies=no");
	expect_line("Before=basic.target shutdown.target");
	expect_line("WantedBy=basic.target");
}

Test(region_boot, specifiers_are_not_expanded)
{
	struct ivs_out out = IVS_OUT_INIT(text, sizeof(text));
	struct ivs_region_boot odd = boot;

	odd.address = "shm:%n$x\\";
	odd.path = "/dev/shm/%n$x\\";
	ivs_region_boot_unit(&out, &odd);
	expect_line("Description=Shared memory /dev/shm/%%n$x\\ of 32M");
	expect_line("RequiresMountsFor=\"/dev/shm/%%n$x\\\\\"");
	cr_expect_not_null(strstr(text, "create \"shm:%%n$$x\\\\\" --size"), "%s", text);
}

/* A newline would begin another line, which systemd and systemd-tmpfiles would execute as root. */
Test(region_boot, a_newline_ends_the_text)
{
	static const char evil[] = "/dev/shm/a\nf+ /etc/cron.d/own 0644 root root - x";
	static char address[sizeof(evil) + 5];
	const struct ivs_region_boot odd[] = {
		{address, "/dev/shm/a", 1 << 20, "alice", "kvm", 0660, "/usr/bin/ivshmem"},
		{"shm:a", evil, 1 << 20, "alice", "kvm", 0660, "/usr/bin/ivshmem"},
		{"shm:a", "/dev/shm/a", 1 << 20, evil, "kvm", 0660, "/usr/bin/ivshmem"},
		{"shm:a", "/dev/shm/a", 1 << 20, "alice", evil, 0660, "/usr/bin/ivshmem"},
		{"shm:a", "/dev/shm/a", 1 << 20, "alice", "kvm", 0660, evil},
	};

	snprintf(address, sizeof(address), "file:%s", evil);
	for (size_t i = 0; i < sizeof(odd) / sizeof(*odd); i++) {
		struct ivs_out unit = IVS_OUT_INIT(text, sizeof(text));
		struct ivs_out tmpfiles = IVS_OUT_INIT(text, sizeof(text));

		ivs_region_boot_unit(&unit, &odd[i]);
		cr_expect(unit.full, "row %zu", i);
		cr_expect_null(strstr(text, "f+"), "row %zu: %s", i, text);
		*text = '\0';
		ivs_region_boot_tmpfiles(&tmpfiles, &odd[i]);
		cr_expect(tmpfiles.full || i == 4, "row %zu", i);
		cr_expect_null(strstr(text, "f+"), "row %zu: %s", i, text);
	}
}

Test(region_boot, a_text_that_does_not_fit_is_reported)
{
	struct ivs_out out = IVS_OUT_INIT(text, 64);

	ivs_region_boot_unit(&out, &boot);
	cr_expect(out.full);
	cr_expect_lt(strlen(text), 64);
}
