// SPDX-License-Identifier: GPL-2.0-only
/* The guest's driver for QEMU's inter-VM shared memory device: the PCI function, from bound to gone. */
#include <linux/idr.h>
#include <linux/module.h>
#include <linux/slab.h>

#include "compat.h"
#include "device.h"

static dev_t first_number;
static DEFINE_IDA(numbers);

#define NUMBERS_MAX 256

static struct class ivs_class = {
	.name = "ivshmem",
	.dev_groups = ivs_attribute_groups,
};

/* After everybody has closed it. */
static void release(struct device *dev)
{
	struct ivs_pci_function *device = container_of(dev, struct ivs_pci_function, dev);

	ivs_dmabuf_free_pages(device);
	kfree(device->vectors);
	free_page((unsigned long)device->status);
	if (device->zeroes)
		__free_page(device->zeroes);
	kfree(device);
}

static struct ivs_pci_function *new_device(struct pci_dev *pdev)
{
	struct ivs_pci_function *device = kzalloc(sizeof(*device), GFP_KERNEL);

	BUILD_BUG_ON(sizeof(*device->status) > PAGE_SIZE);
	if (!device)
		return NULL;
	device_initialize(&device->dev);
	device->dev.class = &ivs_class;
	device->dev.parent = &pdev->dev;
	device->dev.release = release;
	device->pdev = pdev;
	strscpy(device->bdf, pci_name(pdev), sizeof(device->bdf));
	init_rwsem(&device->hardware);
	init_waitqueue_head(&device->rung);
	mutex_init(&device->files_lock);
	mutex_init(&device->pages_lock);
	INIT_LIST_HEAD(&device->files);
	spin_lock_init(&device->map_lock);
	device->status = (void *)get_zeroed_page(GFP_KERNEL);
	device->zeroes = alloc_page(GFP_KERNEL | __GFP_ZERO);
	if (device->status && device->zeroes)
		return device;
	put_device(&device->dev);
	return NULL;
}

/* what is not as it should be names nothing. */
static void read_name(struct ivs_pci_function *device)
{
	u8 bytes[IVS_PCI_CAP_NAME_OFFSET + IVS_PCI_CAP_NAME_MAX + 1] = {};
	u8 at = pci_find_capability(device->pdev, PCI_CAP_ID_VNDR);
	unsigned int len;
	unsigned int i;

	for (i = 0; at && i < IVS_PCI_CAP_NAME_OFFSET; i++)
		pci_read_config_byte(device->pdev, at + i, &bytes[i]);
	len = bytes[IVS_PCI_CAP_LEN_OFFSET];
	if (memcmp(bytes + IVS_PCI_CAP_MAGIC_OFFSET, IVS_PCI_CAP_MAGIC, 4) ||
	    bytes[IVS_PCI_CAP_LAYOUT_OFFSET] != IVS_PCI_CAP_LAYOUT || len < IVS_PCI_CAP_NAME_OFFSET ||
	    len > sizeof(bytes) - 1 || at + len > PCI_CFG_SPACE_SIZE)
		return;
	for (i = IVS_PCI_CAP_NAME_OFFSET; i < len; i++) {
		pci_read_config_byte(device->pdev, at + i, &bytes[i]);
		if (!memchr(IVS_PCI_CAP_NAME_BYTES, bytes[i], sizeof(IVS_PCI_CAP_NAME_BYTES) - 1))
			return;
	}
	memcpy(device->uuid, bytes + IVS_PCI_CAP_UUID_OFFSET, sizeof(device->uuid));
	strscpy(device->name, bytes + IVS_PCI_CAP_NAME_OFFSET, sizeof(device->name));
}

/* Whoever may map the registers maps a page: the rest of it must be nobody else's. */
static void claim_page(struct ivs_pci_function *device)
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

static int take_bars(struct ivs_pci_function *device)
{
	struct pci_dev *pdev = device->pdev;
	int result;

	device->memory_at = pci_resource_start(pdev, IVS_BAR_MEMORY);
	device->memory_len = pci_resource_len(pdev, IVS_BAR_MEMORY);
	if (!(pci_resource_flags(pdev, IVS_BAR_MEMORY) & IORESOURCE_MEM) || !device->memory_at ||
	    !PAGE_ALIGNED(device->memory_at | device->memory_len) ||
	    device->memory_len >= 1ULL << IVS_MMAP_SHIFT)
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "cannot use BAR 2 %pR: without an address, the bridge needs more (pref64-reserve=SIZE)\n",
				     &pdev->resource[IVS_BAR_MEMORY]);
	if (!(pci_resource_flags(pdev, IVS_BAR_REGISTERS) & IORESOURCE_MEM) ||
	    pci_resource_len(pdev, IVS_BAR_REGISTERS) < IVS_REG_DOORBELL + sizeof(u32))
		return dev_err_probe(&pdev->dev, -ENODEV, "BAR 0 has no registers\n");
	if (!devm_request_mem_region(&pdev->dev, device->memory_at, device->memory_len, "ivshmem"))
		return -EBUSY;
	result = pcim_iomap_regions(pdev, BIT(IVS_BAR_REGISTERS), "ivshmem");
	if (result)
		return result;
	device->registers = pcim_iomap_table(pdev)[IVS_BAR_REGISTERS];
	device->registers_at = pci_resource_start(pdev, IVS_BAR_REGISTERS);
	return 0;
}

/* Last of all: from here on it can be opened. */
static int publish(struct ivs_pci_function *device)
{
	int number = ida_alloc_max(&numbers, NUMBERS_MAX - 1, GFP_KERNEL);
	int result;

	if (number < 0)
		return number;
	device->dev.devt = first_number + number;
	cdev_init(&device->cdev, &ivs_file_ops);
	device->cdev.owner = THIS_MODULE;
	result = dev_set_name(&device->dev, "ivshmem%d", number);
	if (!result)
		result = cdev_device_add(&device->cdev, &device->dev);
	if (result)
		ida_free(&numbers, number);
	return result;
}

/* Nobody touches the hardware afterwards, and whoever waits is told. */
static void end(struct ivs_pci_function *device)
{
	down_write(&device->hardware);
	ivs_vectors_mask(device, true);
	WRITE_ONCE(device->gone, true);
	WRITE_ONCE(device->status->gone, 1);
	ivs_files_unmap(device);
	up_write(&device->hardware);
	ivs_vectors_signal_all(device);
}

static void put(void *device)
{
	put_device(&((struct ivs_pci_function *)device)->dev);
}

/* What is taken here is given back in the opposite order after remove(), the device itself last. */
static int probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct ivs_pci_function *device = new_device(pdev);
	int result;

	if (!device)
		return -ENOMEM;
	result = devm_add_action_or_reset(&pdev->dev, put, device);
	if (!result)
		result = pcim_enable_device(pdev);
	if (!result)
		result = take_bars(device);
	if (result)
		return result;
	pci_set_master(pdev);
	read_name(device);
	result = ivs_vectors_init(device);
	if (result)
		return result;
	claim_page(device);
	pci_set_drvdata(pdev, device);
	result = publish(device);
	if (result)
		end(device); /* it may have been opened all the same */
	else
		dev_info(&device->dev, "%s: revision %u, %llu KiB, %u vectors\n", device->bdf,
			 pdev->revision, device->memory_len >> 10, device->vectors_n);
	return result;
}

static void remove(struct pci_dev *pdev)
{
	struct ivs_pci_function *device = pci_get_drvdata(pdev);

	cdev_device_del(&device->cdev, &device->dev);
	ida_free(&numbers, MINOR(device->dev.devt) - MINOR(first_number));
	end(device);
}

/* From here to reset_done() nobody touches the hardware; who faults waits. */
static void reset_prepare(struct pci_dev *pdev)
{
	struct ivs_pci_function *device = pci_get_drvdata(pdev);

	down_write(&device->hardware);
	ivs_files_unmap(device);
}

/* Doorbells may have been lost meanwhile. */
static void restart(struct ivs_pci_function *device)
{
	ivs_vectors_mask(device, false);
	WRITE_ONCE(device->status->events, device->status->events + 1);
	ivs_vectors_signal_all(device);
}

static void reset_done(struct pci_dev *pdev)
{
	struct ivs_pci_function *device = pci_get_drvdata(pdev);

	restart(device);
	up_write(&device->hardware);
}

static int resume(struct device *dev)
{
	restart(dev_get_drvdata(dev));
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(pm_ops, NULL, resume);

static const struct pci_error_handlers error_handlers = {
	.reset_prepare = reset_prepare,
	.reset_done = reset_done,
};

static const struct pci_device_id ids[] = {
	{PCI_DEVICE(IVS_PCI_VENDOR, IVS_PCI_DEVICE)},
	{},
};
MODULE_DEVICE_TABLE(pci, ids);

static struct pci_driver driver = {
	.name = "ivshmem",
	.id_table = ids,
	.probe = probe,
	.remove = remove,
	.err_handler = &error_handlers,
	.driver.pm = pm_sleep_ptr(&pm_ops),
};

static int __init init(void)
{
	int result = alloc_chrdev_region(&first_number, 0, NUMBERS_MAX, "ivshmem");

	if (result)
		return result;
	result = class_register(&ivs_class);
	if (result)
		goto no_class;
	result = pci_register_driver(&driver);
	if (!result)
		return 0;
	class_unregister(&ivs_class);
no_class:
	unregister_chrdev_region(first_number, NUMBERS_MAX);
	return result;
}
module_init(init);

static void __exit leave(void)
{
	pci_unregister_driver(&driver);
	class_unregister(&ivs_class);
	unregister_chrdev_region(first_number, NUMBERS_MAX);
	ida_destroy(&numbers);
}
module_exit(leave);

MODULE_DESCRIPTION("Inter-VM shared memory (ivshmem): memory and doorbells shared with other virtual machines");
MODULE_LICENSE("GPL");
MODULE_VERSION("0.1.0");
