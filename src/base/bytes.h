/* SPDX-License-Identifier: BSD-3-Clause */
/* Little-endian numbers in byte buffers, for any alignment and host byte order. Pure. */
#ifndef IVS_BASE_BYTES_H
#define IVS_BASE_BYTES_H

#include <stddef.h>
#include <stdint.h>

/** ivs_put_le() - store the low @len bytes of @n; @len is 0 to 8 */
static inline void ivs_put_le(uint64_t n, uint8_t *out, size_t len)
{
	for (size_t i = 0; i < len; i++)
		out[i] = (uint8_t)(n >> (8 * i));
}

/** ivs_get_le() - load a number of @len bytes; @len is 0 to 8 */
static inline uint64_t ivs_get_le(const uint8_t *in, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n |= (uint64_t)in[i] << (8 * i);
	return n;
}

static inline uint16_t ivs_get_le16(const uint8_t *in)
{
	return (uint16_t)ivs_get_le(in, 2);
}

static inline uint32_t ivs_get_le32(const uint8_t *in)
{
	return (uint32_t)ivs_get_le(in, 4);
}

static inline uint64_t ivs_get_le64(const uint8_t *in)
{
	return ivs_get_le(in, 8);
}

static inline void ivs_put_le16(uint8_t *out, uint16_t n)
{
	ivs_put_le(n, out, 2);
}

static inline void ivs_put_le32(uint8_t *out, uint32_t n)
{
	ivs_put_le(n, out, 4);
}

static inline void ivs_put_le64(uint8_t *out, uint64_t n)
{
	ivs_put_le(n, out, 8);
}

#endif
