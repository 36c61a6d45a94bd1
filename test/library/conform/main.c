/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Run the suite over one transport and print the results as TAP.
 *
 *   conform --list                          print the names of the cases
 *   conform --partner ADDRESS               be the partner at unix:PATH, shm:NAME or file:PATH
 *   conform --transport NAME [--vectors N] [--size BYTES] [--plain] [--roster] [--dir PATH]
 *           [--only GROUP | --but GROUP] ADDRESS
 *
 * NAME is the transport. --plain: the device has no doorbells. --roster: the region has a roster
 * page. --dir: where cases create files (/tmp). A case's name begins with its group and a colon.
 * Before the last cases the program prints "conform: take it away". The caller then unplugs the
 * device, ends the server or removes the region's name, and sends SIGUSR1 to the partner.
 */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conform.h"

#define CASE_S 60
#define HOST_CAPS (IVS_CAP_CACHED | IVS_CAP_WRITE) /* the driver's transport has these as well */

static const struct {
	const char *transport;
	unsigned int caps;
	bool device;
} transports[] = {
	{"unix", HOST_CAPS | IVS_CAP_ID | IVS_CAP_RING | IVS_CAP_WAIT | IVS_CAP_ROSTER, false},
	{"shm", HOST_CAPS, false},
	{"file", HOST_CAPS, false},
	{"driver", HOST_CAPS | IVS_CAP_ID | IVS_CAP_RING | IVS_CAP_WAIT, true},
	{"vfio", IVS_CAP_ID | IVS_CAP_RING | IVS_CAP_WAIT | IVS_CAP_WRITE, true},
	{"sysfs", IVS_CAP_ID | IVS_CAP_RING | IVS_CAP_WRITE, true},
};

static const struct conform_case *const groups[] = {
	about_cases,
	memory_cases,
	ring_cases,
	doorbell_cases,
	wait_cases,
	event_cases,
	open_cases,
	error_cases,
	process_cases,
	stop_cases,
	roster_cases,
	channel_cases,
	channel_end_cases,
	channel_topic_cases,
	channel_borrow_cases,
	channel_stream_cases,
	channel_stream_end_cases,
	gone_cases,
};

#define GROUPS_N (sizeof(groups) / sizeof(*groups))

/* State of the whole run, not of a single case. */
static struct {
	const char *only;
	const char *but;
	const char *running; /* the current case, which on_alarm() prints */
} suite;

static void on_alarm(int number)
{
	static const char text[] = "Bail out! case hangs: ";

	(void)number;
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0 ||
	    write(STDOUT_FILENO, suite.running, strlen(suite.running)) < 0 ||
	    write(STDOUT_FILENO, "\n", 1) < 0)
		_exit(4);
	_exit(3);
}

static bool is_of(const struct conform_case *one, const char *group)
{
	size_t len = strlen(group);

	return !strncmp(one->name, group, len) && one->name[len] == ':';
}

static bool is_wanted(const struct conform_case *one)
{
	return (!suite.only || is_of(one, suite.only)) && !(suite.but && is_of(one, suite.but));
}

static int list(void)
{
	for (size_t g = 0; g < GROUPS_N; g++) {
		for (const struct conform_case *one = groups[g]; one->name; one++)
			printf("%s\n", one->name);
	}
	return 0;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: conform --list | --partner ADDRESS | --transport NAME [--vectors N] "
		"[--size BYTES] [--plain] [--roster] [--dir PATH] [--only GROUP | --but GROUP] "
		"ADDRESS\n");
	return 2;
}

/* Close the peers and discard the events that a case has left behind. */
static void clean_up(struct conform *c)
{
	conform_close_extras(c);
	if (c->gone || c->failed)
		return;
	if (c->peer)
		conform_drain(c, c->peer, c->noisy ? QUIET_MS : 0);
}

static bool run_case(struct conform *c, const struct conform_case *one, unsigned int number)
{
	c->failed = c->noisy = false;
	suite.running = one->name;
	alarm(CASE_S);
	if (c->peer || c->gone || conform_reopen(c, NULL))
		one->run(c);
	clean_up(c);
	alarm(0);
	if (c->failed)
		printf("not ok %u - %s: %s\n", number, one->name, c->why);
	else
		printf("ok %u - %s\n", number, one->name);
	if (c->failed && !c->gone)
		conform_close(c); /* the next case gets a new peer */
	return !c->failed;
}

static bool meet_partner(struct conform *c)
{
	int64_t end = conform_now_ms() + LONG_MS;

	if (!conform_reopen(c, NULL))
		return false;
	while (c->mailbox->ready != MAILBOX_READY) {
		if (conform_now_ms() > end) {
			conform_fail(c, "no partner was found in the region");
			return false;
		}
		take_a_breath();
	}
	if (!ASK(c, ASK_HELLO))
		return false;
	c->partner = (int)ask_result(c, 0);
	return true;
}

static int run_all(struct conform *c)
{
	unsigned int number = 0;
	unsigned int failed = 0;

	if (!meet_partner(c)) {
		printf("Bail out! %s\n", c->why);
		return 3;
	}
	for (size_t g = 0; g < GROUPS_N; g++) {
		for (const struct conform_case *one = groups[g]; one->name; one++) {
			if (is_wanted(one))
				failed += !run_case(c, one, ++number);
		}
	}
	printf("1..%u\n", number);
	conform_close(c);
	return failed != 0;
}

static bool set_transport(struct conform *c, bool plain)
{
	for (size_t i = 0; i < sizeof(transports) / sizeof(*transports); i++) {
		if (!is_transport(c, transports[i].transport))
			continue;
		c->expected = transports[i].caps;
		c->device = transports[i].device;
		if (plain)
			c->expected &= ~(unsigned int)(IVS_CAP_ID | IVS_CAP_RING | IVS_CAP_WAIT);
		if (c->roster)
			c->expected |= IVS_CAP_ROSTER;
		return true;
	}
	return false;
}

static int run(struct conform *c)
{
	signal(SIGALRM, on_alarm);
	return run_all(c);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"list", no_argument, NULL, 'l'},
		{"partner", required_argument, NULL, 'p'},
		{"transport", required_argument, NULL, 'w'},
		{"vectors", required_argument, NULL, 'n'},
		{"size", required_argument, NULL, 's'},
		{"plain", no_argument, NULL, 'P'},
		{"roster", no_argument, NULL, 'r'},
		{"only", required_argument, NULL, 'o'},
		{"dir", required_argument, NULL, 'd'},
		{"but", required_argument, NULL, 'b'},
		{0},
	};
	struct conform c = {.transport = "", .dir = "/tmp", .size = REGION_MIN, .vectors_n = 1};
	bool plain = false;
	int option;

	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (option == 'l')
			return list();
		if (option == 'p')
			return partner_run(optarg);
		if (option == 'w')
			c.transport = optarg;
		else if (option == 'n')
			c.vectors_n = (unsigned int)strtoul(optarg, NULL, 10);
		else if (option == 's')
			c.size = strtoul(optarg, NULL, 10);
		else if (option == 'o')
			suite.only = optarg;
		else if (option == 'd')
			c.dir = optarg;
		else if (option == 'b')
			suite.but = optarg;
		else if (option == 'P')
			plain = true;
		else if (option == 'r')
			c.roster = true;
		else
			return usage();
	}
	if (optind + 1 != argc || !set_transport(&c, plain) || c.vectors_n > VECTORS_MAX)
		return usage();
	c.address = argv[optind];
	return run(&c);
}
