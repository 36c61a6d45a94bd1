/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/attach_memory.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "qmp/vm.h"

#define FREED_MS 10000
#define POLL_MS 10
#define BLOCK "/ivshmem.bar2" /* ends the name of the memory of each doorbell device */

/* Count the devices in a container that have such memory. */
static int count_devices(struct monitor *monitor, const char *path, unsigned int *n,
			 struct ivs_error *err)
{
	char type[IVS_QMP_TYPE_LEN];
	json_t *list;
	json_t *entry;
	size_t i;
	int result = ivs_qmp_list(&monitor->qmp, path, &list, err);

	if (result)
		return result;
	json_array_foreach(list, i, entry)
	{
		if (ivs_qmp_child_type(entry, type))
			*n += !strcmp(type, "ivshmem-doorbell") || !strcmp(type, "ivshmem");
	}
	json_decref(list);
	return 0;
}

static int count_blocks(struct monitor *monitor, unsigned int *n, struct ivs_error *err)
{
	char *text;
	int result = ivs_qmp_human(&monitor->qmp, "info ramblock", &text, err);

	if (result)
		return result;
	for (const char *at = text; (at = strstr(at, BLOCK)); at++)
		++*n;
	free(text);
	return 0;
}

int attach_await_freed(struct monitor *monitor, struct ivs_error *err)
{
	int64_t deadline_ns = ivs_clock_deadline(FREED_MS);

	for (;;) {
		unsigned int devices_n = 0;
		unsigned int blocks_n = 0;
		int result = count_devices(monitor, "/machine/peripheral", &devices_n, err);

		if (!result)
			result = count_devices(monitor, "/machine/peripheral-anon", &devices_n,
					       err);
		if (!result)
			result = count_blocks(monitor, &blocks_n, err);
		if (result || blocks_n <= devices_n)
			return result;
		if (!ivs_clock_left_ms(deadline_ns))
			return ivs_error_set(err, IVS_QMP_E_REFUSED,
					     "QEMU has not freed the memory of a doorbell device "
					     "that was unplugged: try again later");
		(void)poll(NULL, 0, POLL_MS);
	}
}
