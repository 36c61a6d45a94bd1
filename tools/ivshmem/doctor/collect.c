/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/collect.h"

#include <stdlib.h>
#include <string.h>

#include "tools/ivshmem/doctor/domain.h"
#include "tools/ivshmem/doctor/guest.h"
#include "tools/ivshmem/doctor/host.h"
#include "tools/ivshmem/doctor/regions.h"
#include "tools/ivshmem/doctor/servers.h"
#include "tools/ivshmem/doctor/vms.h"
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

/* Return: 0, or an exit status after printing that there is no such VM. */
static int check_vm(const struct scope *scope, const struct collected *out)
{
	for (size_t i = 0; i < out->facts.vms_n; i++) {
		if (out->facts.vms[i].named)
			return 0;
	}
	return usage_failed("process %d is not a VM (QEMU), or cannot be seen: \"ivshmem list\" "
			    "shows the VMs that use regions",
			    (int)scope->vm);
}

int collect(const struct scope *scope, struct collected *out)
{
	int result;

	*out = (struct collected){.facts.has_host = scope_is_all(scope) || scope->has_host};
	progress_start("examining the processes of this host");
	result = scope->has_guest && !scope->has_name ? 0 : collect_regions(scope, out);
	if (!result)
		result = collect_servers(scope, out);
	if (!result)
		result = collect_vms(scope, out);
	collect_host(&out->facts.host);
	if (!result && (scope_is_all(scope) || scope->has_guest))
		result = collect_guest(scope, &out->facts);
	progress_end();
	if (result)
		return usage_failed("cannot examine this host: %s", strerror(-result));
	if (scope->has_name)
		return check_name(scope, out);
	if (scope->vm)
		return check_vm(scope, out);
	return scope->domain ? collect_domain(scope->domain, &out->facts.domain) : 0;
}

void collected_deinit(struct collected *collected)
{
	collect_vms_deinit(collected);
	free(collected->facts.regions);
	free(collected->facts.devices);
	free(collected->facts.servers);
	ivs_host_regions_deinit(&collected->regions);
	*collected = (struct collected){0};
}
