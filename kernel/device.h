/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * One ivshmem device and what has it open.
 *
 * Lifetime: the device lives as long as its PCI function is bound, and then until the last open
 * file, mapping (which holds its file) and dma-buf (likewise) is closed. Whoever touches the
 * hardware holds @hardware for reading and looks at @gone first; unbinding and a reset hold it for
 * writing. Interrupts are freed before anything is given back.
 *
 * Order of locks: mmap_lock, @hardware, then @files_lock or @pages_lock; @map_lock and a vector's lock
 * are innermost.
 */
#ifndef IVS_DEVICE_H
#define IVS_DEVICE_H

#include <linux/cdev.h>
#include <linux/device.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "ivshmem/driver.h"
#include "ivshmem/registers.h"

struct dev_pagemap;
struct ivs_pci_function;

/**
 * struct ivs_vector - one interrupt
 * @lock:  guards @seats and the vector's count
 * @seats: those of open files that have an eventfd for it
 */
struct ivs_vector {
	struct ivs_pci_function *device;
	unsigned int number;
	spinlock_t lock;
	struct list_head seats;
};

/**
 * struct ivs_pci_function
 * @bdf:           PCI address; the function itself may be used only while not @gone
 * @rest:          of the page of BAR 0, claimed so that it is nobody else's
 * @mappable:      user space may map that page
 * @doorbell:      it has interrupts, even if none could be had
 * @intx:          the one vector is a pin; the interrupt registers are the driver's
 * @vectors:       as many as @vectors_n, and at least room for one
 * @rung:          readers and pollers
 * @files_lock:    guards the two below
 * @files:         open files, for finding what is mapped
 * @pages:         of the region, once there has been a dma-buf
 * @map_lock:      guards @memory_type and @mapped_n
 * @memory_type:   of the @mapped_n mappings there are
 * @zeroes:        the page that is mapped instead of everything when @gone
 * @status:        the page of IVS_MMAP_STATUS
 */
struct ivs_pci_function {
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
	bool mappable;
	phys_addr_t memory_at;
	u64 memory_len;

	bool doorbell;
	bool intx;
	struct ivs_vector *vectors;
	unsigned int vectors_n;
	wait_queue_head_t rung;

	struct mutex files_lock;
	struct list_head files;
	unsigned int files_n;

	struct mutex pages_lock;
	struct dev_pagemap *pages;

	spinlock_t map_lock;
	u32 memory_type;
	unsigned int mapped_n;

	struct page *zeroes;
	struct ivs_driver_status *status;
};

/**
 * struct ivs_seat - what one open file wants of one vector
 * @ctx:  the eventfd; NULL: none, and not in the vector's list
 * @seen: the count that read(2) has told
 */
struct ivs_seat {
	struct list_head node;
	struct eventfd_ctx *ctx;
	u64 seen;
};

/**
 * struct ivs_file - one open file
 * @read_lock: guards @text, @next and what was seen
 * @text:      what is left of a line that has not been read to its end
 * @next:      the vector to look at first, so that each gets its turn
 * @seats:     one for each vector
 */
struct ivs_file {
	struct ivs_pci_function *device;
	struct list_head node;
	struct file *file;
	struct mutex read_lock;
	char text[32];
	unsigned int text_len;
	unsigned int next;
	struct ivs_seat seats[];
};

extern const struct file_operations ivs_file_ops;
extern const struct attribute_group *ivs_attribute_groups[];

/* file.c: have all that is mapped fault again. Faults wait while hardware is held for writing. */
void ivs_files_unmap(struct ivs_pci_function *device);

/* memory.c */
int ivs_memory_mmap(struct ivs_pci_function *device, struct vm_area_struct *vma, bool writable);
u32 ivs_memory_type(struct ivs_pci_function *device); /* IVS_MEMORY_* */
int ivs_memory_claim(struct ivs_pci_function *device, u32 type);
void ivs_memory_unclaim(struct ivs_pci_function *device);

/* vectors.c */
int ivs_vectors_init(struct ivs_pci_function *device);
void ivs_vectors_mask(struct ivs_pci_function *device, bool masked);
void ivs_vectors_signal_all(struct ivs_pci_function *device);
int ivs_vector_listen(struct ivs_file *file, u32 vector, int fd);
u64 ivs_vector_count(const struct ivs_pci_function *device, unsigned int vector);

/* dmabuf.c: the new fd or -errno */
#ifdef CONFIG_DMA_SHARED_BUFFER
int ivs_dmabuf_export(struct ivs_file *file, const struct ivs_ioc_dmabuf *wanted);
void ivs_dmabuf_free_pages(struct ivs_pci_function *device);
#else
static inline void ivs_dmabuf_free_pages(struct ivs_pci_function *device)
{
}

static inline int ivs_dmabuf_export(struct ivs_file *file, const struct ivs_ioc_dmabuf *wanted)
{
	return -EOPNOTSUPP;
}
#endif

#endif
