// SPDX-License-Identifier: GPL-2.0-only
/* For tests: import a dma-buf into a device, and access the buffer at its DMA addresses. */
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include "ivs_import.h"

static char *pci_device;
module_param(pci_device, charp, 0600);
MODULE_PARM_DESC(pci_device, "PCI address of the importing device; empty to use a virtual device");

static struct platform_device *importer;

struct state {
	struct mutex lock;
	struct device *dev;
	struct dma_buf *buf;
	struct dma_buf_attachment *attachment;
	struct sg_table *table;
};

static void ivs_import_move_notify(struct dma_buf_attachment *attachment)
{
}

static const struct dma_buf_attach_ops peer_ops = {
	.allow_peer2peer = true,
#if LINUX_VERSION_CODE < KERNEL_VERSION(7, 0, 0)
	.move_notify = ivs_import_move_notify,
#else
	.invalidate_mappings = ivs_import_move_notify,
#endif
};

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0)
static struct sg_table *dma_buf_map_attachment_unlocked(struct dma_buf_attachment *attachment,
							enum dma_data_direction direction)
{
	struct sg_table *table;

	dma_resv_lock(attachment->dmabuf->resv, NULL);
	table = dma_buf_map_attachment(attachment, direction);
	dma_resv_unlock(attachment->dmabuf->resv);
	return table;
}

static void dma_buf_unmap_attachment_unlocked(struct dma_buf_attachment *attachment,
					      struct sg_table *table,
					      enum dma_data_direction direction)
{
	dma_resv_lock(attachment->dmabuf->resv, NULL);
	dma_buf_unmap_attachment(attachment, table, direction);
	dma_resv_unlock(attachment->dmabuf->resv);
}
#endif

static int ivs_import_map(struct state *state)
{
	struct sg_table *table;

	if (!state->attachment || state->table)
		return -EINVAL;
	table = dma_buf_map_attachment_unlocked(state->attachment, DMA_BIDIRECTIONAL);
	if (IS_ERR(table))
		return PTR_ERR(table);
	state->table = table;
	return 0;
}

static void ivs_import_unmap(struct state *state)
{
	if (state->table)
		dma_buf_unmap_attachment_unlocked(state->attachment, state->table,
						  DMA_BIDIRECTIONAL);
	state->table = NULL;
}

static void ivs_import_detach(struct state *state)
{
	ivs_import_unmap(state);
	if (state->attachment)
		dma_buf_detach(state->buf, state->attachment);
	if (state->buf)
		dma_buf_put(state->buf);
	put_device(state->dev);
	state->dev = NULL;
	state->attachment = NULL;
	state->buf = NULL;
}

static void ivs_import_report(const struct state *state, struct ivs_import *asked)
{
	struct scatterlist *sg;
	int i;

	asked->pieces_n = state->table->nents;
	asked->pages_n = 0;
	for_each_sgtable_dma_sg(state->table, sg, i) {
		asked->pages_n += sg_page(sg) != NULL;
		if (i >= IVS_IMPORT_PIECES_MAX)
			continue;
		asked->at[i] = sg_dma_address(sg);
		asked->len[i] = sg_dma_len(sg);
	}
}

static struct device *ivs_import_device(void)
{
	return pci_device ? bus_find_device_by_name(&pci_bus_type, NULL, pci_device) :
			    get_device(&importer->dev);
}

static int ivs_import_attach(struct state *state, struct ivs_import *asked)
{
	struct dma_buf_attachment *attachment;
	int result;

	if (state->buf)
		return -EBUSY;
	state->buf = dma_buf_get(asked->dmabuf_fd);
	if (IS_ERR(state->buf)) {
		result = PTR_ERR(state->buf);
		state->buf = NULL;
		return result;
	}
	state->dev = ivs_import_device();
	if (!state->dev) {
		ivs_import_detach(state);
		return -ENODEV;
	}
	if (asked->peer)
		attachment = dma_buf_dynamic_attach(state->buf, state->dev, &peer_ops, state);
	else
		attachment = dma_buf_attach(state->buf, state->dev);
	result = PTR_ERR_OR_ZERO(attachment);
	if (!result) {
		state->attachment = attachment;
		result = ivs_import_map(state);
	}
	if (result)
		ivs_import_detach(state);
	else
		ivs_import_report(state, asked);
	return result;
}

/* Read or write a word at the DMA address that a device would use. */
static int ivs_import_access(const struct state *state, struct ivs_import_word *asked, bool writes)
{
	u64 offset = asked->offset;
	struct scatterlist *sg;
	u32 *at;
	int i;

	if (!state->table)
		return -EINVAL;
	for_each_sgtable_dma_sg(state->table, sg, i) {
		if (offset >= sg_dma_len(sg)) {
			offset -= sg_dma_len(sg);
			continue;
		}
		at = memremap(sg_dma_address(sg) + offset, sizeof(*at), MEMREMAP_WB);
		if (!at)
			return -ENOMEM;
		if (writes)
			WRITE_ONCE(*at, asked->value);
		else
			asked->value = READ_ONCE(*at);
		memunmap(at);
		return 0;
	}
	return -ERANGE;
}

static int ivs_import_run(struct state *state, unsigned int command, void *argument)
{
	switch (command) {
	case IVS_IMPORT_ATTACH:
		return ivs_import_attach(state, argument);
	case IVS_IMPORT_READ:
		return ivs_import_access(state, argument, false);
	case IVS_IMPORT_WRITE:
		return ivs_import_access(state, argument, true);
	case IVS_IMPORT_MAP:
		return ivs_import_map(state);
	case IVS_IMPORT_UNMAP:
		ivs_import_unmap(state);
		return 0;
	case IVS_IMPORT_DETACH:
		ivs_import_detach(state);
		return 0;
	default:
		return -ENOTTY;
	}
}

static long ivs_import_ioctl(struct file *file, unsigned int command, unsigned long user)
{
	struct state *state = file->private_data;
	union {
		struct ivs_import import;
		struct ivs_import_word word;
	} argument = {};
	int result;

	if (_IOC_SIZE(command) > sizeof(argument) ||
	    copy_from_user(&argument, (void __user *)user, _IOC_SIZE(command)))
		return -EFAULT;
	mutex_lock(&state->lock);
	result = ivs_import_run(state, command, &argument);
	mutex_unlock(&state->lock);
	if (copy_to_user((void __user *)user, &argument, _IOC_SIZE(command)))
		return -EFAULT;
	return result;
}

static int ivs_import_open(struct inode *inode, struct file *file)
{
	struct state *state = kzalloc(sizeof(*state), GFP_KERNEL);

	if (!state)
		return -ENOMEM;
	mutex_init(&state->lock);
	file->private_data = state;
	return 0;
}

static int ivs_import_release(struct inode *inode, struct file *file)
{
	ivs_import_detach(file->private_data);
	kfree(file->private_data);
	return 0;
}

static const struct file_operations ops = {
	.owner = THIS_MODULE,
	.open = ivs_import_open,
	.release = ivs_import_release,
	.unlocked_ioctl = ivs_import_ioctl,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "ivs-import",
	.fops = &ops,
};

static int __init ivs_import_init(void)
{
	int result;

	importer = platform_device_register_simple("ivs-import", -1, NULL, 0);
	if (IS_ERR(importer))
		return PTR_ERR(importer);
	result = dma_coerce_mask_and_coherent(&importer->dev, DMA_BIT_MASK(64));
	if (!result)
		result = misc_register(&device);
	if (result)
		platform_device_unregister(importer);
	return result;
}
module_init(ivs_import_init);

static void __exit ivs_import_exit(void)
{
	misc_deregister(&device);
	platform_device_unregister(importer);
}
module_exit(ivs_import_exit);

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 13, 0)
MODULE_IMPORT_NS(DMA_BUF);
#else
MODULE_IMPORT_NS("DMA_BUF");
#endif
MODULE_DESCRIPTION("For tests: imports a dma-buf");
MODULE_LICENSE("GPL");
