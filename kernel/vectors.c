// SPDX-License-Identifier: GPL-2.0-only
/* Count interrupts (MSI-X, or INTx on revision 0) and signal listeners. */
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/nospec.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "compat.h"
#include "device.h"

u64 ivshmem_vector_count(const struct ivshmem_device *device, unsigned int vector)
{
	return READ_ONCE(device->status->counts[vector]);
}

static void ivshmem_vector_signal(struct ivshmem_vector *vector)
{
	u64 *count = &vector->device->status->counts[vector->number];
	struct ivshmem_listener *listener;
	unsigned long flags;

	spin_lock_irqsave(&vector->lock, flags);
	WRITE_ONCE(*count, *count + 1);
	list_for_each_entry(listener, &vector->listeners, node)
		ivshmem_eventfd_signal(listener->ctx);
	spin_unlock_irqrestore(&vector->lock, flags);
}

/* Signal all listeners, because doorbells may have been lost, or the device has been removed. */
void ivshmem_vectors_signal_all(struct ivshmem_device *device)
{
	unsigned int i;

	for (i = 0; i < device->vectors_n; i++) {
		ivshmem_vector_signal(&device->vectors[i]);
		cond_resched();
	}
	wake_up_all(&device->rung);
}

static irqreturn_t ivshmem_handle_msix(int irq, void *data)
{
	struct ivshmem_vector *vector = data;

	ivshmem_vector_signal(vector);
	/*
	 * All open files share this queue, so wake every exclusive waiter (EPOLLEXCLUSIVE): waking
	 * only one could leave the waiters of other files asleep.
	 */
	__wake_up(&vector->device->rung, TASK_INTERRUPTIBLE, 0, poll_to_key(EPOLLIN | EPOLLRDNORM));
	return IRQ_HANDLED;
}

/*
 * Reading the interrupt status clears it and deasserts INTx (PROTOCOL.md, R-3). A removed device
 * reads as all ones.
 */
static irqreturn_t ivshmem_handle_intx(int irq, void *data)
{
	struct ivshmem_vector *vector = data;
	u32 status = ioread32(vector->device->registers + IVS_REG_INTR_STATUS);

	if (!status || status == U32_MAX)
		return IRQ_NONE;
	return ivshmem_handle_msix(irq, data);
}

static int ivshmem_vector_request(struct ivshmem_device *device, unsigned int number)
{
	struct ivshmem_vector *vector = &device->vectors[number];
	struct device *dev = &device->pdev->dev;
	const char *name = devm_kasprintf(dev, GFP_KERNEL, "ivshmem-%s-%u", device->bdf, number);

	if (!name)
		return -ENOMEM;
	vector->device = device;
	vector->number = number;
	spin_lock_init(&vector->lock);
	INIT_LIST_HEAD(&vector->listeners);
	return devm_request_irq(dev, pci_irq_vector(device->pdev, number),
				device->intx ? ivshmem_handle_intx : ivshmem_handle_msix,
				device->intx ? IRQF_SHARED : 0, name, vector);
}

/* Mask or unmask INTx if its handler is installed (PROTOCOL.md, R-3). A reset masks INTx. */
void ivshmem_vectors_mask(struct ivshmem_device *device, bool masked)
{
	if (device->intx && device->vectors_n)
		iowrite32(!masked, device->registers + IVS_REG_INTR_MASK);
}

/*
 * Request as many vectors as are available: a guest with few CPUs may have fewer interrupts than
 * the device has vectors. ivshmem-plain has no vectors.
 */
int ivshmem_vectors_init(struct ivshmem_device *device)
{
	int wanted_n = min(pci_msix_vec_count(device->pdev), IVS_LINUX_VECTORS_MAX);
	int n = 0;
	int i;

	device->intx = wanted_n < 0 && device->pdev->revision == IVS_PCI_REVISION_LEGACY &&
		       device->pdev->pin;
	if (wanted_n < 0)
		wanted_n = device->intx;
	device->doorbell = wanted_n;
	device->vectors = kcalloc(wanted_n ?: 1, sizeof(*device->vectors), GFP_KERNEL);
	if (!device->vectors)
		return -ENOMEM;
	if (wanted_n)
		n = pci_alloc_irq_vectors(device->pdev, 1, wanted_n,
					  device->intx ? PCI_IRQ_INTX : PCI_IRQ_MSIX);
	for (i = 0; i < n && !ivshmem_vector_request(device, i); i++)
		device->vectors_n++;
	if (device->vectors_n < wanted_n)
		dev_warn(&device->pdev->dev,
			 "only %u of %d vectors can be used: no more interrupts are available\n",
			 device->vectors_n, wanted_n);
	ivshmem_vectors_mask(device, false);
	return 0;
}

/* Signal eventfd @fd whenever vector @number is rung. @fd: -1 to stop signalling */
int ivshmem_vector_listen(struct ivshmem_file *file, u32 number, int fd)
{
	struct eventfd_ctx *ctx = NULL;
	struct ivshmem_listener *listener;
	struct ivshmem_vector *vector;
	unsigned long flags;

	if (number >= file->device->vectors_n || fd < -1)
		return -EINVAL;
	/* The CPU must not use a larger @number speculatively (Spectre variant 1). */
	number = array_index_nospec(number, file->device->vectors_n);
	vector = &file->device->vectors[number];
	listener = &file->listeners[number];
	if (fd >= 0)
		ctx = eventfd_ctx_fdget(fd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	spin_lock_irqsave(&vector->lock, flags);
	swap(listener->ctx, ctx);
	if (listener->ctx && !ctx)
		list_add_tail(&listener->node, &vector->listeners);
	else if (!listener->ctx && ctx)
		list_del(&listener->node);
	spin_unlock_irqrestore(&vector->lock, flags);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}
