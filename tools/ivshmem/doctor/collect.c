/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/collect.h"

#include <stdlib.h>
#include <string.h>

#include "tools/ivshmem/doctor/domain.h"
#include "tools/ivshmem/doctor/guest.h"
#include "tools/ivshmem/doctor/host.h"
#include "tools/ivshmem/doctor/regions.h"
#include "tools/ivshmem/doctor/servers.h"
#include "tools/ivshmem/progress.h"
#include "tools/shared/usage.h"

/* Return: 0, or an exit status after printing that the named region does not exist. */
static int check_name(const struct scope *scope, const struct collected *out)
{
	for (size_t i = 0; i < out->facts.regions_n; i++) {
		if (out->facts.regions[i].named)
			return 0;
	}
	return usage_failed("no region \"%s\": \"ivshmem list --all\" lists all that can be seen",
			    scope->name.given);
}

int collect(const struct scope *scope, struct collected *out)
{
	int result;

	*out = (struct collected){.facts.has_host = scope_is_all(scope) || scope->has_host};
	progress_start("examining the processes of this host");
	result = scope->has_guest && !scope->has_name ? 0 : collect_regions(scope, out);
	if (!result)
		result = collect_servers(scope, out);
	collect_host(&out->facts.host);
	if (!result && (scope_is_all(scope) || scope->has_guest))
		result = collect_guest(scope, &out->facts);
	progress_end();
	if (result)
		return usage_failed("cannot examine this host: %s", strerror(-result));
	if (scope->has_name && check_name(scope, out))
		return STATUS_FAILED;
	return scope->domain ? collect_domain(scope->domain, &out->facts.domain) : 0;
}

void collected_deinit(struct collected *collected)
{
	free(collected->facts.regions);
	free(collected->facts.devices);
	free(collected->facts.servers);
	ivs_host_regions_deinit(&collected->regions);
	*collected = (struct collected){0};
}
