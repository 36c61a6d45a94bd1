// SPDX-License-Identifier: GPL-2.0-only
/* Guest driver for QEMU's inter-VM shared memory device (ivshmem): probe, remove, reset. */
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "compat.h"
#include "device.h"

static dev_t ivshmem_first_devt;
static DEFINE_IDA(ivshmem_minors);

#define MINORS_MAX 256

static struct class ivshmem_class = {
	.name = "ivshmem",
	.dev_groups = ivshmem_groups,
};

/* Called once the device has been unbound and its last open file released. */
static void ivshmem_device_release(struct device *dev)
{
	struct ivshmem_device *device = container_of(dev, struct ivshmem_device, dev);

	ivshmem_pages_free(device);
	kfree(device->vectors);
	free_page((unsigned long)device->status);
	if (device->zeroes)
		__free_page(device->zeroes);
	kfree(device);
}

static struct ivshmem_device *ivshmem_device_new(struct pci_dev *pdev)
{
	struct ivshmem_device *device = kzalloc(sizeof(*device), GFP_KERNEL);

	BUILD_BUG_ON(sizeof(*device->status) > PAGE_SIZE);
	if (!device)
		return NULL;
	device_initialize(&device->dev);
	device->dev.class = &ivshmem_class;
	device->dev.parent = &pdev->dev;
	device->dev.release = ivshmem_device_release;
	device->pdev = pdev;
	strscpy(device->bdf, pci_name(pdev), sizeof(device->bdf));
	init_rwsem(&device->hardware);
	init_waitqueue_head(&device->rung);
	mutex_init(&device->files_lock);
	INIT_LIST_HEAD(&device->files);
	spin_lock_init(&device->map_lock);
	device->status = (void *)get_zeroed_page(GFP_KERNEL);
	device->zeroes = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (device->status && device->zeroes)
		return device;
	put_device(&device->dev);
	return NULL;
}

/* Read the region's name and UUID, ignoring a malformed capability (PROTOCOL.md, R-9). */
static void ivshmem_device_read_name(struct ivshmem_device *device)
{
	u8 bytes[IVS_PCI_CAP_NAME_OFFSET + IVS_PCI_CAP_NAME_MAX + 1] = {};
	u8 at = pci_find_capability(device->pdev, PCI_CAP_ID_VNDR);
	unsigned int len;
	unsigned int i;

	for (i = 0; at && i < IVS_PCI_CAP_NAME_OFFSET; i++)
		pci_read_config_byte(device->pdev, at + i, &bytes[i]);
	len = bytes[IVS_PCI_CAP_LEN_OFFSET];
	if (memcmp(bytes + IVS_PCI_CAP_MAGIC_OFFSET, IVS_PCI_CAP_MAGIC, 4) ||
	    bytes[IVS_PCI_CAP_LAYOUT_OFFSET] != IVS_PCI_CAP_LAYOUT ||
	    len < IVS_PCI_CAP_NAME_OFFSET || len > sizeof(bytes) - 1 ||
	    at + len > PCI_CFG_SPACE_SIZE)
		return;
	for (i = IVS_PCI_CAP_NAME_OFFSET; i < len; i++) {
		pci_read_config_byte(device->pdev, at + i, &bytes[i]);
		if (!memchr(IVS_PCI_CAP_NAME_BYTES, bytes[i], sizeof(IVS_PCI_CAP_NAME_BYTES) - 1))
			return;
	}
	memcpy(device->uuid, bytes + IVS_PCI_CAP_UUID_OFFSET, sizeof(device->uuid));
	strscpy(device->name, bytes + IVS_PCI_CAP_NAME_OFFSET, sizeof(device->name));
}

/* Mapping BAR 0 maps its whole page, so claim the rest of the page to keep other devices out. */
static void ivshmem_device_claim_page(struct ivshmem_device *device)
{
	const struct resource *bar = &device->pdev->resource[IVS_BAR_REGISTERS];

	device->rest.name = "ivshmem: rest of the page";
	device->rest.flags = IORESOURCE_MEM;
	device->rest.start = bar->end + 1;
	device->rest.end = bar->start + PAGE_SIZE - 1;
	device->mappable = PAGE_ALIGNED(bar->start) && resource_size(bar) < PAGE_SIZE &&
			   !device->intx &&
			   !devm_request_resource(&device->pdev->dev, bar->parent, &device->rest);
}

/* Return: whether user space could map the MSI-X table, which R-2 puts in a BAR of its own. */
static bool ivshmem_device_exposes_table(struct pci_dev *pdev)
{
	u32 table = 1;

	if (pdev->msix_cap)
		pci_read_config_dword(pdev, pdev->msix_cap + PCI_MSIX_TABLE, &table);
	table &= PCI_MSIX_TABLE_BIR;
	return table == IVS_BAR_REGISTERS || table == IVS_BAR_MEMORY;
}

/* Claim a BAR. On a conflict, devm_request_resource() logs the range and the driver that has it. */
static int ivshmem_device_claim_bar(struct pci_dev *pdev, int bar, struct resource *claim)
{
	int result;

	claim->name = "ivshmem";
	claim->flags = IORESOURCE_MEM | IORESOURCE_BUSY;
	claim->start = pci_resource_start(pdev, bar);
	claim->end = pci_resource_end(pdev, bar);
	result = devm_request_resource(&pdev->dev, &pdev->resource[bar], claim);
	if (result == -EBUSY)
		dev_err(&pdev->dev,
			"BAR %d is in use: unbind or remove the driver that has claimed it\n", bar);
	return result;
}

static int ivshmem_device_map_bars(struct ivshmem_device *device)
{
	struct pci_dev *pdev = device->pdev;
	int result;

	device->memory_at = pci_resource_start(pdev, IVS_BAR_MEMORY);
	device->memory_len = pci_resource_len(pdev, IVS_BAR_MEMORY);
	if (!(pci_resource_flags(pdev, IVS_BAR_MEMORY) & IORESOURCE_MEM) || !device->memory_at ||
	    !PAGE_ALIGNED(device->memory_at | device->memory_len) ||
	    device->memory_len >= 1ULL << IVS_MMAP_SHIFT)
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "cannot use BAR 2 %pR; check the bridge's pref64-reserve\n",
				     &pdev->resource[IVS_BAR_MEMORY]);
	if (!(pci_resource_flags(pdev, IVS_BAR_REGISTERS) & IORESOURCE_MEM) ||
	    pci_resource_len(pdev, IVS_BAR_REGISTERS) < IVS_REG_DOORBELL + sizeof(u32))
		return dev_err_probe(&pdev->dev, -ENODEV, "BAR 0 has no registers\n");
	if (ivshmem_device_exposes_table(pdev))
		return dev_err_probe(&pdev->dev, -ENODEV, "BAR 0 or 2 contains the MSI-X table\n");
	result = ivshmem_device_claim_bar(pdev, IVS_BAR_MEMORY, &device->bar2);
	if (!result)
		result = ivshmem_device_claim_bar(pdev, IVS_BAR_REGISTERS, &device->bar0);
	if (result)
		return result;
	device->registers_at = pci_resource_start(pdev, IVS_BAR_REGISTERS);
	device->registers = pcim_iomap(pdev, IVS_BAR_REGISTERS, 0);
	return device->registers ? 0 : -ENOMEM;
}

/* The last step of probe, after which the device node can be opened. */
static int ivshmem_device_register(struct ivshmem_device *device)
{
	int number = ida_alloc_max(&ivshmem_minors, MINORS_MAX - 1, GFP_KERNEL);
	int result;

	if (number < 0)
		return number;
	device->dev.devt = ivshmem_first_devt + number;
	cdev_init(&device->cdev, &ivshmem_file_ops);
	device->cdev.owner = THIS_MODULE;
	result = dev_set_name(&device->dev, "ivshmem%d", number);
	if (!result)
		result = cdev_device_add(&device->cdev, &device->dev);
	if (result)
		ida_free(&ivshmem_minors, number);
	return result;
}

/* Stop all accesses to the hardware and wake all waiters. */
static void ivshmem_device_shut_down(struct ivshmem_device *device)
{
	down_write(&device->hardware);
	ivshmem_vectors_mask(device, true);
	WRITE_ONCE(device->gone, true);
	WRITE_ONCE(device->status->gone, 1);
	ivshmem_files_unmap(device);
	up_write(&device->hardware);
	ivshmem_vectors_signal_all(device);
	ivshmem_pages_free(device);
}

static void ivshmem_device_put(void *device)
{
	put_device(&((struct ivshmem_device *)device)->dev);
}

/* All resources are device-managed; they are released in reverse order after ivshmem_remove(). */
static int ivshmem_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ivshmem_device *device = ivshmem_device_new(pdev);
	int result;

	if (!device)
		return -ENOMEM;
	result = devm_add_action_or_reset(&pdev->dev, ivshmem_device_put, device);
	if (!result)
		result = pcim_enable_device(pdev);
	if (!result)
		result = ivshmem_device_map_bars(device);
	if (result)
		return result;
	pci_set_master(pdev);
	ivshmem_device_read_name(device);
	result = ivshmem_vectors_init(device);
	if (result)
		return result;
	ivshmem_device_claim_page(device);
	ivshmem_sysfs_init(device);
	pci_set_drvdata(pdev, device);
	result = ivshmem_device_register(device);
	if (result)
		ivshmem_device_shut_down(device); /* the node may already have been opened */
	else
		dev_info(&device->dev, "%s: revision %u, %llu KiB, %u vectors\n", device->bdf,
			 pdev->revision, device->memory_len >> 10, device->vectors_n);
	return result;
}

static void ivshmem_remove(struct pci_dev *pdev)
{
	struct ivshmem_device *device = pci_get_drvdata(pdev);

	cdev_device_del(&device->cdev, &device->dev);
	ida_free(&ivshmem_minors, MINOR(device->dev.devt) - MINOR(ivshmem_first_devt));
	ivshmem_device_shut_down(device);
}

/* A kernel that kexec starts may have no handler for INTx when another device unmasks its line. */
static void ivshmem_shutdown(struct pci_dev *pdev)
{
	ivshmem_vectors_mask(pci_get_drvdata(pdev), true);
}

/* Block accesses to the hardware, and faults on mappings, until ivshmem_reset_done(). */
static void ivshmem_reset_prepare(struct pci_dev *pdev)
{
	struct ivshmem_device *device = pci_get_drvdata(pdev);

	down_write(&device->hardware);
	ivshmem_files_unmap(device);
}

/* Signal all listeners, because doorbells may have been lost during a reset or suspend. */
static void ivshmem_device_restart(struct ivshmem_device *device)
{
	ivshmem_vectors_mask(device, false);
	WRITE_ONCE(device->status->events, device->status->events + 1);
	ivshmem_vectors_signal_all(device);
}

static void ivshmem_reset_done(struct pci_dev *pdev)
{
	struct ivshmem_device *device = pci_get_drvdata(pdev);

	ivshmem_device_restart(device);
	up_write(&device->hardware);
}

static int ivshmem_resume(struct device *dev)
{
	ivshmem_device_restart(dev_get_drvdata(dev));
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(ivshmem_pm_ops, NULL, ivshmem_resume);

static const struct pci_error_handlers ivshmem_error_handlers = {
	.reset_prepare = ivshmem_reset_prepare,
	.reset_done = ivshmem_reset_done,
};

static const struct pci_device_id ivshmem_ids[] = {
	{PCI_DEVICE(IVS_PCI_VENDOR, IVS_PCI_DEVICE)},
	{},
};
MODULE_DEVICE_TABLE(pci, ivshmem_ids);

static struct pci_driver ivshmem_driver = {
	.name = "ivshmem",
	.id_table = ivshmem_ids,
	.probe = ivshmem_probe,
	.remove = ivshmem_remove,
	.shutdown = ivshmem_shutdown,
	.err_handler = &ivshmem_error_handlers,
	.driver.pm = pm_sleep_ptr(&ivshmem_pm_ops),
};

static int __init ivshmem_init(void)
{
	int result = alloc_chrdev_region(&ivshmem_first_devt, 0, MINORS_MAX, "ivshmem");

	if (result)
		return result;
	result = class_register(&ivshmem_class);
	if (result)
		goto no_class;
	result = pci_register_driver(&ivshmem_driver);
	if (!result)
		return 0;
	class_unregister(&ivshmem_class);
no_class:
	unregister_chrdev_region(ivshmem_first_devt, MINORS_MAX);
	return result;
}
module_init(ivshmem_init);

static void __exit ivshmem_exit(void)
{
	pci_unregister_driver(&ivshmem_driver);
	class_unregister(&ivshmem_class);
	unregister_chrdev_region(ivshmem_first_devt, MINORS_MAX);
	ida_destroy(&ivshmem_minors);
}
module_exit(ivshmem_exit);

MODULE_DESCRIPTION("Inter-VM shared memory (ivshmem): memory and doorbells shared between VMs");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
