/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/guest.h"

#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/access.h"
#include "base/fd.h"
#include "peer/pci_advice.h"
#include "peer/pci_identity.h"
#include "roster_page/format.h"
#include "tools/ivshmem/doctor/bounded.h"

/* PCI Local Bus Specification 3.0, 6.1 and 6.8.2. */
#define CONFIG_LEN 256
#define CONFIG_COMMAND 4
#define CAP_MSIX 0x11
#define CAP_MSIX_LEN 4
#define MSIX_CONTROL 2
#define MSIX_SIZE 0x7ff
#define MSIX_ENABLE 0x8000

#define MODULES "/lib/modules"
#define ROSTER_TRIES 16

_Static_assert(IVS_DOCTOR_GUEST_LEN >= IVS_PCI_ADVICE_LEN &&
		       IVS_DOCTOR_GUEST_LEN >= IVS_ACCESS_TEXT_LEN &&
		       IVS_DRIVER_BDF_LEN >= IVS_BDF_LEN,
	       "the facts have room for what the library says");

/* Read a small file as a string, without its newline. Return: false if there is none. */
static bool read_text(const char *path, char *out, size_t out_len)
{
	IVS_OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, out_len - 1);

	out[n > 0 ? n : 0] = '\0';
	out[strcspn(out, "\n")] = '\0';
	return n > 0;
}

/* Read an attribute of our driver. */
static bool read_attribute(const struct ivs_doctor_device *device, const char *name, char *out,
			   size_t out_len)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/class/ivshmem/%s/%s", device->node, name);
	return read_text(path, out, out_len);
}

static void ask_config(struct ivs_doctor_device *out)
{
	uint8_t config[CONFIG_LEN];
	IVS_OWNED_FD fd = -1;
	char path[128];
	uint16_t word;
	ssize_t n;
	size_t at;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/config", out->bdf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, config, sizeof(config));
	if (n < CONFIG_COMMAND + (ssize_t)sizeof(word))
		return;
	memcpy(&word, config + CONFIG_COMMAND, sizeof(word));
	out->command = le16toh(word);
	out->knows |= IVS_DOCTOR_CONFIG;
	at = ivs_pci_capability(config, (size_t)n, CAP_MSIX, 0);
	if (!at || at + CAP_MSIX_LEN > (size_t)n)
		return;
	memcpy(&word, config + at + MSIX_CONTROL, sizeof(word));
	out->msix_n = (le16toh(word) & MSIX_SIZE) + 1U;
	out->msix_enabled = le16toh(word) & MSIX_ENABLE;
	out->knows |= IVS_DOCTOR_MSIX;
}

static void ask_node(struct ivs_doctor_device *out)
{
	char path[64];
	char text[64];

	if (!read_attribute(out, "dev", text, sizeof(text)) ||
	    sscanf(text, "%u:%u", &out->node_major, &out->node_minor) != 2)
		return;
	snprintf(path, sizeof(path), "/dev/%s", out->node);
	out->node_absent = faccessat(AT_FDCWD, path, F_OK, AT_EACCESS) && errno == ENOENT;
	out->is_denied = !out->node_absent && faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) &&
			 errno == EACCES;
	if (out->is_denied)
		ivs_access_explain(path, R_OK | W_OK, out->denied_why);
	out->knows |= IVS_DOCTOR_ACCESS;
}

/* The driver reads the id from a register, so the device must respond. */
static void ask_driver(struct ivs_doctor_device *out)
{
	char vectors[32];
	char position[32];
	char type[32];

	if (!read_attribute(out, "vectors", vectors, sizeof(vectors)) ||
	    !read_attribute(out, "position", position, sizeof(position)) ||
	    !read_attribute(out, "memory_type", type, sizeof(type)))
		return;
	out->vectors_n = (unsigned int)strtoul(vectors, NULL, 10);
	out->position = (int)strtol(position, NULL, 10);
	out->is_uncached = !strcmp(type, "uncached");
	out->knows |= IVS_DOCTOR_DRIVER;
}

/* Return: the number of vectors that the page assigns to this peer; -1: unknown */
static int find_assigned(const void *memory, const struct ivs_doctor_device *device)
{
	struct ivs_roster_page_snapshot page = {.entries_max = IVS_ID_MAX + 1};
	int assigned_n = -1;

	page.entries = calloc(page.entries_max, sizeof(*page.entries));
	if (!page.entries ||
	    ivs_roster_page_read(memory, device->memory_len, ROSTER_TRIES, &page) ||
	    !page.header.maintained)
		page.used_n = 0;
	for (uint32_t i = 0; i < page.used_n && i < page.entries_max; i++) {
		if ((int)page.entries[i].id == device->position)
			assigned_n = (int)page.entries[i].vectors_n;
	}
	free(page.entries);
	return assigned_n;
}

/* Programs may have mapped the region with either type, and the driver permits only one. */
static void *map_region(const struct ivs_doctor_device *device)
{
	IVS_OWNED_FD fd = -1;
	char path[64];
	void *memory;

	snprintf(path, sizeof(path), "/dev/%s", device->node);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return MAP_FAILED;
	memory = mmap(NULL, device->memory_len, PROT_READ, MAP_SHARED, fd, IVS_MMAP_MEMORY);
	if (memory == MAP_FAILED && errno == EBUSY)
		memory = mmap(NULL, device->memory_len, PROT_READ, MAP_SHARED, fd,
			      (off_t)IVS_MMAP_MEMORY_WC);
	return memory;
}

static void ask_roster(struct ivs_doctor_device *out)
{
	struct ivs_roster_page_header header;
	void *memory = map_region(out);

	if (memory == MAP_FAILED)
		return;
	out->has_roster = !ivs_roster_page_read_header(memory, out->memory_len, &header);
	if (out->has_roster && out->knows & IVS_DOCTOR_DRIVER)
		out->assigned_n = find_assigned(memory, out);
	munmap(memory, out->memory_len);
	out->knows |= IVS_DOCTOR_ROSTER;
}

/* Runs in a child process, because accesses to a device block while it is being reset. */
static bool ask_device(const void *question, void *answer)
{
	struct ivs_doctor_device *out = answer;

	(void)question;
	ask_config(out);
	if (!*out->node)
		return true;
	ask_node(out);
	/* A device whose memory decoding is off reads as all ones. */
	if (!(out->knows & IVS_DOCTOR_CONFIG) || !(out->command & IVS_DOCTOR_PCI_MEMORY))
		return true;
	ask_driver(out);
	ask_roster(out);
	return true;
}

static void examine(const struct ivs_pci_device *device, struct ivs_doctor_device *out)
{
	char text[IVS_PCI_ADVICE_LEN];

	strcpy(out->bdf, device->bdf);
	strcpy(out->driver, device->driver);
	strcpy(out->driver_override, device->driver_override);
	if (!ivs_pci_find_bridge(device, out->bridge))
		*out->bridge = '\0';
	strcpy(out->bind_ours, ivs_pci_advise_bind(device, IVS_OUR_DRIVER, text));
	strcpy(out->bind_vfio, ivs_pci_advise_bind(device, "vfio-pci", text));
	out->revision = device->revision;
	out->memory_len = device->memory_len;
	out->has_msix = device->has_msix;
	out->has_iommu = device->has_iommu;
	strcpy(out->name, device->name);
	out->name_known = device->name_readable;
	strcpy(out->node, device->node);
	out->assigned_n = -1;
	(void)bounded_run(ask_device, NULL, out, sizeof(*out));
}

/* Return: whether a file matches the pattern. */
static bool has_file(const char *pattern)
{
	glob_t found = {0};
	bool has = !glob(pattern, GLOB_NOSORT, NULL, &found);

	globfree(&found);
	return has;
}

/* Return: whether our module is installed for a kernel, even if depmod(8) was not run. */
static bool has_module_file(const char *kernel)
{
	static const char *const places[] = {"", "updates/", "updates/dkms/", "extra/", "misc/"};
	char pattern[512];

	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		snprintf(pattern, sizeof(pattern), MODULES "/%s/%sivshmem.ko*", kernel, places[i]);
		if (has_file(pattern))
			return true;
	}
	return false;
}

/* Return: whether our module is installed for another kernel; @out->other_kernel is the newest. */
static bool find_other_kernel(struct ivs_doctor_guest *out)
{
	DIR *dir = opendir(MODULES);
	const struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		if (*entry->d_name != '.' && strcmp(entry->d_name, out->kernel) != 0 &&
		    strverscmp(entry->d_name, out->other_kernel) > 0 &&
		    (ivs_pci_driver_is_installed(entry->d_name) || has_module_file(entry->d_name)))
			snprintf(out->other_kernel, sizeof(out->other_kernel), "%s", entry->d_name);
	}
	if (dir)
		closedir(dir);
	return *out->other_kernel;
}

static enum ivs_doctor_module find_module(struct ivs_doctor_guest *out)
{
	if (!access("/sys/bus/pci/drivers/" IVS_OUR_DRIVER, F_OK))
		return IVS_DOCTOR_MODULE_LOADED;
	if (ivs_pci_driver_is_installed(out->kernel))
		return IVS_DOCTOR_MODULE_LISTED;
	if (has_module_file(out->kernel))
		return IVS_DOCTOR_MODULE_UNLISTED;
	return find_other_kernel(out) ? IVS_DOCTOR_MODULE_OTHER : IVS_DOCTOR_MODULE_NONE;
}

static void examine_guest(struct ivs_doctor_guest *out)
{
	struct utsname kernel;
	char text[128];

	if (!uname(&kernel))
		snprintf(out->kernel, sizeof(out->kernel), "%s", kernel.release);
	out->module = find_module(out);
	out->has_dkms = has_file("/usr/src/ivshmem-*/dkms.conf");
	/* The kernel shows the choices, and the one that is in force in brackets. */
	out->is_locked_down = read_text("/sys/kernel/security/lockdown", text, sizeof(text)) &&
			      (strstr(text, "[integrity]") || strstr(text, "[confidentiality]"));
	out->has_no_msi = ivs_pci_kernel_has_no_msi();
}

int collect_guest(const struct scope *scope, struct ivs_doctor_facts *facts)
{
	struct ivs_pci_device devices[IVS_PCI_DEVICES_MAX];
	unsigned int n = ivs_pci_devices_find("", devices);

	if (!n && !scope->has_guest)
		return 0;
	facts->has_guest = true;
	facts->guest.asked = scope->has_guest;
	facts->devices = calloc(n + 1, sizeof(*facts->devices));
	if (!facts->devices)
		return -ENOMEM;
	facts->devices_n = n;
	examine_guest(&facts->guest);
	for (unsigned int i = 0; i < n; i++)
		examine(&devices[i], &facts->devices[i]);
	return 0;
}
