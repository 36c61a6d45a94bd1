/* SPDX-License-Identifier: BSD-3-Clause */
/* What the service manager is owed: fds that it has no copy of yet, and names that it is to forget. */
#include <errno.h>
#include <stdio.h>

#include "daemon/log.h"
#include "server/keep_state.h"

#define NOT_KEPT '+' /* after a name in the list for the next program: the manager has no copy */

static const char *const own_names[IVS_KEEP_OWN_N] = {
	[IVS_KEEP_STATE] = NAME_STATE,
	[IVS_KEEP_REGION] = NAME_REGION,
	[IVS_KEEP_LISTENER] = NAME_LISTENER,
};

/* One step; what was said before must not be said again. */
static int store_one(struct ivs_keep *keep, enum ivs_keep_own own)
{
	struct ivs_named_fd named = {.fd = keep->own[own]};
	unsigned int done_n;
	int result = 0;

	snprintf(named.name, sizeof(named.name), "%s", own_names[own]);
	if (keep->own_old[own])
		result = ivs_service_forget(&keep->service, &named, 1, &done_n);
	if (result)
		return result;
	keep->own_old[own] = false;
	result = ivs_service_store(&keep->service, &named, 1, &done_n);
	if (!result)
		keep->own[own] = -1;
	return result;
}

static int forget_names(struct ivs_keep *keep)
{
	struct ivs_inherited *names = &keep->forget;
	unsigned int done_n;
	int result = 0;

	while (!result && names->n) {
		size_t n = names->n < IVS_SERVICE_BATCH ? names->n : IVS_SERVICE_BATCH;
		struct ivs_named_fd *last = &names->fds[names->n - n];

		result = ivs_service_forget(&keep->service, last, (unsigned int)n, &done_n);
		memmove(last, last + done_n, (n - done_n) * sizeof(*last));
		names->n -= done_n;
	}
	return result;
}

static void owe_nothing(struct ivs_keep *keep)
{
	ivs_inherited_free(&keep->forget);
	for (unsigned int own = 0; own < IVS_KEEP_OWN_N; own++)
		keep->own[own] = -1;
}

int ivs_keep_catch_up(struct ivs_keep *keep)
{
	int result = 0;

	if (ivs_service_exists(&keep->service)) {
		for (unsigned int own = 0; !result && own < IVS_KEEP_OWN_N; own++) {
			if (keep->own[own] >= 0)
				result = store_one(keep, own);
		}
		if (!result)
			result = forget_names(keep);
	}
	if (result <= 0)
		owe_nothing(keep);
	return result;
}

void ivs_keep_store_own(struct ivs_keep *keep, enum ivs_keep_own own, int fd)
{
	int result;

	keep->own[own] = fd;
	keep->own_old[own] = true;
	result = ivs_keep_catch_up(keep);
	if (result < 0)
		ivs_log(IVS_LOG_WARNING,
			"the service manager does not take fds: a crash will cost all clients "
			"their connections: %s",
			strerrordesc_np(-result));
}

int ivs_keep_take_named(struct ivs_keep *keep, const char *name, bool *kept)
{
	char other_name[IVS_NAMED_FD_LEN + 1];
	int fd = ivs_inherited_take(&keep->inherited, name);

	*kept = fd >= 0;
	if (fd >= 0)
		return fd;
	snprintf(other_name, sizeof(other_name), "%s%c", name, NOT_KEPT);
	return ivs_inherited_take(&keep->inherited, other_name);
}

int ivs_keep_take_own(struct ivs_keep *keep, enum ivs_keep_own own)
{
	bool kept;
	int fd = ivs_keep_take_named(keep, own_names[own], &kept);

	if (fd >= 0 && !kept) {
		keep->own[own] = fd;
		keep->own_old[own] = true;
	}
	return fd;
}

int ivs_keep_list_fd(struct ivs_inherited *out, int fd, const char *name, bool kept)
{
	char text[IVS_NAMED_FD_LEN + 1];

	snprintf(text, sizeof(text), kept ? "%s" : "%s%c", name, NOT_KEPT);
	return ivs_inherited_add(out, fd, text);
}

int ivs_keep_list_own(const struct ivs_keep *keep, const struct ivs_keep_fds *fds,
		      struct ivs_inherited *out)
{
	const int all[IVS_KEEP_OWN_N] = {
		[IVS_KEEP_STATE] = keep->fd,
		[IVS_KEEP_REGION] = fds->region,
		[IVS_KEEP_LISTENER] = fds->listener,
	};
	int result = 0;

	for (unsigned int own = 0; !result && own < IVS_KEEP_OWN_N; own++)
		result = ivs_keep_list_fd(out, all[own], own_names[own], keep->own[own] < 0);
	for (size_t i = 0; !result && i < keep->forget.n; i++)
		result = ivs_inherited_add(out, IVS_NAMED_FD_NONE, keep->forget.fds[i].name);
	return result;
}

void ivs_keep_abandon(struct ivs_keep *keep)
{
	struct ivs_named_fd named[IVS_KEEP_OWN_N];
	unsigned int done_n;

	if (!ivs_service_exists(&keep->service))
		return;
	for (unsigned int own = 0; own < IVS_KEEP_OWN_N; own++)
		snprintf(named[own].name, sizeof(named[own].name), "%s", own_names[own]);
	if (ivs_service_forget(&keep->service, named, IVS_KEEP_OWN_N, &done_n))
		ivs_log(IVS_LOG_WARNING, "the service manager keeps what a failed start has left");
}
