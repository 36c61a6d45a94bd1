// SPDX-License-Identifier: GPL-2.0-only
/* For tests: emulate a PCI device of revision 0, which QEMU no longer has. See ivs_legacy.h. */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/irq.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/sizes.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "ivs_legacy.h"
#include "ivshmem/registers.h"

#define DOMAIN_NUMBER 0x10
#define CAP_AT 0x40
#define REGISTERS_LEN 256U
#define REGISTERS_AT (IVS_LEGACY_AT + SZ_1M)
#define MEMORY_AT (IVS_LEGACY_AT + SZ_4M)

static DEFINE_MUTEX(lock);
static u8 config[PCI_CFG_SPACE_SIZE];
static struct pci_sysdata sysdata = {.domain = DOMAIN_NUMBER, .node = NUMA_NO_NODE};
/*
 * Request only a part of the range that memmap= reserves, so that this resource becomes a child of
 * the reserved one, not its parent.
 */
static struct resource window =
	DEFINE_RES_MEM_NAMED(REGISTERS_AT, IVS_LEGACY_LEN - SZ_1M, "ivs-legacy window");
static struct resource bus_numbers = {.name = "ivs-legacy bus", .flags = IORESOURCE_BUS};
static struct pci_bus *bus;
static int pin;
static unsigned int unhandled_n;

static void ivs_legacy_put16(unsigned int at, u16 value)
{
	config[at] = value;
	config[at + 1] = value >> 8;
}

static void ivs_legacy_config_init(const struct ivs_legacy *wanted)
{
	memset(config, 0, sizeof(config));
	ivs_legacy_put16(PCI_VENDOR_ID, IVS_PCI_VENDOR);
	ivs_legacy_put16(PCI_DEVICE_ID, IVS_PCI_DEVICE);
	config[PCI_REVISION_ID] = IVS_PCI_REVISION_LEGACY;
	ivs_legacy_put16(PCI_CLASS_DEVICE, PCI_CLASS_MEMORY_RAM);
	ivs_legacy_put16(PCI_SUBSYSTEM_VENDOR_ID, IVS_PCI_VENDOR);
	ivs_legacy_put16(PCI_SUBSYSTEM_ID, 0x1100);
	config[PCI_INTERRUPT_PIN] = 1;
	/* Assign addresses as firmware does, because the kernel assigns none in reserved ranges. */
	ivs_legacy_put16(PCI_BASE_ADDRESS_0 + 2, REGISTERS_AT >> 16);
	ivs_legacy_put16(PCI_BASE_ADDRESS_2, PCI_BASE_ADDRESS_MEM_PREFETCH);
	ivs_legacy_put16(PCI_BASE_ADDRESS_2 + 2, MEMORY_AT >> 16);
	ivs_legacy_put16(PCI_COMMAND, PCI_COMMAND_MEMORY);
	if (!wanted->cap_len)
		return;
	ivs_legacy_put16(PCI_STATUS, PCI_STATUS_CAP_LIST);
	config[PCI_CAPABILITY_LIST] = CAP_AT;
	memcpy(config + CAP_AT, wanted->cap, wanted->cap_len);
	config[CAP_AT + PCI_CAP_LIST_NEXT] = 0;
}

static u32 ivs_legacy_bar_mask(int where)
{
	switch (where) {
	case PCI_BASE_ADDRESS_0:
		return ~(REGISTERS_LEN - 1);
	case PCI_BASE_ADDRESS_2:
		return ~(IVS_LEGACY_MEMORY_LEN - 1U);
	default:
		return 0;
	}
}

static int ivs_legacy_config_read(struct pci_bus *from, unsigned int devfn, int where, int size,
				  u32 *value)
{
	int i;

	*value = 0;
	for (i = size - 1; i >= 0; i--)
		*value = *value << 8 | (devfn ? 0xff : config[(where + i) % sizeof(config)]);
	return PCIBIOS_SUCCESSFUL;
}

static int ivs_legacy_config_write(struct pci_bus *to, unsigned int devfn, int where, int size,
				   u32 value)
{
	int i;

	if (devfn)
		return PCIBIOS_SUCCESSFUL;
	if (where >= PCI_BASE_ADDRESS_0 && where < PCI_CARDBUS_CIS && size == 4) {
		value &= ivs_legacy_bar_mask(where);
		value |= where == PCI_BASE_ADDRESS_2 ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0;
	} else if (where != PCI_COMMAND && where != PCI_INTERRUPT_LINE &&
		   where != PCI_CACHE_LINE_SIZE) {
		return PCIBIOS_SUCCESSFUL; /* this register is read-only */
	}
	for (i = 0; i < size; i++)
		config[where + i] = value >> (8 * i);
	return PCIBIOS_SUCCESSFUL;
}

static struct pci_ops config_ops = {
	.read = ivs_legacy_config_read,
	.write = ivs_legacy_config_write,
};

static void ivs_legacy_remove(void)
{
	pci_lock_rescan_remove();
	if (bus) {
		pci_stop_root_bus(bus);
		pci_remove_root_bus(bus);
	}
	bus = NULL;
	pci_unlock_rescan_remove();
}

static u32 __iomem *ivs_legacy_map_registers(void)
{
	return ioremap(REGISTERS_AT, REGISTERS_LEN);
}

static void ivs_legacy_set_position(s32 position)
{
	u32 __iomem *at = ivs_legacy_map_registers();

	if (!at)
		return;
	memset_io(at, 0, REGISTERS_LEN);
	iowrite32(position, at + IVS_REG_IV_POSITION / 4);
	iounmap(at);
}

static int ivs_legacy_add(const struct ivs_legacy *wanted)
{
	struct pci_dev *device;
	LIST_HEAD(resources);

	if (wanted->cap_len > sizeof(wanted->cap))
		return -EINVAL;
	ivs_legacy_remove();
	ivs_legacy_config_init(wanted);
	bus_numbers.start = 0;
	bus_numbers.end = 0;
	pci_add_resource(&resources, &window);
	pci_add_resource(&resources, &bus_numbers);
	pci_lock_rescan_remove();
	bus = pci_scan_root_bus(NULL, 0, &config_ops, &sysdata, &resources);
	if (!bus) {
		pci_unlock_rescan_remove();
		pci_free_resource_list(&resources);
		return -ENOMEM;
	}
	pci_bus_claim_resources(bus);
	list_for_each_entry(device, &bus->devices, bus_list) {
		device->irq = pin;
		device->irq_managed = 1; /* the PCI core must not look up the IRQ routing */
	}
	ivs_legacy_set_position(wanted->position);
	pci_bus_add_devices(bus);
	pci_unlock_rescan_remove();
	return 0;
}

/*
 * Record whether an interrupt was unhandled, and reset the kernel's own count of unhandled
 * interrupts, because the kernel would disable the line if that count got too high.
 */
static void ivs_legacy_handle_irq(struct irq_desc *desc)
{
	unsigned int before = desc->irqs_unhandled;

	handle_simple_irq(desc);
	unhandled_n += desc->irqs_unhandled != before;
	desc->irqs_unhandled = 0;
}

#if LINUX_VERSION_CODE < KERNEL_VERSION(5, 17, 0)
static int generic_handle_irq_safe(unsigned int irq)
{
	unsigned long flags;
	int result;

	local_irq_save(flags);
	result = generic_handle_irq(irq);
	local_irq_restore(flags);
	return result;
}
#endif

static int ivs_legacy_raise(struct ivs_legacy_pin *asked)
{
	u32 __iomem *at = ivs_legacy_map_registers();
	int result;

	if (!at)
		return -ENODEV;
	iowrite32(asked->status, at + IVS_REG_INTR_STATUS / 4);
	result = generic_handle_irq_safe(pin);
	iowrite32(0, at + IVS_REG_INTR_STATUS / 4);
	asked->mask = ioread32(at + IVS_REG_INTR_MASK / 4);
	asked->unhandled = unhandled_n;
	iounmap(at);
	return result;
}

static void ivs_legacy_shut_down(void)
{
	struct pci_dev *device;

	pci_lock_rescan_remove();
	if (bus)
		list_for_each_entry(device, &bus->devices, bus_list)
			device->dev.bus->shutdown(&device->dev);
	pci_unlock_rescan_remove();
}

static long ivs_legacy_ioctl(struct file *file, unsigned int command, unsigned long user)
{
	union {
		struct ivs_legacy add;
		struct ivs_legacy_pin pin;
	} argument = {};
	int result = 0;

	if (_IOC_SIZE(command) > sizeof(argument) ||
	    copy_from_user(&argument, (void __user *)user, _IOC_SIZE(command)))
		return -EFAULT;
	mutex_lock(&lock);
	if (command == IVS_LEGACY_ADD)
		result = ivs_legacy_add(&argument.add);
	else if (command == IVS_LEGACY_PIN)
		result = ivs_legacy_raise(&argument.pin);
	else if (command == IVS_LEGACY_SHUTDOWN)
		ivs_legacy_shut_down();
	else
		ivs_legacy_remove();
	mutex_unlock(&lock);
	if (command == IVS_LEGACY_PIN &&
	    copy_to_user((void __user *)user, &argument, _IOC_SIZE(command)))
		return -EFAULT;
	return result;
}

static const struct file_operations ops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = ivs_legacy_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ivs-legacy",
	.fops = &ops,
};

static int __init ivs_legacy_init(void)
{
	int result;

	pin = irq_alloc_desc(NUMA_NO_NODE);
	if (pin < 0)
		return pin;
	irq_set_chip_and_handler_name(pin, &dummy_irq_chip, ivs_legacy_handle_irq, "ivs-legacy");
	result = insert_resource(&iomem_resource, &window);
	if (!result)
		result = misc_register(&device);
	if (result)
		irq_free_desc(pin);
	return result;
}
module_init(ivs_legacy_init);

static void __exit ivs_legacy_exit(void)
{
	misc_deregister(&device);
	ivs_legacy_remove();
	remove_resource(&window);
	irq_free_desc(pin);
}
module_exit(ivs_legacy_exit);

MODULE_DESCRIPTION("For tests: an ivshmem device of revision 0");
MODULE_LICENSE("GPL");
