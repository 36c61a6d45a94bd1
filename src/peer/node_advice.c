/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/node_advice.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/access.h"
#include "base/error.h"
#include "peer/pci_advice.h"
#include "peer/pci_choice.h"

#define RULE "60-ivshmem.rules"
#define RULE_SOURCE "packaging/udev/" RULE

/*
 * Return: whether the driver has a device for the absent node @path. sysfs shows the device's
 * number.
 */
static bool driver_has(const char *path)
{
	char file[128];

	snprintf(file, sizeof(file), "/sys/class/ivshmem/%.64s/dev", strrchr(path, '/') + 1);
	return !access(file, F_OK);
}

int ivs_node_absent(const char *path, struct ivs_error *err)
{
	struct ivs_pci_device devices[IVS_PCI_DEVICES_MAX];
	unsigned int n = ivs_pci_devices_find("", devices);
	char text[IVS_PCI_ADVICE_LEN];
	char who[IVS_PCI_ADVICE_LEN];
	const char *name = strrchr(path, '/') + 1;

	if (!n) {
		struct ivs_error none;
		int result = ivs_pci_none(&none);

		return ivs_error_set(err, result, "there is no device %.128s: %s", path, none.text);
	}
	if (driver_has(path))
		return ivs_error_set(err, IVS_PEER_E_ABSENT,
				     "there is no node %s, although the driver has the device: "
				     "mknod %s c $(tr : ' ' < /sys/class/ivshmem/%s/dev)",
				     path, path, name);
	for (unsigned int i = 0; i < n; i++) {
		if (*devices[i].node)
			return ivs_error_set(err, IVS_PEER_E_ABSENT,
					     "there is no device %.128s; the devices are %s", path,
					     ivs_pci_list(devices, n, text, 320));
	}
	return ivs_error_set(err, IVS_PEER_E_ABSENT,
			     "there is no device %.64s, because our driver holds no device: %s%s",
			     path, ivs_pci_holder(&devices[0], who),
			     ivs_pci_advise_bind(&devices[0], IVS_OUR_DRIVER, text));
}

/* Return: whether a udev rule for our nodes is installed. */
static bool has_rule(void)
{
	static const char *const dirs[] = {"/etc", "/run", "/usr/local/lib", "/usr/lib", "/lib"};
	bool found = false;

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++) {
		char path[64];

		snprintf(path, sizeof(path), "%s/udev/rules.d/" RULE, dirs[i]);
		found |= !access(path, F_OK);
	}
	return found;
}

/* The kernel creates the node for root only; the udev rule gives it to a group. */
int ivs_node_denied(const char *path, struct ivs_error *err)
{
	char why[IVS_ACCESS_TEXT_LEN];
	struct ivs_access access;
	const char *rule = "";

	ivs_access_find(path, R_OK | W_OK, &access);
	if (access.cause == IVS_ACCESS_MODE && !access.on_way)
		rule = has_rule() ? "; the udev rule " RULE ", which gives it to a group, has not "
				    "been applied"
				  : "; the udev rule " RULE_SOURCE
				    ", which gives it to a group, is not installed";
	return ivs_error_set(err, -EACCES, "no permission to open %s: %s%s", path,
			     ivs_access_explain(path, R_OK | W_OK, why), rule);
}
