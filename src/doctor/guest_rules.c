/* SPDX-License-Identifier: BSD-3-Clause */
/* Rules about a guest and its devices. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "doctor/private.h"

#define START_IOMMU                                                                                \
	"start QEMU with -device intel-iommu,intremap=on,caching-mode=on and "                     \
	"kernel-irqchip=split"

static bool has_driver(const struct ivs_doctor_device *device, const char *name)
{
	return !strcmp(device->driver, name);
}

/* Return: whether our driver is bound, and not only trying to. */
static bool is_ours(const struct ivs_doctor_device *device)
{
	return *device->node;
}

/**
 * enum obstacle - why no driver is bound to a device
 *
 * A device without a driver breaks exactly one rule, because a cure for a later one of these causes
 * does not help while an earlier one exists.
 */
enum obstacle {
	OBSTACLE_NONE, /* a driver is bound */
	OBSTACLE_ADDRESS,
	OBSTACLE_IOMMU,
	OBSTACLE_LOCKDOWN,
	OBSTACLE_KERNEL,
	OBSTACLE_UNBOUND,
};

static enum obstacle obstacle_of(const struct ivs_doctor_case *at)
{
	const struct ivs_doctor_guest *guest = &at->facts->guest;

	if (!at->device->memory_len)
		return OBSTACLE_ADDRESS;
	if (*at->device->driver)
		return OBSTACLE_NONE;
	if (!strcmp(at->device->driver_override, "vfio-pci") && !at->device->has_iommu)
		return OBSTACLE_IOMMU;
	if (guest->is_locked_down)
		return OBSTACLE_LOCKDOWN;
	if (guest->module == IVS_DOCTOR_MODULE_OTHER || guest->module == IVS_DOCTOR_MODULE_UNLISTED)
		return OBSTACLE_KERNEL;
	return OBSTACLE_UNBOUND;
}

static void check_device(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (at->facts->guest.asked && !at->facts->devices_n)
		ivs_doctor_advise(
			ivs_doctor_found(findings, "it has no PCI device 1af4:1110"),
			"on the host, \"ivshmem config qemu\" and \"ivshmem config libvirt\" print "
			"the lines that give a VM a device, and \"ivshmem attach\" plugs one into "
			"a running VM");
}

/* Return: whether programs can choose between the devices only by their PCI addresses. */
static bool are_alike(const struct ivs_doctor_device *a, const struct ivs_doctor_device *b)
{
	return a->name_known && b->name_known && !strcmp(a->name, b->name) &&
	       a->memory_len == b->memory_len && a->memory_len && a->has_msix == b->has_msix;
}

static void check_names(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_device *devices = at->facts->devices;
	char size[IVS_SIZE_TEXT_LEN];

	for (size_t i = 0; i < at->facts->devices_n; i++) {
		for (size_t j = i + 1; j < at->facts->devices_n; j++) {
			if (!are_alike(&devices[i], &devices[j]))
				continue;
			ivs_doctor_advise(
				ivs_doctor_found(findings,
						 "the devices at %s and %s are both %s of %s, and "
						 "no name tells them apart",
						 devices[i].bdf, devices[j].bdf,
						 devices[i].has_msix ? "ivshmem-doorbell"
								     : "ivshmem-plain",
						 ivs_size_text(devices[i].memory_len, size)),
				"give them different sizes, or serve them by \"ivshmem-device "
				"--name\"; with QEMU's own devices, set addr= on the host, and use "
				"the links in /dev/ivshmem/by-path");
			return;
		}
	}
}

static void check_address(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	struct ivs_doctor_finding *finding;

	if (obstacle_of(at) != OBSTACLE_ADDRESS)
		return;
	if (!*at->device->bridge) {
		finding = ivs_doctor_found(findings, "BAR 2 has no address: the kernel found no "
						     "room for it");
		ivs_doctor_advise(finding,
				  "\"dmesg | grep %s\" says why; plug the device in "
				  "before the guest boots",
				  at->device->bdf);
		return;
	}
	finding = ivs_doctor_found(findings,
				   "BAR 2 has no address: the port at %s, which the device is "
				   "behind, has no window that is large enough",
				   at->device->bridge);
	ivs_doctor_advise(finding, "on the host, start QEMU with "
				   "pcie-root-port,pref64-reserve=SIZE, SIZE at least that of the "
				   "region, or plug the device into another port (bus=)");
}

static void check_iommu(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	struct ivs_doctor_finding *finding;

	if (obstacle_of(at) != OBSTACLE_IOMMU)
		return;
	finding = ivs_doctor_found(findings, "driver_override reserves the device for vfio-pci, "
					     "but it is not in an IOMMU group");
	ivs_doctor_command(finding, at->device->bind_ours, NULL, "");
	ivs_doctor_advise(finding, "to use vfio-pci instead, on the host, " START_IOMMU);
}

static void check_lockdown(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const bool is_loaded = at->facts->guest.module == IVS_DOCTOR_MODULE_LOADED;
	struct ivs_doctor_finding *finding;

	if (obstacle_of(at) != OBSTACLE_LOCKDOWN)
		return;
	finding = ivs_doctor_found(findings, "the kernel is locked down, and no driver is bound to "
					     "the device");
	if (is_loaded || at->device->has_iommu)
		ivs_doctor_command(finding,
				   is_loaded ? at->device->bind_ours : at->device->bind_vfio, NULL,
				   "");
	if (!is_loaded)
		ivs_doctor_advise(finding,
				  "our driver can be loaded if it is signed with a key "
				  "that the guest trusts (mokutil --import)%s",
				  at->device->has_iommu
					  ? ""
					  : "; or, for vfio-pci, on the host, " START_IOMMU);
}

static void check_kernel(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_guest *guest = &at->facts->guest;
	struct ivs_doctor_finding *finding;

	if (obstacle_of(at) != OBSTACLE_KERNEL)
		return;
	if (guest->module == IVS_DOCTOR_MODULE_UNLISTED) {
		finding = ivs_doctor_found(findings,
					   "no driver is bound: ivshmem.ko is installed for this "
					   "kernel, %s, but modprobe does not find it",
					   guest->kernel);
		ivs_doctor_command(finding, "depmod -a; modprobe ivshmem", NULL, "");
		return;
	}
	finding = ivs_doctor_found(findings,
				   "no driver is bound: ivshmem.ko is installed for Linux %s, but "
				   "this is Linux %s",
				   guest->other_kernel, guest->kernel);
	if (guest->has_dkms)
		ivs_doctor_command(finding, "dkms autoinstall; modprobe ivshmem", NULL, "");
	ivs_doctor_advise(finding,
			  guest->has_dkms
				  ? "DKMS needs the headers of this kernel: linux-headers-%s"
				  : "in the source tree: make driver; insmod "
				    "build/driver/ivshmem.ko; this needs linux-headers-%s",
			  guest->kernel);
}

static void check_bound(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_device *device = at->device;
	char install[IVS_DOCTOR_GUEST_LEN + 64] = "";
	struct ivs_doctor_finding *finding;

	if (obstacle_of(at) != OBSTACLE_UNBOUND)
		return;
	if (*device->driver_override && strcmp(device->driver_override, "ivshmem") != 0)
		finding = ivs_doctor_found(findings,
					   "no driver is bound: driver_override reserves the "
					   "device for %s",
					   device->driver_override);
	else
		finding = ivs_doctor_found(findings, "no driver is bound%s",
					   at->facts->guest.module == IVS_DOCTOR_MODULE_LOADED
						   ? ", although ours is loaded (dmesg may say why)"
						   : "");
	if (at->facts->guest.module != IVS_DOCTOR_MODULE_NONE)
		ivs_doctor_command(finding, device->bind_ours, NULL, "");
	else
		snprintf(install, sizeof(install),
			 "install ivshmem-dkms or, in the source tree, %s; until then, ",
			 device->bind_ours);
	ivs_doctor_advise(finding,
			  "%sroot can use the memory, uncached, and ring doorbells without a "
			  "driver: ivshmem dump pci:%s%s",
			  install, device->bdf,
			  device->knows & IVS_DOCTOR_CONFIG &&
					  !(device->command & IVS_DOCTOR_PCI_MEMORY)
				  ? "; programs that map resource2 themselves have to write 1 to "
				    "the file \"enable\" beside it"
				  : "");
}

/* kvmfr is the driver of Looking Glass, whose programs map the region through it. */
static void check_driver(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_device *device = at->device;

	if (obstacle_of(at) != OBSTACLE_NONE || has_driver(device, "ivshmem") ||
	    has_driver(device, "vfio-pci") || has_driver(device, "kvmfr"))
		return;
	ivs_doctor_command(
		ivs_doctor_found(findings, "the driver %s is bound to the device", device->driver),
		device->bind_ours, NULL, "");
}

/* In a kernel that is locked down, vfio-pci may be the only way to the device. */
static void check_cached(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_device *device = at->device;

	if (has_driver(device, "vfio-pci") && device->memory_len &&
	    !at->facts->guest.is_locked_down)
		ivs_doctor_command(ivs_doctor_found(findings, "vfio-pci maps the region uncached"),
				   device->bind_ours, NULL, "");
	else if (is_ours(device) && device->is_uncached)
		ivs_doctor_advise(ivs_doctor_found(findings,
						   "programs have mapped the region of /dev/%s "
						   "write-combining, but this processor can only "
						   "map it uncached",
						   device->node),
				  "let the programs map IVS_MMAP_MEMORY");
}

static void check_node(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_device *device = at->device;
	struct ivs_doctor_finding *finding;
	char command[128];

	if (!device->node_absent)
		return;
	finding = ivs_doctor_found(findings, "our driver is bound, but there is no node /dev/%s",
				   device->node);
	snprintf(command, sizeof(command), "mknod -m 660 /dev/%s c %u %u", device->node,
		 device->node_major, device->node_minor);
	ivs_doctor_command(finding, command, NULL, "");
	ivs_doctor_advise(finding,
			  "usually devtmpfs creates it: see \"mount -t devtmpfs\"; "
			  "containers need --device=/dev/%s",
			  device->node);
}

static void check_denied(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_device *device = at->device;

	if (device->is_denied)
		ivs_doctor_advise(
			ivs_doctor_found(findings, "this user may not open /dev/%s", device->node),
			"%s; the udev rule 60-ivshmem.rules keeps that across reboots, "
			"and \"ivshmem config udev\" prints one for another group",
			device->denied_why);
}

/* Let a command set a bit of the command register. Only the low byte has such bits. */
static void set_bit(struct ivs_doctor_finding *finding, const struct ivs_doctor_device *device,
		    unsigned int bit)
{
	char command[160];

	snprintf(command, sizeof(command),
		 "printf '\\%03o' | dd of=/sys/bus/pci/devices/%s/config bs=1 seek=4 conv=notrunc",
		 (device->command | bit) & 0xff, device->bdf);
	ivs_doctor_command(finding, command, NULL, "");
	ivs_doctor_advise(finding, "our driver has set this bit: find the program that cleared it "
				   "(setpci, for example)");
}

static void check_memory(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (is_ours(at->device) && !(at->device->command & IVS_DOCTOR_PCI_MEMORY))
		set_bit(ivs_doctor_found(findings,
					 "memory decoding is off in the command register "
					 "(0x%04x), although a driver is bound",
					 at->device->command),
			at->device, IVS_DOCTOR_PCI_MEMORY);
}

static void check_master(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (is_ours(at->device) && at->device->has_msix &&
	    !(at->device->command & IVS_DOCTOR_PCI_MASTER))
		set_bit(ivs_doctor_found(findings,
					 "bus mastering is off in the command register "
					 "(0x%04x), although a driver is bound",
					 at->device->command),
			at->device, IVS_DOCTOR_PCI_MASTER);
}

/* Our driver has enabled MSI-X, but something has disabled it. */
static void check_enabled(const struct ivs_doctor_device *device,
			  struct ivs_doctor_findings *findings)
{
	char command[160];

	if (!(device->knows & IVS_DOCTOR_MSIX) || device->msix_enabled)
		return;
	snprintf(command, sizeof(command),
		 "for i in unbind bind; do echo %s > /sys/bus/pci/drivers/ivshmem/$i; done",
		 device->bdf);
	ivs_doctor_command(ivs_doctor_found(findings, "MSI-X is disabled in the device, although "
						      "our driver has enabled it"),
			   command, NULL, "");
}

static void check_msi(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_device *device = at->device;

	if (!is_ours(device) || !device->has_msix)
		return;
	if (device->vectors_n)
		check_enabled(device, findings);
	else if (at->facts->guest.has_no_msi)
		ivs_doctor_advise(
			ivs_doctor_found(findings, "the kernel was started with the parameter "
						   "pci=nomsi, so the device has no interrupts"),
			"remove the parameter (/etc/default/grub; then update-grub), and reboot");
	else
		ivs_doctor_advise(ivs_doctor_found(findings, "the guest has no interrupts left for "
							     "the device"),
				  "give the VM more processors");
}

static void check_vectors(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	const struct ivs_doctor_device *device = at->device;
	const bool has_size = device->knows & IVS_DOCTOR_MSIX;
	const unsigned int has_n = has_size ? device->msix_n : device->vectors_n;
	const unsigned int assigned_n = (unsigned int)device->assigned_n;
	struct ivs_doctor_finding *finding;

	/* Without vectors, it breaks the rule about MSI. */
	if (!device->has_msix || !device->vectors_n || device->assigned_n < 0 ||
	    has_n == assigned_n)
		return;
	finding = ivs_doctor_found(findings,
				   "the device has %u vector%s, but the server assigns %u", has_n,
				   has_n == 1 ? "" : "s", assigned_n);
	if (has_n < assigned_n)
		ivs_doctor_advise(finding,
				  "on the host, start QEMU with "
				  "ivshmem-doorbell,vectors=%u",
				  assigned_n);
	else
		ivs_doctor_advise(finding,
				  "on the host, start the server with -n %u, or QEMU with "
				  "ivshmem-doorbell,vectors=%u",
				  has_n, assigned_n);
}

static void check_roster(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (at->device->has_msix && !at->device->has_roster)
		ivs_doctor_advise(
			ivs_doctor_found(findings, "the region has no roster page"),
			"on the host, start ivshmem-server with --roster; it reserves the end of "
			"the region");
}

static void check_id(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (at->device->has_msix && at->device->position < 0)
		ivs_doctor_advise(
			ivs_doctor_found(findings, "IVPosition is %d: the device has no id yet",
					 at->device->position),
			"on the host, start the server to which the device is to connect, and see "
			"its log");
}

static void check_revision(const struct ivs_doctor_case *at, struct ivs_doctor_findings *findings)
{
	if (!at->device->revision)
		ivs_doctor_advise(ivs_doctor_found(findings, "it is a device of revision 0"),
				  "on the host, replace \"-device ivshmem\" by ivshmem-plain or "
				  "ivshmem-doorbell (QEMU 2.6 or later)");
}

static const struct ivs_doctor_rule guest_rules[] = {
	{"guest-no-device", IVS_DOCTOR_ERROR, IVS_DOCTOR_GUEST, 0,
	 "the option --guest was given, but the machine has no ivshmem device",
	 "nothing is shared with this machine", "add a device to the VM's configuration", false,
	 check_device},
	{"guest-unnamed", IVS_DOCTOR_NOTE, IVS_DOCTOR_GUEST, 0,
	 "two devices have the same kind and size, and the same name or none",
	 "programs can select one only by its PCI address, which can change when the VM's "
	 "configuration changes; then a program uses the wrong region",
	 "different sizes, names (ivshmem-device --name), or fixed PCI addresses", false,
	 check_names},
};

static const struct ivs_doctor_rule device_rules[] = {
	{"guest-no-address", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, 0,
	 "the kernel has not assigned an address to BAR 2",
	 "nothing can map the region, and no driver can bind the device",
	 "enlarge the window of the port (pref64-reserve=), or use another port", false,
	 check_address},
	{"guest-no-iommu", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, 0,
	 "driver_override is vfio-pci, but the device is not in an IOMMU group",
	 "vfio-pci does not bind the device (error -22 in the kernel's log), and no other driver "
	 "may",
	 "bind our driver, or give the VM a virtual IOMMU", false, check_iommu},
	{"guest-lockdown", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, 0,
	 "the kernel is locked down (Secure Boot), and no driver is bound",
	 "the kernel does not map the device through sysfs (\"Operation not permitted\"), not even "
	 "for root",
	 "bind vfio-pci, or a signed module of our driver", false, check_lockdown},
	{"guest-driver-kernel", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, 0,
	 "our driver is installed, but not for the running kernel",
	 "modprobe does not find the module, so no driver is bound; this happens after the kernel "
	 "was updated",
	 "dkms autoinstall, or depmod -a if only the list of modules is old", false, check_kernel},
	{"guest-no-driver", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, 0,
	 "no driver is bound to the device",
	 "there is no /dev/ivshmemN, no program can wait for doorbells, and only root can use the "
	 "memory",
	 "modprobe ivshmem", false, check_bound},
	{"guest-wrong-driver", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, 0,
	 "a driver that programs cannot use, such as uio_pci_generic, is bound to the device",
	 "there is no /dev/ivshmemN, and no program can wait for doorbells", "bind our driver",
	 false, check_driver},
	{"guest-uncached", IVS_DOCTOR_WARNING, IVS_DOCTOR_DEVICE, 0,
	 "programs can map the region only uncached",
	 "it is up to 20 times slower on hosts that honour the guest's memory type: AMD, and Intel "
	 "with an assigned GPU",
	 "bind our driver, which maps it write-back at any address", false, check_cached},
	{"guest-node-absent", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, IVS_DOCTOR_ACCESS,
	 "our driver is bound, but its node is missing in /dev", "no program can open the device",
	 "mount devtmpfs, or create the node with mknod", false, check_node},
	{"guest-node-denied", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, IVS_DOCTOR_ACCESS,
	 "the user of the doctor may not open the node of the device",
	 "programs of this user fail with \"Permission denied\"",
	 "install the udev rule, and become a member of the group ivshmem", false, check_denied},
	{"guest-memory-off", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, IVS_DOCTOR_CONFIG,
	 "memory decoding is off, although our driver is bound",
	 "registers and region read as all ones, and writes are lost",
	 "set bit 1 of the command register", false, check_memory},
	{"guest-bus-master", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, IVS_DOCTOR_CONFIG,
	 "bus mastering is off, although our driver is bound",
	 "the device cannot send interrupts, so no doorbell arrives",
	 "set bit 2 of the command register", false, check_master},
	{"guest-no-msi", IVS_DOCTOR_ERROR, IVS_DOCTOR_DEVICE, IVS_DOCTOR_DRIVER,
	 "our driver is bound to a device with doorbells, but has no interrupts (MSI-X)",
	 "peers can be rung, but no doorbell arrives",
	 "remove pci=nomsi from the kernel's parameters, bind the driver again, or give the VM "
	 "more "
	 "processors",
	 false, check_msi},
	{"guest-vectors", IVS_DOCTOR_WARNING, IVS_DOCTOR_DEVICE,
	 IVS_DOCTOR_DRIVER | IVS_DOCTOR_ROSTER,
	 "the device and the server have different numbers of vectors",
	 "doorbells on the vectors that the device lacks are lost; those that the server lacks "
	 "cannot be rung",
	 "start QEMU with vectors=N and the server with -n N", false, check_vectors},
	{"guest-no-roster", IVS_DOCTOR_NOTE, IVS_DOCTOR_DEVICE, IVS_DOCTOR_ROSTER,
	 "the device has doorbells, but its region has no roster page",
	 "programs in the guest see no joins and leaves, and cannot list the peers",
	 "start the server with --roster", false, check_roster},
	{"guest-no-id", IVS_DOCTOR_WARNING, IVS_DOCTOR_DEVICE, IVS_DOCTOR_DRIVER,
	 "the device has doorbells, but no id",
	 "no peer can ring this guest, and its memory is not attached", "start the server", true,
	 check_id},
	{"guest-revision-0", IVS_DOCTOR_NOTE, IVS_DOCTOR_DEVICE, 0,
	 "the device has revision 0, as before QEMU 2.6",
	 "programs that need revision 1 do not work with it, and QEMU since 4.0 does not have it",
	 "use ivshmem-plain or ivshmem-doorbell", false, check_revision},
};

const struct ivs_doctor_table ivs_doctor_guest_rules = {guest_rules,
							sizeof(guest_rules) / sizeof(*guest_rules)};
const struct ivs_doctor_table ivs_doctor_device_rules = {
	device_rules, sizeof(device_rules) / sizeof(*device_rules)};
