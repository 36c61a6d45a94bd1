/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/pci_choice.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"

#define LIST_LEN 320 /* leaves room for the rest of an error message */
#define MORE_LEN 16  /* room for ", and 31 more" */

static void pci_device_describe(const struct ivs_pci_device *device, char *out, size_t out_len)
{
	char size[IVS_SIZE_TEXT_LEN];

	snprintf(out, out_len, "pci:%s (%s, %s%s%s%s%s%s%s)", device->bdf,
		 device->memory_len ? ivs_size_text(device->memory_len, size) : "no memory",
		 device->has_msix ? "doorbell" : "plain", *device->name ? ", name " : "",
		 device->name, *device->driver ? ", driver " : "", device->driver,
		 *device->node ? ": /dev/" : "", device->node);
}

const char *ivs_pci_list(const struct ivs_pci_device *devices, unsigned int n, char *out,
			 size_t out_len)
{
	size_t len = 0;

	*out = '\0';
	for (unsigned int i = 0; i < n; i++) {
		size_t room = out_len - len - (i + 1 < n ? MORE_LEN : 0);
		char one[320];

		pci_device_describe(&devices[i], one, sizeof(one));
		if (strlen(one) + 2 >= room) {
			snprintf(out + len, out_len - len, "%s%u more", len ? ", and " : "", n - i);
			break;
		}
		len += (size_t)snprintf(out + len, room, "%s%s", len ? ", " : "", one);
	}
	return out;
}

static int pci_ambiguous(const struct ivs_pci_device *devices, unsigned int n,
			 struct ivs_error *err)
{
	char list[IVS_ERROR_LEN - 64];

	return ivs_error_set(err, IVS_PEER_E_AMBIGUOUS,
			     "there are %u ivshmem devices; choose one: %s", n,
			     ivs_pci_list(devices, n, list, sizeof(list)));
}

/* Return: why no device has the wanted name, for the text "no device has the name NAME; WHY". */
static const char *why_no_name(const struct ivs_pci_device *devices, unsigned int n)
{
	bool readable = true;
	bool named = false;

	for (unsigned int i = 0; i < n; i++) {
		readable &= devices[i].name_readable;
		named |= *devices[i].name;
	}
	if (!readable)
		return "only root can read the names of devices without our driver; ";
	return named ? "" : "only devices of ivshmem-device --name have names; QEMU's have none; ";
}

/* Return: whether @name has the form of a PCI address, with or without a domain. */
static bool is_address(const char *name)
{
	unsigned int domain;
	unsigned int bus;
	unsigned int slot;
	unsigned int function;
	int len = 0;

	if (name[strspn(name, "0123456789abcdef:.")]) /* %x would also accept a sign and 0x */
		return false;
	if (sscanf(name, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &len) != 4 || !len)
		sscanf(name, "%x:%x.%x%n", &bus, &slot, &function, &len);
	return len && !name[len];
}

int ivs_pci_none(struct ivs_error *err)
{
	return ivs_error_set(err, IVS_PEER_E_ABSENT,
			     "this machine has no ivshmem device (1af4:1110): start QEMU with "
			     "-device ivshmem-doorbell or ivshmem-plain");
}

static int pci_absent(const char *name, struct ivs_error *err)
{
	struct ivs_pci_device devices[IVS_PCI_DEVICES_MAX];
	unsigned int n = ivs_pci_devices_find("", devices);
	char list[LIST_LEN];
	char address[IVS_BDF_LEN];
	unsigned int vendor;
	unsigned int device;

	if (!n)
		return ivs_pci_none(err);
	ivs_pci_list(devices, n, list, sizeof(list));
	if (!strncmp(name, IVS_PCI_BY_NAME, strlen(IVS_PCI_BY_NAME)))
		return ivs_error_set(err, IVS_PEER_E_ABSENT,
				     "no device has the name \"%.64s\"; %sthe devices are %s",
				     name + strlen(IVS_PCI_BY_NAME), why_no_name(devices, n), list);
	if (!is_address(name))
		return ivs_error_set(err, IVS_PEER_E_ABSENT,
				     "\"%.64s\" is not a PCI address such as 0000:00:03.0; the "
				     "ivshmem devices are %s",
				     name, list);
	snprintf(address, sizeof(address), "%s%s",
		 strchr(name, ':') == strrchr(name, ':') ? "0000:" : "", name);
	if (ivs_pci_ids(address, &vendor, &device))
		return ivs_error_set(err, IVS_PEER_E_ABSENT,
				     "the PCI device at %s is %04x:%04x, not an ivshmem device "
				     "(1af4:1110); the ivshmem devices are %s",
				     name, vendor, device, list);
	return ivs_error_set(err, IVS_PEER_E_ABSENT,
			     "there is no PCI device at %s; the ivshmem devices are %s", name,
			     list);
}

int ivs_pci_choose(const char *name, struct ivs_pci_device *out, struct ivs_error *err)
{
	struct ivs_pci_device devices[IVS_PCI_DEVICES_MAX];
	unsigned int n = ivs_pci_devices_find(name, devices);

	if (n != 1)
		return n ? pci_ambiguous(devices, n, err) : pci_absent(name, err);
	*out = devices[0];
	return 0;
}
