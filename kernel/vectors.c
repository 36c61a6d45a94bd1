// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts: MSI-X, or the pin of a device of revision 0; counting them and telling who listens. */
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/poll.h>
#include <linux/slab.h>

#include "compat.h"
#include "device.h"

u64 ivs_vector_count(const struct ivs_pci_function *device, unsigned int vector)
{
	return READ_ONCE(device->status->counts[vector]);
}

static void count_and_signal(struct ivs_vector *vector)
{
	u64 *count = &vector->device->status->counts[vector->number];
	struct ivs_seat *seat;
	unsigned long flags;

	spin_lock_irqsave(&vector->lock, flags);
	WRITE_ONCE(*count, *count + 1);
	list_for_each_entry(seat, &vector->seats, node)
		ivs_eventfd_signal(seat->ctx);
	spin_unlock_irqrestore(&vector->lock, flags);
}

/* Doorbells may have been lost, or the device is gone: let everybody look. */
void ivs_vectors_signal_all(struct ivs_pci_function *device)
{
	unsigned int i;

	for (i = 0; i < device->vectors_n; i++) {
		count_and_signal(&device->vectors[i]);
		cond_resched();
	}
	wake_up_all(&device->rung);
}

static irqreturn_t handle_msix(int irq, void *data)
{
	struct ivs_vector *vector = data;

	count_and_signal(vector);
	/* All of them: who waits exclusively waits for its own file, and we have one queue for all. */
	__wake_up(&vector->device->rung, TASK_INTERRUPTIBLE, 0, poll_to_key(EPOLLIN | EPOLLRDNORM));
	return IRQ_HANDLED;
}

/* reading the status clears it and releases the pin. All ones: the device does not answer. */
static irqreturn_t handle_intx(int irq, void *data)
{
	struct ivs_vector *vector = data;
	u32 status = ioread32(vector->device->registers + IVS_REG_INTR_STATUS);

	if (!status || status == U32_MAX)
		return IRQ_NONE;
	return handle_msix(irq, data);
}

static int request_one(struct ivs_pci_function *device, unsigned int number)
{
	struct ivs_vector *vector = &device->vectors[number];
	struct device *dev = &device->pdev->dev;
	const char *name = devm_kasprintf(dev, GFP_KERNEL, "ivshmem-%s-%u", device->bdf, number);

	if (!name)
		return -ENOMEM;
	vector->device = device;
	vector->number = number;
	spin_lock_init(&vector->lock);
	INIT_LIST_HEAD(&vector->seats);
	return devm_request_irq(dev, pci_irq_vector(device->pdev, number),
				device->intx ? handle_intx : handle_msix,
				device->intx ? IRQF_SHARED : 0, name, vector);
}

/* mask or unmask the pin, if somebody handles it. After a reset it is masked. */
void ivs_vectors_mask(struct ivs_pci_function *device, bool masked)
{
	if (device->intx && device->vectors_n)
		iowrite32(!masked, device->registers + IVS_REG_INTR_MASK);
}

/* As many as can be had: a guest with few processors has few interrupts; ivshmem-plain has none. */
int ivs_vectors_init(struct ivs_pci_function *device)
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
	for (i = 0; i < n && !request_one(device, i); i++)
		device->vectors_n++;
	if (device->vectors_n < wanted_n)
		dev_warn(&device->pdev->dev, "%u of %d vectors: no more interrupts to be had\n",
			 device->vectors_n, wanted_n);
	ivs_vectors_mask(device, false);
	return 0;
}

/* @fd -1: no longer. */
int ivs_vector_listen(struct ivs_file *file, u32 number, int fd)
{
	struct ivs_vector *vector = &file->device->vectors[number];
	struct ivs_seat *seat = &file->seats[number];
	struct eventfd_ctx *ctx = NULL;
	unsigned long flags;

	if (number >= file->device->vectors_n || fd < -1)
		return -EINVAL;
	if (fd >= 0)
		ctx = eventfd_ctx_fdget(fd);
	if (IS_ERR(ctx))
		return PTR_ERR(ctx);
	spin_lock_irqsave(&vector->lock, flags);
	swap(seat->ctx, ctx);
	if (seat->ctx && !ctx)
		list_add_tail(&seat->node, &vector->seats);
	else if (!seat->ctx && ctx)
		list_del(&seat->node);
	spin_unlock_irqrestore(&vector->lock, flags);
	if (ctx)
		eventfd_ctx_put(ctx);
	return 0;
}
