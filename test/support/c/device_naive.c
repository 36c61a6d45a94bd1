/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/c/device_naive.h"

#include <string.h>

static bool has_identity(const struct naive *n)
{
	return n->o.uuid || (n->o.name && n->o.name[0] != '\0');
}

void naive_reset(struct naive *n)
{
	n->command = 0;
	n->cache_line = n->line = 0;
	n->bar0 = n->bar1 = 0;
	n->bar2 = 0;
	n->enabled = n->masked = false;
	n->mask = n->status = 0;
	for (int v = 0; v < IVS_MSIX_VECTORS_MAX; v++) {
		memset(n->entry[v], 0, sizeof(n->entry[v]));
		n->entry[v][3] = 1;
		n->pending[v] = false;
	}
}

void naive_init(struct naive *n, const struct ivs_pci_function_options *o)
{
	memset(n, 0, sizeof(*n));
	n->o = *o;
	naive_reset(n);
}

static size_t pba_at(const struct naive *n)
{
	return n->o.vectors_n > 128 ? n->o.vectors_n * (size_t)16 : 2048;
}

/* Pending bits are stored in units of 8 bytes, and the length of a BAR is a power of two. */
size_t naive_bar1_len(const struct naive *n)
{
	size_t end = pba_at(n);

	if (!n->o.vectors_n)
		return 0;
	for (unsigned int v = 0; v < n->o.vectors_n; v += 64)
		end += 8;
	for (size_t len = 4096;; len <<= 1) {
		if (len >= end)
			return len;
	}
}

static size_t region_len(const struct naive *n, int region)
{
	if (region == 1)
		return naive_bar1_len(n);
	return region == 0 || region == 7 ? 256 : 0;
}

static uint8_t byte_of(uint64_t value, size_t i)
{
	return (uint8_t)(value / (UINT64_C(1) << (8 * i)) % 256);
}

/* Byte @i of the capability that holds the region's name and UUID. */
static uint8_t identity_byte(const struct naive *n, size_t i)
{
	size_t name_len = n->o.name ? strlen(n->o.name) : 0;

	if (!has_identity(n) || i >= 24 + name_len)
		return 0;
	if (i >= 24)
		return (uint8_t)n->o.name[i - 24];
	if (i >= 8)
		return n->o.uuid ? n->o.uuid[i - 8] : 0;
	return (uint8_t[]){9, 0, (uint8_t)(24 + name_len), 1, 'I', 'V', 'S', 'N'}[i];
}

/* Byte @i of the MSI-X capability. */
static uint8_t msix_byte(const struct naive *n, size_t i)
{
	unsigned int last = n->o.vectors_n - 1;

	switch (i) {
	case 0:
		return 0x11;
	case 1:
		return has_identity(n) ? 0x4c : 0;
	case 2:
		return byte_of(last, 0);
	case 3:
		return (uint8_t)(byte_of(last, 1) + (n->enabled ? 0x80 : 0) +
				 (n->masked ? 0x40 : 0));
	case 4:
		return 1;
	case 8:
		return (uint8_t)(byte_of(pba_at(n), 0) + 1);
	case 9:
	case 10:
	case 11:
		return byte_of(pba_at(n), i - 8);
	default:
		return 0;
	}
}

static uint8_t capability_byte(const struct naive *n, size_t at)
{
	if (n->o.vectors_n && at < 0x4c)
		return msix_byte(n, at - 0x40);
	return identity_byte(n, at - (n->o.vectors_n ? 0x4c : 0x40));
}

static uint8_t status_byte(const struct naive *n)
{
	uint8_t status = n->o.vectors_n || has_identity(n) ? 0x10 : 0;

	if (n->o.intx && (n->status & n->mask) != 0)
		status |= 0x08;
	return status;
}

static uint8_t bar_byte(const struct naive *n, size_t i)
{
	if (i < 4)
		return byte_of(n->bar0, i);
	if (i < 8)
		return byte_of(n->bar1, i - 4);
	i -= 8;
	return (uint8_t)(byte_of(n->bar2, i) + (i ? 0 : n->o.bar2_32bit ? 8 : 12));
}

static uint8_t config_byte(const struct naive *n, size_t at)
{
	static const uint8_t ids[] = {0xf4, 0x1a, 0x10, 0x11};

	if (at >= 0x40)
		return capability_byte(n, at);
	if (at >= 0x10 && at < 0x20)
		return bar_byte(n, at - 0x10);
	switch (at) {
	case 0:
	case 1:
	case 2:
	case 3:
		return ids[at];
	case 4:
	case 5:
		return byte_of(n->command, at - 4);
	case 6:
		return status_byte(n);
	case 8:
		return (uint8_t)n->o.revision;
	case 0x0b:
		return 5;
	case 0x0c:
		return n->cache_line;
	case 0x2c:
	case 0x2d:
		return ids[at - 0x2c];
	case 0x2f:
		return 0x11;
	case 0x34:
		return n->o.vectors_n || has_identity(n) ? 0x40 : 0;
	case 0x3c:
		return n->line;
	case 0x3d:
		return n->o.revision == 0; /* revision 0 has a pin, even if it is unused */
	default:
		return 0;
	}
}

/* Replace byte @i of @address, and align the result down to @size. */
static uint64_t put_address(uint64_t address, size_t i, uint8_t byte, uint64_t size)
{
	uint64_t old = (uint64_t)byte_of(address, i) << (8 * i);

	address = address - old + ((uint64_t)byte << (8 * i));
	return address - address % size;
}

static void put_config_byte(struct naive *n, size_t at, uint8_t byte)
{
	if (at == 4)
		n->command = (uint16_t)(n->command / 256 * 256 + byte % 8);
	else if (at == 5)
		n->command = (uint16_t)(n->command % 256 + (byte & 1) * 256 + (byte & 4) * 256);
	else if (at == 0x0c)
		n->cache_line = byte;
	else if (at == 0x3c)
		n->line = byte;
	else if (at >= 0x10 && at < 0x14)
		n->bar0 = (uint32_t)put_address(n->bar0, at - 0x10, byte, 256);
	else if (at >= 0x14 && at < 0x18 && n->o.vectors_n)
		n->bar1 = (uint32_t)put_address(n->bar1, at - 0x14, byte, naive_bar1_len(n));
	else if (at >= 0x18 && at < (n->o.bar2_32bit ? 0x1c : 0x20))
		n->bar2 = put_address(n->bar2, at - 0x18, byte, n->o.memory_len);
	else if (at == 0x43 && n->o.vectors_n) {
		n->enabled = byte >= 0x80;
		n->masked = byte % 0x80 >= 0x40;
	}
}

static uint32_t bar0_read(struct naive *n, size_t at)
{
	uint32_t value = 0;

	if (at == 0)
		return n->mask;
	if (at == 4) {
		value = n->status;
		n->status = 0;
	}
	return at == 8 ? n->id : value;
}

static void bar0_write(struct naive *n, size_t at, uint32_t value, struct ivs_pci_ring *ring)
{
	if (at < 4)
		n->mask = value;
	else if (at < 8)
		n->status = value;
	else if (at >= 12 && at < 16)
		*ring = (struct ivs_pci_ring){true, value / 65536, value % 65536};
}

static uint32_t bar1_read(const struct naive *n, size_t at)
{
	uint32_t value = 0;

	if (at < n->o.vectors_n * (size_t)16)
		return n->entry[at / 16][at % 16 / 4];
	for (size_t bit = 0; at >= pba_at(n) && bit < 32; bit++) {
		size_t vector = (at - pba_at(n)) * 8 + bit;

		if (vector < n->o.vectors_n && n->pending[vector])
			value += (uint32_t)1 << bit;
	}
	return value;
}

static size_t piece_len(size_t at, size_t len)
{
	if (at % 4 == 0 && len >= 4)
		return 4;
	return at % 2 == 0 && len >= 2 ? 2 : 1;
}

static bool is_outside(const struct naive *n, int region, size_t at, size_t len)
{
	size_t size = region_len(n, region);

	return at > size || len > size || at + len > size;
}

void naive_read(struct naive *n, int region, size_t at, uint8_t *out, size_t len)
{
	memset(out, 0, len);
	if (is_outside(n, region, at, len))
		return;
	for (size_t end = at + len; at < end;) {
		size_t size = region == 7 ? 1 : piece_len(at, end - at);
		uint32_t value = region == 7 ? config_byte(n, at)
				 : region    ? (size == 4 ? bar1_read(n, at) : 0)
					     : bar0_read(n, at);

		for (size_t i = 0; i < size; i++, at++)
			*out++ = byte_of(value, i);
	}
}

struct ivs_pci_ring naive_write(struct naive *n, int region, size_t at, const uint8_t *in,
				size_t len)
{
	struct ivs_pci_ring ring = {0};

	if (is_outside(n, region, at, len))
		return ring;
	for (size_t end = at + len; at < end;) {
		size_t size = region == 7 ? 1 : piece_len(at, end - at);
		uint32_t value = 0;

		for (size_t i = size; i > 0; i--)
			value = value * 256 + in[i - 1];
		if (region == 7)
			put_config_byte(n, at, *in);
		else if (region == 0)
			bar0_write(n, at, value, &ring);
		else if (size == 4 && at < n->o.vectors_n * (size_t)16)
			n->entry[at / 16][at % 16 / 4] = value;
		at += size;
		in += size;
	}
	return ring;
}

void naive_doorbell(struct naive *n, unsigned int vector)
{
	if (n->o.intx && n->status % 2 == 0)
		n->status++;
	if (n->enabled && vector < n->o.vectors_n)
		n->pending[vector] = true;
}

int naive_next(struct naive *n)
{
	for (unsigned int v = 0; v < n->o.vectors_n; v++) {
		if (n->pending[v] && n->routed[v] && n->enabled && !n->masked && n->command & 4) {
			n->pending[v] = false;
			return (int)v;
		}
	}
	return -1;
}

bool naive_intx(const struct naive *n)
{
	return n->o.intx && (n->status & n->mask) != 0 && !(n->command & 0x400);
}
