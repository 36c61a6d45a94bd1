/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A second model of the PCI function, as simple as possible and different from src/pci. It stores
 * the values that the specifications name and a few flags, and computes each byte from them when
 * the byte is read.
 */
#ifndef DEVICE_NAIVE_H
#define DEVICE_NAIVE_H

#include "pci/function.h"

/**
 * struct naive - one PCI function
 * @command ... @entry: values that a guest can change
 * @pending, @routed:   one flag for each vector
 */
struct naive {
	struct ivs_pci_function_options o;
	uint16_t command;
	uint8_t cache_line, line;
	uint32_t bar0, bar1;
	uint64_t bar2;
	bool enabled, masked;
	uint32_t mask, status, id;
	uint32_t entry[IVS_MSIX_VECTORS_MAX][4];
	bool pending[IVS_MSIX_VECTORS_MAX];
	bool routed[IVS_MSIX_VECTORS_MAX];
};

void naive_init(struct naive *n, const struct ivs_pci_function_options *o);
void naive_reset(struct naive *n);
size_t naive_bar1_len(const struct naive *n);
void naive_read(struct naive *n, int region, size_t at, uint8_t *out, size_t len);
struct ivs_pci_ring naive_write(struct naive *n, int region, size_t at, const uint8_t *in,
				size_t len);
void naive_doorbell(struct naive *n, unsigned int vector);
/** naive_next() - take the next vector to be sent. Return: the vector; -1 if there is none */
int naive_next(struct naive *n);
bool naive_intx(const struct naive *n);

#endif
