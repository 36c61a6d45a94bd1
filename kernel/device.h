/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One ivshmem device and its open files.
 *
 * Lifetime: a device lives while its PCI device is bound, and after that until its last open file
 * is released. Mappings and dma-bufs hold a reference to their file. Code that accesses the
 * hardware takes @hardware for reading and checks @gone first; unbind and reset take it for
 * writing. Interrupts are freed before any other resource.
 *
 * Lock order: mmap_lock, @hardware, then @files_lock or ivshmem_pages_lock (pages.c);
 * @map_lock and the vectors' locks are innermost.
 */
#ifndef IVSHMEM_DEVICE_H
#define IVSHMEM_DEVICE_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/sysfs.h>
#include <linux/wait.h>

#include "ivshmem/driver.h"
#include "ivshmem/registers.h"

struct dev_pagemap;
struct ivshmem_device;

/**
 * struct ivshmem_vector - one interrupt
 * @lock:      protects @listeners and the vector's count
 * @listeners: the listeners that have an eventfd
 */
struct ivshmem_vector {
	struct ivshmem_device *device;
	unsigned int number;
	spinlock_t lock;
	struct list_head listeners;
};

/**
 * struct ivshmem_device - an ivshmem PCI device that is, or was, bound to this driver
 * @pdev:          the PCI device; must not be used once @gone is set
 * @bdf:           PCI address
 * @hardware:      held while the hardware is accessed (see "Lifetime" above)
 * @gone:          true once the device has been unbound
 * @rest:          rest of BAR 0's page, claimed so that no other device is placed there
 * @bar0:          claimed resource of BAR 0; @bar2 is the claimed resource of BAR 2
 * @mappable:      whether user space may map BAR 0's page
 * @doorbell:      whether the device has interrupts, even if none could be allocated
 * @intx:          whether the only vector is INTx, for which the driver uses the registers
 * @vectors:       array of @vectors_n vectors in use; never NULL
 * @rung:          wait queue of read() and poll()
 * @files_lock:    protects @files and @files_n
 * @files:         open files, to find their mappings
 * @pages:         struct pages of the region, or NULL before the first dma-buf
 * @pages_error:   -errno if creating @pages has failed and must not be tried again; otherwise 0
 * @pages_node:    node in the list of all devices that have @pages
 * @imports_n:     number of mappings of dma-bufs by importers, which use @pages
 * @dmabufs_n:     number of dma-bufs, at most IVS_DRIVER_DMABUFS_MAX
 * @map_lock:      protects @memory_type and @mapped_n
 * @memory_type:   IVS_MEMORY_* type of the @mapped_n current mappings
 * @zeroes:        page mapped in place of the region and the registers once @gone is set
 * @status:        status page, which user space maps read-only at offset IVS_MMAP_STATUS
 * @path:          sysfs attribute "memory", for programs that map a path; the attribute is as large
 *                 as the region.
 *                 @paths, @path_group and @path_groups lead to it
 */
struct ivshmem_device {
	struct device dev;
	struct cdev cdev;
	struct pci_dev *pdev;
	char bdf[IVS_DRIVER_BDF_LEN];
	char name[IVS_NAME_LEN];
	u8 uuid[IVS_UUID_LEN];

	struct rw_semaphore hardware;
	bool gone;
	void __iomem *registers;
	phys_addr_t registers_at;
	struct resource rest;
	struct resource bar0;
	struct resource bar2;
	bool mappable;
	phys_addr_t memory_at;
	u64 memory_len;

	bool doorbell;
	bool intx;
	struct ivshmem_vector *vectors;
	unsigned int vectors_n;
	wait_queue_head_t rung;

	struct mutex files_lock;
	struct list_head files;
	unsigned int files_n;

	struct dev_pagemap *pages;
	int pages_error;
	struct list_head pages_node;
	atomic_t imports_n;
	atomic_t dmabufs_n;

	spinlock_t map_lock;
	u32 memory_type;
	unsigned int mapped_n;

	struct page *zeroes;
	struct ivs_driver_status *status;

	struct bin_attribute path;
	struct bin_attribute *paths[2];
	struct attribute_group path_group;
	const struct attribute_group *path_groups[2];
};

/**
 * struct ivshmem_listener - an open file's subscription to one vector
 * @ctx:  eventfd to signal; if NULL, the listener is not in the vector's list
 * @seen: the vector's count as last reported by read()
 */
struct ivshmem_listener {
	struct list_head node;
	struct eventfd_ctx *ctx;
	u64 seen;
};

/**
 * struct ivshmem_file - one open file
 * @file:      the open file. For a mapping through sysfs it is NULL until its file has been created
 * @attribute: open sysfs attribute through which @file is mapped, or NULL
 * @read_lock: protects @text, @text_len, @next and the listeners' @seen
 * @text:      remainder of a partly read line
 * @next:      vector that read() checks first; rotates so that no vector is starved
 * @listeners: one listener per vector
 */
struct ivshmem_file {
	struct ivshmem_device *device;
	struct list_head node;
	struct file *file;
	struct file *attribute;
	struct mutex read_lock;
	char text[32];
	unsigned int text_len;
	unsigned int next;
	struct ivshmem_listener listeners[];
};

extern const struct file_operations ivshmem_file_ops;
extern const struct attribute_group *ivshmem_groups[];

/*
 * file.c. ivshmem_files_unmap() zaps all mappings; new faults block while the device's @hardware is
 * held for writing. ivshmem_file_mmap_attribute() returns 0 or -errno.
 */
void ivshmem_files_unmap(struct ivshmem_device *device);
int ivshmem_file_mmap_attribute(struct ivshmem_device *device, struct file *attribute,
				struct vm_area_struct *vma);

/* sysfs.c: prepare @path and its groups, which are created with @dev. */
void ivshmem_sysfs_init(struct ivshmem_device *device);

/* memory.c */
int ivshmem_memory_mmap(struct ivshmem_device *device, struct vm_area_struct *vma, bool writable);
/* Return: the memory type (IVS_MEMORY_*) of the region's current mappings. */
u32 ivshmem_memory_type(struct ivshmem_device *device);
int ivshmem_memory_claim(struct ivshmem_device *device, u32 type);
void ivshmem_memory_unclaim(struct ivshmem_device *device);

/* vectors.c */
int ivshmem_vectors_init(struct ivshmem_device *device);
void ivshmem_vectors_mask(struct ivshmem_device *device, bool masked);
void ivshmem_vectors_signal_all(struct ivshmem_device *device);
int ivshmem_vector_listen(struct ivshmem_file *file, u32 vector, int fd);
u64 ivshmem_vector_count(const struct ivshmem_device *device, unsigned int vector);

/* dmabuf.c. ivshmem_dmabuf_export() returns the new fd or -errno. */
#ifdef CONFIG_DMA_SHARED_BUFFER
int ivshmem_dmabuf_export(struct ivshmem_file *file, const struct ivs_ioc_dmabuf *arg);
#else
static inline int ivshmem_dmabuf_export(struct ivshmem_file *file, const struct ivs_ioc_dmabuf *arg)
{
	return -EOPNOTSUPP;
}
#endif

/* pages.c. ivshmem_pages_free() is called once @gone is set and again when @device is released. */
#ifdef CONFIG_ZONE_DEVICE
int ivshmem_pages_need(struct ivshmem_device *device);
void ivshmem_pages_free(struct ivshmem_device *device);
#else
static inline int ivshmem_pages_need(struct ivshmem_device *device)
{
	return -EOPNOTSUPP;
}

static inline void ivshmem_pages_free(struct ivshmem_device *device)
{
}
#endif

#endif
