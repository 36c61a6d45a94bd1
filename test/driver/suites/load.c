// SPDX-License-Identifier: BSD-3-Clause
/*
 * Unplug, reset or suspend the device while it is in use:
 *
 * driver-test load unplug ROUNDS   the host plugs devices in and unplugs them
 * driver-test load reset ROUNDS    the device is reset
 * driver-test load sleep STATE     the guest suspends; STATE: mem or freeze
 */
#include "common.h"

#include "crew.h"

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
		need(eventually(is_there, NULL), "device %d appears", i);
		crew_open(&crew);
		crew_start(&crew, true, true);
		check_repeated(eventually(has_rung, &crew), "the device is in use");
		/*
		 * QEMU 7.2 without KVM does not remove its handlers for the device's vectors, and
		 * crashes if a vector is rung during the unplug.
		 */
		crew.hush = true;
		ask("unplug");
		check_repeated(crew.status->gone, "unplugged");
		crew_check_gone(&crew);
		crew_stop(&crew);
		crew_close(&crew);
		ask("plug");
	}
	need(eventually(is_there, NULL), "the last device appears");
	check_repeated_report();
}

static bool is_counted(void *data)
{
	const uint64_t *was = data;

	return *(const volatile uint64_t *)was[0] > was[1];
}

/* Check that everything still works after a reset or suspend. */
static void check_works(struct crew *crew)
{
	uint64_t was[2];

	for (unsigned int i = 0; i < crew->vectors_n; i++) {
		int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

		was[0] = (uintptr_t)&crew->status->counts[i];
		was[1] = crew->status->counts[i];
		need(!listen_to(crew->device_fd, i, event), "listen to vector %u", i);
		check_repeated(!ring(crew->device_fd, crew->self, i), "afterwards: ring");
		check_repeated(take_event(event, TIMEOUT_MS),
			       "afterwards: the eventfd is signalled");
		check_repeated(eventually(is_counted, was), "afterwards: the interrupt is counted");
		close(event);
		listen_to(crew->device_fd, i, -1);
	}
	crew->memory[0] = 0x5a5a;
	crew->memory[crew->len / 4 - 1] = 0x5a5a;
	check_repeated(crew->memory[crew->len / 4 - 1] == 0x5a5a,
		       "afterwards: the region is writable");
	check_repeated(crew->by_path[0] == 0x5a5a && crew->by_path[crew->len / 4 - 1] == 0x5a5a,
		       "afterwards: the region is mapped by path");
	check_repeated(!strcmp(cache_type((void *)crew->memory), "WB"), "afterwards: write-back");
	check_repeated(physical((void *)crew->memory), "afterwards: the region is mapped");
	check_repeated(info_of(crew->device_fd).position == (int)crew->self,
		       "afterwards: the id is the same");
}

/*
 * Call @happen (a reset or a suspend) once while the device is idle, and once while it is in use.
 */
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
			listen_to(crew.device_fd, crew.vectors_n - 1, quiet);
		events_n = crew.status->events;
		if (load) {
			crew_start(&crew, true, true);
			check_repeated(eventually(has_rung, &crew), "the device is in use");
		}
		check_repeated(!happen(), "reset or suspend succeeds");
		check_repeated(crew.status->events > events_n, "status: events is incremented");
		check_repeated(!crew.status->gone, "status: not gone");
		if (crew.vectors_n)
			check_repeated(take_event(quiet, TIMEOUT_MS), "every eventfd is signalled");
		crew_stop(&crew);
		if (!load)
			check_repeated(crew.memory[2] == 0x2222, "the region is unchanged");
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

/*
 * Suspend the guest until the host wakes it. If a different wakeup event aborts the suspend with
 * EBUSY, retry.
 */
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
	check_repeated_report();
	return 0;
}
