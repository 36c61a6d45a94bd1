// SPDX-License-Identifier: BSD-3-Clause
/*
 * Something happens to the device while it is used in all ways:
 *
 * driver-test load unplug ROUNDS   the host brings one, takes it away and brings another
 * driver-test load reset ROUNDS    it is reset
 * driver-test load sleep STATE     the machine sleeps: mem, freeze
 */
#include "common.h"

#include "crew.h"
#include "often.h"

static struct ivs_ioc_info info;

static bool has_rung(void *data)
{
	struct crew *crew = data;

	return crew->rings > 10 || !crew->vectors_n;
}

static void unplug(int rounds)
{
	struct crew crew;

	ask("plug");
	for (int i = 0; i < rounds; i++) {
		need(eventually(is_there, NULL), "device %d is there", i);
		crew_open(&crew);
		crew_start(&crew, true, true);
		often(eventually(has_rung, &crew), "it is used");
		/*
		 * QEMU 7.2 without KVM leaves its handlers of a device's vectors behind, and dies when
		 * one of them is rung while the device goes.
		 */
		crew.hush = true;
		ask("unplug");
		often(crew.status->gone, "unplugged");
		crew_check_gone(&crew);
		crew_stop(&crew);
		crew_close(&crew);
		ask("plug");
	}
	need(eventually(is_there, NULL), "the last device is there");
	often_report();
}

static bool is_counted(void *data)
{
	const uint64_t *was = data;

	return *(const volatile uint64_t *)was[0] > was[1];
}

/* The crew stopped, everything works. */
static void check_works(struct crew *crew)
{
	uint64_t was[2];

	for (unsigned int i = 0; i < crew->vectors_n; i++) {
		int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		was[0] = (uintptr_t)&crew->status->counts[i];
		was[1] = crew->status->counts[i];
		need(!listen_to(crew->fd, i, event), "listen");
		often(!ring(crew->fd, crew->self, i), "then: rings");
		often(take_event(event, TIMEOUT_MS), "then: the eventfd is signalled");
		often(eventually(is_counted, was), "then: counted");
		close(event);
		listen_to(crew->fd, i, -1);
	}
	crew->memory[0] = 0x5a5a;
	crew->memory[crew->len / 4 - 1] = 0x5a5a;
	often(crew->memory[crew->len / 4 - 1] == 0x5a5a, "then: the memory works");
	often(!strcmp(cache_type((void *)crew->memory), "WB"), "then: write-back");
	often(physical((void *)crew->memory), "then: mapped");
	often(info_of(crew->fd).position == (int)crew->self, "then: the same id");
}

/* What happens, between two looks at a quiet device. */
static void with_and_without_load(int (*happen)(void))
{
	for (int load = 0; load < 2; load++) {
		struct crew crew;
		unsigned int events_n;
		int quiet;

		crew_open(&crew);
		crew.memory[2] = 0x2222;
		quiet = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		if (crew.vectors_n)
			listen_to(crew.fd, crew.vectors_n - 1, quiet);
		events_n = crew.status->events;
		if (load) {
			crew_start(&crew, true, true);
			often(eventually(has_rung, &crew), "it is used");
		}
		often(!happen(), "it happens");
		often(crew.status->events > events_n, "status: it is told");
		often(!crew.status->gone, "status: it is not gone");
		if (crew.vectors_n)
			often(take_event(quiet, TIMEOUT_MS), "every eventfd is signalled");
		crew_stop(&crew);
		if (!load)
			often(crew.memory[2] == 0x2222, "the memory is as it was");
		check_works(&crew);
		crew_close(&crew);
		close(quiet);
	}
}

static int reset(void)
{
	return write_file("1", "/sys/bus/pci/devices/%s/reset", info.bdf);
}

static const char *state;

/* Woken by the host. Something else may wake it up before it sleeps: then once more. */
static int sleep_now(void)
{
	int result = -EBUSY;

	for (int i = 0; i < 5 && result == -EBUSY; i++) {
		ask("sleep %s", state);
		result = write_file(state, "/sys/power/state");
		ask("awake");
	}
	return result;
}

int suite_load(int argc, char **argv)
{
	if (argc != 3)
		return -1;
	if (!strcmp(argv[1], "unplug")) {
		unplug(atoi(argv[2]));
		return 0;
	}
	info = info_of(open_device(O_RDONLY));
	state = argv[2];
	for (int i = 0; i < (strcmp(argv[1], "reset") ? 1 : atoi(argv[2])); i++)
		with_and_without_load(strcmp(argv[1], "reset") ? sleep_now : reset);
	often_report();
	return 0;
}
