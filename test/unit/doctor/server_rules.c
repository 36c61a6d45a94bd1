/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about servers whose faults cannot be made on a test machine, and their texts. */
#include <criterion/criterion.h>
#include <string.h>

#include "doctor/rule.h"

static struct ivs_doctor_server server;
static struct ivs_doctor_facts facts;

/* A healthy server about which everything is known. */
static void reset(void)
{
	server = (struct ivs_doctor_server){
		.knows = ~0U,
		.named = true,
		.path = "/run/net.sock",
		.socket = IVS_DOCTOR_SOCKET_GREETS,
		.pid = 7,
		.is_trusted = true,
		.nofile = 1024,
		.maker = IVS_DOCTOR_MAKER_OURS,
		.status = {.peers_n = 3, .vectors_n = 2, .ids_left = 65533},
	};
	facts = (struct ivs_doctor_facts){.servers = &server, .servers_n = 1};
}

/* Check that exactly @rule finds something, and advises @text; NULL: none does. */
static void expect(const char *rule, const char *text)
{
	struct ivs_doctor_findings findings;

	cr_assert_eq(ivs_doctor_apply(&facts, &findings), 0);
	cr_assert_eq(findings.n, rule ? 1 : 0, "%zu findings instead of %s", findings.n,
		     rule ? rule : "none");
	if (rule) {
		cr_assert_str_eq(findings.list->rule->id, rule);
		cr_assert(strstr(findings.list->command, text) ||
				  strstr(findings.list->advice, text),
			  "%s, %s", findings.list->command, findings.list->advice);
	}
	ivs_doctor_findings_deinit(&findings);
}

static void expect_no_command(const char *rule)
{
	struct ivs_doctor_findings findings;

	cr_assert_eq(ivs_doctor_apply(&facts, &findings), 0);
	cr_assert_eq(findings.n, 1);
	cr_assert_str_eq(findings.list->rule->id, rule);
	cr_assert_str_eq(findings.list->command, "");
	cr_assert(*findings.list->advice);
	ivs_doctor_findings_deinit(&findings);
}

#define PROVES(rule, text, fault, cure)                                                            \
	do {                                                                                       \
		reset();                                                                           \
		fault;                                                                             \
		expect(rule, text);                                                                \
		cure;                                                                              \
		expect(NULL, NULL);                                                                \
	} while (0)

Test(server_rules, ids)
{
	PROVES("server-ids", "restart the server", server.status.ids_left = 6553,
	       server.status.ids_left = 6554);
}

/* The kernel may not let the doctor see the region, but the server tells. */
Test(server_rules, lost_name)
{
	PROVES("server-region", "restart the server",
	       server.status.changes = IVS_DOCTOR_CHANGE_NAME_LOST, server.status.changes = 0);
}

/*
 * The path and size that a server sends get into a command only if the server uses such a region.
 */
Test(server_rules, shrunk)
{
	struct ivs_host_user user = {.pid = 7};
	struct ivs_host_region host = {.path = (char *)"/dev/shm/a",
				       .known = true,
				       .size = 4096,
				       .users = &user,
				       .users_n = 1};
	struct ivs_doctor_region region = {.host = &host, .is_safe = true};

	reset();
	facts.regions = &region;
	facts.regions_n = 1;
	server.status.changes = IVS_DOCTOR_CHANGE_SHRUNK;
	server.status.region_size = 8192;
	strcpy(server.status.region_path, "/dev/shm/a");
	expect("server-region", "truncate -c -s '>8192' /dev/shm/a");
	strcpy(server.status.region_path, "/etc/passwd");
	expect_no_command("server-region");
	strcpy(server.status.region_path, "/dev/shm/a");
	server.status.region_size = 0;
	expect_no_command("server-region");
	server.status.region_size = 8192;
	region.is_safe = false;
	expect_no_command("server-region");
	region.is_safe = true;
	server.is_trusted = false;
	expect_no_command("server-region");
	server.is_trusted = true;
	user.pid = 8;
	expect_no_command("server-region");
}

/* Clients get the region from the server, so they need not be able to open its file. */
Test(server_rules, served_region)
{
	struct ivs_host_user user = {.pid = 7, .server = true};
	struct ivs_host_region host = {
		.path = (char *)"/dev/shm/a",
		.users = &user,
		.users_n = 1,
	};
	struct ivs_doctor_region region = {
		.host = &host,
		.knows = IVS_DOCTOR_ACCESS,
		.selected = true,
		.is_denied = true,
		.denied_why = "chgrp",
	};

	reset();
	facts.regions = &region;
	facts.regions_n = 1;
	expect(NULL, NULL);
	region.named = true;
	expect("region-denied", "chgrp");
}

/* The limit that is printed is one that the kernel accepts. */
Test(server_rules, nofile)
{
	PROVES("server-nofile", "prlimit --pid 7 --nofile=2302", server.status.peers_max = 682,
	       server.status.peers_max = 341);
	reset();
	server.status.peers_max = UINT64_C(1) << 60;
	expect_no_command("server-nofile");
}

/* A unit is restarted by systemd, which keeps the connections. */
Test(server_rules, unit)
{
	PROVES("server-outdated", "systemctl restart ivshmem@net.service",
	       (server.outdated = true, strcpy(server.unit, "ivshmem@net.service")),
	       server.outdated = false);
	PROVES("server-dead", "systemctl enable --now ivshmem@net.socket",
	       (server.socket = IVS_DOCTOR_SOCKET_DEAD,
		strcpy(server.path, "/run/ivshmem/net.sock")),
	       server.socket = IVS_DOCTOR_SOCKET_GREETS);
}

/* Only our server survives the signal that upgrades it. */
Test(server_rules, outdated_stranger)
{
	reset();
	server.outdated = true;
	server.maker = IVS_DOCTOR_MAKER_UNKNOWN;
	expect(NULL, NULL);
}

/* A path is quoted in the command; a path that cannot be quoted leads to no command. */
Test(server_rules, quoting)
{
	reset();
	server.socket = IVS_DOCTOR_SOCKET_ABSENT;
	strcpy(server.path, "/tmp/a;b'.sock");
	expect("server-absent", "--socket '/tmp/a;b'\\''.sock' --shm 'a;b'\\''' --pidfile "
				"'/tmp/a;b'\\''.sock.pid'");
	strcpy(server.path, "/tmp/\033");
	expect("server-absent", "give the server the region");
}

/* A server is judged by its socket only if the user asked about it: it may be in a container. */
Test(server_rules, elsewhere)
{
	reset();
	server.named = false;
	server.socket = IVS_DOCTOR_SOCKET_ABSENT;
	expect(NULL, NULL);
}

/* Each reason for a refusal has a name and advice. */
Test(server_rules, refusals)
{
	for (unsigned int i = 0; i < IVS_DOCTOR_REFUSALS_N; i++)
		PROVES("server-refused", "the server's log", server.status.refused[i] = i + 1,
		       server.status.refused[i] = 0);
}

/* Facts that are not known lead to no findings. */
Test(server_rules, unknown)
{
	reset();
	server.knows = 0;
	server.socket = IVS_DOCTOR_SOCKET_DEAD;
	server.nofile = 1;
	server.listener_uid = 5;
	server.outdated = true;
	server.status.ids_left = 0;
	server.status.changes = IVS_DOCTOR_CHANGE_SHRUNK;
	expect(NULL, NULL);
}
