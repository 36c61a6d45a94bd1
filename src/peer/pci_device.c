/* SPDX-License-Identifier: BSD-3-Clause */
#include "peer/pci_device.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "ivshmem/registers.h"
#include "peer/pci_identity.h"

#define SYSFS_DEVICES "/sys/bus/pci/devices"
#define UNPRIVILEGED_LEN 64 /* only root can read the rest of configuration space */

void ivs_pci_device_path(const struct ivs_pci_device *device, const char *file, char *out,
			 size_t out_len)
{
	snprintf(out, out_len, SYSFS_DEVICES "/%s/%s", device->bdf, file);
}

/* Read a small file as a string. Return: false if the file does not exist or is empty. */
static bool pci_device_read(const struct ivs_pci_device *device, const char *file, char *out,
			    size_t out_len)
{
	IVS_OWNED_FD fd = -1;
	char path[128];
	ssize_t n;

	ivs_pci_device_path(device, file, path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, out, out_len - 1);
	out[n > 0 ? n : 0] = 0;
	return n > 0;
}

static unsigned long pci_device_read_number(const struct ivs_pci_device *device, const char *file)
{
	char text[32];

	return pci_device_read(device, file, text, sizeof(text)) ? strtoul(text, NULL, 0) : ~0UL;
}

/* Line @bar of "resource" has the first and last address of the BAR, or zeroes if there is none. */
static uint64_t pci_device_read_bar_len(const struct ivs_pci_device *device, unsigned int bar)
{
	unsigned long long first = 0;
	unsigned long long last = 0;
	char text[2048];
	char *line = text;

	if (!pci_device_read(device, "resource", text, sizeof(text)))
		return 0;
	while (bar-- && line) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line || sscanf(line, "%llx %llx", &first, &last) != 2 || !last)
		return 0;
	return last - first + 1;
}

static void pci_device_read_link(const struct ivs_pci_device *device, const char *file, char *out,
				 size_t out_len)
{
	char target[256];
	char path[128];
	const char *name;
	ssize_t n;

	ivs_pci_device_path(device, file, path, sizeof(path));
	n = readlink(path, target, sizeof(target) - 1);
	target[n > 0 ? n : 0] = 0;
	name = strrchr(target, '/');
	snprintf(out, out_len, "%s", name ? name + 1 : "");
}

/* Our driver adds the directory "ivshmem" with one entry, which has the device node's name. */
static void pci_device_read_node(struct ivs_pci_device *device)
{
	const struct dirent *entry;
	char path[128];
	DIR *dir;

	ivs_pci_device_path(device, "ivshmem", path, sizeof(path));
	dir = opendir(path);
	while (dir && (entry = readdir(dir))) {
		if (!strncmp(entry->d_name, "ivshmem", 7) &&
		    strlen(entry->d_name) < sizeof(device->node))
			strcpy(device->node, entry->d_name);
	}
	if (dir)
		closedir(dir);
	snprintf(path, sizeof(path), "ivshmem/%s/name", device->node);
	device->name_readable = *device->node;
	if (pci_device_read(device, path, device->name, sizeof(device->name)))
		device->name[strcspn(device->name, "\n")] = 0;
}

/* Without our driver, read the name from configuration space. Only root can read all of it. */
static void pci_device_read_identity(struct ivs_pci_device *device)
{
	IVS_OWNED_FD fd = -1;
	uint8_t config[256];
	char path[128];
	ssize_t n;

	ivs_pci_device_path(device, "config", path, sizeof(path));
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, config, sizeof(config));
	if (n > 0)
		(void)ivs_pci_identity(config, (size_t)n, device->name);
	device->name_readable = n > UNPRIVILEGED_LEN;
}

/* "(null)" means that any driver may bind the device. */
static void pci_device_read_override(struct ivs_pci_device *device)
{
	char text[64];

	if (!pci_device_read(device, "driver_override", text, sizeof(text)))
		return;
	text[strcspn(text, "\n")] = '\0';
	if (strcmp(text, "(null)") != 0)
		strcpy(device->driver_override, text);
}

static bool pci_device_inspect(struct ivs_pci_device *device)
{
	char group[32];

	if (pci_device_read_number(device, "vendor") != IVS_PCI_VENDOR ||
	    pci_device_read_number(device, "device") != IVS_PCI_DEVICE)
		return false;
	device->revision = (unsigned int)pci_device_read_number(device, "revision");
	device->memory_len = pci_device_read_bar_len(device, IVS_BAR_MEMORY);
	device->has_msix = pci_device_read_bar_len(device, IVS_BAR_MSIX) != 0;
	pci_device_read_link(device, "driver", device->driver, sizeof(device->driver));
	pci_device_read_override(device);
	pci_device_read_link(device, "iommu_group", group, sizeof(group));
	device->has_iommu = *group;
	pci_device_read_node(device);
	if (!*device->node)
		pci_device_read_identity(device);
	return true;
}

bool ivs_pci_ids(const char *bdf, unsigned int *vendor, unsigned int *id)
{
	struct ivs_pci_device device = {0};

	if (strlen(bdf) >= sizeof(device.bdf) || strchr(bdf, '/'))
		return false;
	strcpy(device.bdf, bdf);
	*vendor = (unsigned int)pci_device_read_number(&device, "vendor");
	*id = (unsigned int)pci_device_read_number(&device, "device");
	return *vendor != ~0U && *id != ~0U;
}

static int compare_bdf(const void *a, const void *b)
{
	const struct ivs_pci_device *left = a;
	const struct ivs_pci_device *right = b;

	return strcmp(left->bdf, right->bdf);
}

/* "00:03.0" is short for "0000:00:03.0". */
static bool bdf_matches(const char *bdf, const char *name)
{
	return !strcmp(bdf, name) || (!strncmp(bdf, "0000:", 5) && !strcmp(bdf + 5, name));
}

/* Return: whether @name selects @device, as described for ivs_pci_devices_find(). */
static bool pci_device_matches(const struct ivs_pci_device *device, const char *name)
{
	if (!strncmp(name, IVS_PCI_BY_NAME, sizeof(IVS_PCI_BY_NAME) - 1))
		return *device->name && !strcmp(device->name, name + sizeof(IVS_PCI_BY_NAME) - 1);
	return !*name || bdf_matches(device->bdf, name);
}

unsigned int ivs_pci_devices_find(const char *name,
				  struct ivs_pci_device devices[IVS_PCI_DEVICES_MAX])
{
	DIR *dir = opendir(SYSFS_DEVICES);
	const struct dirent *entry;
	unsigned int n = 0;

	while (dir && n < IVS_PCI_DEVICES_MAX && (entry = readdir(dir))) {
		struct ivs_pci_device *device = &devices[n];

		*device = (struct ivs_pci_device){0};
		if (strlen(entry->d_name) >= sizeof(device->bdf))
			continue;
		strcpy(device->bdf, entry->d_name);
		n += isxdigit((unsigned char)*device->bdf) && pci_device_inspect(device) &&
		     pci_device_matches(device, name);
	}
	if (dir)
		closedir(dir);
	qsort(devices, n, sizeof(*devices), compare_bdf);
	return n;
}
