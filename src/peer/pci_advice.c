/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/pci_advice.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/error.h"

#define SYSFS_DRIVERS "/sys/bus/pci/drivers/"

static bool driver_is_loaded(const char *driver)
{
	char path[128];

	snprintf(path, sizeof(path), SYSFS_DRIVERS "%s", driver);
	return !access(path, F_OK);
}

/* Each line of modules.dep begins with a module's path. */
bool ivs_pci_driver_is_installed(const char *kernel)
{
	static const char wanted[] = IVS_OUR_DRIVER ".ko";
	char line[PATH_MAX];
	bool found = false;
	char path[512];
	FILE *file;

	snprintf(path, sizeof(path), "/lib/modules/%s/modules.dep", kernel);
	file = fopen(path, "re");
	while (file && !found && fgets(line, sizeof(line), file)) {
		const char *base;

		line[strcspn(line, ":\n")] = '\0';
		base = strrchr(line, '/');
		found = !strncmp(base ? base + 1 : line, wanted, strlen(wanted));
	}
	if (file)
		fclose(file);
	return found;
}

/* Return: the command that loads @driver, with a semicolon at the end; "" if it is loaded. */
static const char *load_command(const char *driver)
{
	struct utsname kernel;

	if (driver_is_loaded(driver))
		return "";
	if (strcmp(driver, IVS_OUR_DRIVER) != 0)
		return "modprobe vfio-pci; ";
	return !uname(&kernel) && ivs_pci_driver_is_installed(kernel.release)
		       ? "modprobe ivshmem; "
		       : "make driver; insmod build/driver/ivshmem.ko; ";
}

/* If driver_override is set, only the driver that it names can bind the device. */
static bool override_forbids(const struct ivs_pci_device *device, const char *driver)
{
	return *device->driver_override && strcmp(device->driver_override, driver) != 0;
}

/*
 * When our driver is loaded, it binds all its devices that no driver holds. In any other case the
 * device has to be assigned to the driver: another driver may also match the device's ids, and
 * vfio-pci matches no ids by itself.
 */
const char *ivs_pci_advise_bind(const struct ivs_pci_device *device, const char *driver,
				char out[IVS_PCI_ADVICE_LEN])
{
	const char *load = load_command(driver);
	bool assign = !*load || *device->driver || override_forbids(device, driver) ||
		      strcmp(driver, IVS_OUR_DRIVER) != 0;
	const char *bdf = device->bdf;
	size_t len;

	len = (size_t)snprintf(out, IVS_PCI_ADVICE_LEN, "%s", load);
	if (assign)
		len += (size_t)snprintf(out + len, IVS_PCI_ADVICE_LEN - len,
					"echo %s > /sys/bus/pci/devices/%s/driver_override; ",
					driver, bdf);
	if (*device->driver)
		len += (size_t)snprintf(out + len, IVS_PCI_ADVICE_LEN - len,
					"echo %s > " SYSFS_DRIVERS "%s/unbind; ", bdf,
					device->driver);
	if (assign)
		len += (size_t)snprintf(out + len, IVS_PCI_ADVICE_LEN - len,
					"echo %s > /sys/bus/pci/drivers_probe; ", bdf);
	out[len - 2] = '\0'; /* remove the last semicolon */
	return out;
}

const char *ivs_pci_holder(const struct ivs_pci_device *device, char out[IVS_PCI_ADVICE_LEN])
{
	*out = '\0';
	if (*device->driver)
		snprintf(out, IVS_PCI_ADVICE_LEN,
			 "the driver %s holds the device: ", device->driver);
	else if (override_forbids(device, IVS_OUR_DRIVER))
		snprintf(out, IVS_PCI_ADVICE_LEN,
			 "driver_override reserves the device for %s: ", device->driver_override);
	else if (driver_is_loaded(IVS_OUR_DRIVER))
		snprintf(
			out, IVS_PCI_ADVICE_LEN,
			"our driver is loaded, but does not hold the device (dmesg may say why): ");
	return out;
}

bool ivs_pci_kernel_has_no_msi(void)
{
	FILE *file = fopen("/proc/cmdline", "re");
	char line[4096] = "";
	bool found;

	found = file && fgets(line, sizeof(line), file) && strstr(line, "pci=") &&
		strstr(line, "nomsi");
	if (file)
		fclose(file);
	return found;
}

bool ivs_pci_find_bridge(const struct ivs_pci_device *device, char bridge[IVS_BDF_LEN])
{
	char real[PATH_MAX];
	char path[128];
	char *parent;
	char *slash;

	ivs_pci_device_path(device, "", path, sizeof(path));
	if (!realpath(path, real))
		return false;
	slash = strrchr(real, '/');
	*slash = '\0';
	parent = strrchr(real, '/');
	if (!parent || strlen(parent + 1) >= IVS_BDF_LEN || !strchr(parent, ':') ||
	    !strncmp(parent, "/pci", 4)) /* the parent is a root bus */
		return false;
	strcpy(bridge, parent + 1);
	return true;
}

int ivs_pci_no_address(const struct ivs_pci_device *device, struct ivs_error *err)
{
	char bridge[IVS_BDF_LEN];

	if (ivs_pci_find_bridge(device, bridge))
		return ivs_error_set(
			err, IVS_PEER_E_ABSENT,
			"BAR 2 of the device at %s has no address: the port at %s, behind which it "
			"was plugged in, has no window that is large enough: start QEMU with "
			"pcie-root-port,pref64-reserve=SIZE, SIZE at least that of the region",
			device->bdf, bridge);
	return ivs_error_set(
		err, IVS_PEER_E_ABSENT,
		"BAR 2 of the device at %s has no address: the guest's kernel found no "
		"room for it (dmesg | grep %s)",
		device->bdf, device->bdf);
}
