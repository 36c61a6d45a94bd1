/* SPDX-License-Identifier: BSD-3-Clause */
/* Updates that the service manager has not accepted yet: fds to store, and names of fds to drop. */
#include <errno.h>
#include <stdio.h>

#include "daemon/log.h"
#include "server/handover/private.h"

#define NOT_STORED '+' /* suffix in the list for the next program: the fd is not stored yet */

static const char *const own_names[IVS_HANDOVER_OWN_N] = {
	[IVS_HANDOVER_STATE] = NAME_STATE,
	[IVS_HANDOVER_REGION] = NAME_REGION,
	[IVS_HANDOVER_LISTENER] = NAME_LISTENER,
};

/*
 * Have the manager drop the previous fd of this name, then store ours. @has_former and
 * @unstored_fds record what is left to do, so that a retry does not send anything twice.
 */
static int store_one(struct ivs_handover *handover, enum ivs_handover_own own)
{
	struct ivs_named_fd named = {.fd = handover->unstored_fds[own]};
	unsigned int done_n;
	int result = 0;

	snprintf(named.name, sizeof(named.name), "%s", own_names[own]);
	if (handover->has_former[own])
		result = ivs_service_forget(&handover->service, &named, 1, &done_n);
	if (result)
		return result;
	handover->has_former[own] = false;
	result = ivs_service_store(&handover->service, &named, 1, &done_n);
	if (!result)
		handover->unstored_fds[own] = -1;
	return result;
}

static int forget_names(struct ivs_handover *handover)
{
	struct ivs_inherited *names = &handover->forget;
	unsigned int done_n;
	int result = 0;

	while (!result && names->n) {
		size_t n = names->n < IVS_SERVICE_BATCH ? names->n : IVS_SERVICE_BATCH;
		struct ivs_named_fd *last = &names->fds[names->n - n];

		result = ivs_service_forget(&handover->service, last, (unsigned int)n, &done_n);
		memmove(last, last + done_n, (n - done_n) * sizeof(*last));
		names->n -= done_n;
	}
	return result;
}

static void clear_unstored(struct ivs_handover *handover)
{
	ivs_inherited_free(&handover->forget);
	for (unsigned int own = 0; own < IVS_HANDOVER_OWN_N; own++)
		handover->unstored_fds[own] = -1;
}

int ivs_handover_retry_store(struct ivs_handover *handover)
{
	int result = 0;

	if (ivs_service_exists(&handover->service)) {
		for (unsigned int own = 0; !result && own < IVS_HANDOVER_OWN_N; own++) {
			if (handover->unstored_fds[own] >= 0)
				result = store_one(handover, own);
		}
		if (!result)
			result = forget_names(handover);
	}
	if (result > 0)
		return IVS_HANDOVER_E_LATER;
	clear_unstored(handover);
	return result;
}

void ivs_handover_store_own(struct ivs_handover *handover, enum ivs_handover_own own, int fd)
{
	int result;

	handover->unstored_fds[own] = fd;
	handover->has_former[own] = true;
	result = ivs_handover_retry_store(handover);
	if (result < 0)
		ivs_log(IVS_LOG_WARNING,
			"the service manager does not store fds: a crash will cost all clients "
			"their connections: %s",
			strerrordesc_np(-result));
}

int ivs_handover_take_named(struct ivs_handover *handover, const char *name, bool *stored)
{
	char other_name[IVS_NAMED_FD_LEN + 1];
	int fd = ivs_inherited_take(&handover->inherited, name);

	*stored = fd >= 0;
	if (fd >= 0)
		return fd;
	snprintf(other_name, sizeof(other_name), "%s%c", name, NOT_STORED);
	return ivs_inherited_take(&handover->inherited, other_name);
}

int ivs_handover_take_own(struct ivs_handover *handover, enum ivs_handover_own own)
{
	bool stored;
	int fd = ivs_handover_take_named(handover, own_names[own], &stored);

	if (fd >= 0 && !stored) {
		handover->unstored_fds[own] = fd;
		handover->has_former[own] = true;
	}
	return fd;
}

int ivs_handover_list_named(struct ivs_inherited *out, int fd, const char *name, bool stored)
{
	char text[IVS_NAMED_FD_LEN + 1];

	snprintf(text, sizeof(text), stored ? "%s" : "%s%c", name, NOT_STORED);
	return ivs_inherited_add(out, fd, text);
}

int ivs_handover_list_own(const struct ivs_handover *handover, const struct ivs_handover_fds *fds,
			  struct ivs_inherited *out)
{
	const int all[IVS_HANDOVER_OWN_N] = {
		[IVS_HANDOVER_STATE] = handover->state_fd,
		[IVS_HANDOVER_REGION] = fds->region,
		[IVS_HANDOVER_LISTENER] = fds->listener,
	};
	int result = 0;

	for (unsigned int own = 0; !result && own < IVS_HANDOVER_OWN_N; own++)
		result = ivs_handover_list_named(out, all[own], own_names[own],
						 handover->unstored_fds[own] < 0);
	for (size_t i = 0; !result && i < handover->forget.n; i++)
		result = ivs_inherited_add(out, IVS_NAMED_FD_NONE, handover->forget.fds[i].name);
	return result;
}

void ivs_handover_forget_own(struct ivs_handover *handover)
{
	struct ivs_named_fd named[IVS_HANDOVER_OWN_N];
	unsigned int done_n;

	if (!ivs_service_exists(&handover->service))
		return;
	for (unsigned int own = 0; own < IVS_HANDOVER_OWN_N; own++)
		snprintf(named[own].name, sizeof(named[own].name), "%s", own_names[own]);
	if (ivs_service_forget(&handover->service, named, IVS_HANDOVER_OWN_N, &done_n))
		ivs_log(IVS_LOG_WARNING,
			"cannot have the service manager drop the fds of this failed start");
}
