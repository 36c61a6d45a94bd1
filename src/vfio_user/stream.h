/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is migrated, as bytes: a header, the device's state, the content of BAR 2 or not, and a sum
 * over all of that. They are made and taken in pieces of any size; of BAR 2, whose size has no limit,
 * nothing is kept.
 *
 * Numbers are little-endian. Header: 8 letters, u32 version, u32 length of the device's state, u64
 * length of the content of BAR 2 (0: without), u64 zero. Sum: two u64 over the words of 8 bytes, the
 * last one filled up with zeroes: the sum of the words, and the sum of these sums. It finds what got
 * lost or changed on the way, not what somebody forged: the device checks its state itself.
 */
#ifndef IVS_VFIO_USER_STREAM_H
#define IVS_VFIO_USER_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ivshmem/api.h"
#include "pci/function.h"
#include "vfio_user/memory.h"

#define IVS_VFU_STREAM_MAGIC "IVSVFUM\n"
#define IVS_VFU_STREAM_VERSION 1u
#define IVS_VFU_STREAM_HEADER_LEN 32u
#define IVS_VFU_STREAM_SUM_LEN 16u

/**
 * struct ivs_vfu_sum - over bytes in pieces
 * @word: the bytes of an incomplete one
 */
struct ivs_vfu_sum {
	uint64_t a;
	uint64_t b;
	uint8_t word[8];
	unsigned int word_len;
};

/**
 * struct ivs_vfu_save - a stream that is being read
 * @head:       header and device's state, as they were when it began; NULL: nothing is
 * @memory_len: of the content of BAR 2; 0: without
 * @at:         bytes that were read
 */
struct ivs_vfu_save {
	uint8_t *head;
	size_t head_len;
	uint64_t memory_len;
	uint64_t at;
	struct ivs_vfu_sum sum;
};

/**
 * struct ivs_vfu_load - a stream that is being written
 * @head: room for header and device's state; NULL: nothing is
 * @at:   bytes that were written
 * @tail: the sum, as it comes
 * @bad:  something was wrong
 */
struct ivs_vfu_load {
	uint8_t *head;
	size_t head_len;
	uint64_t memory_len;
	uint64_t at;
	struct ivs_vfu_sum sum;
	uint8_t tail[IVS_VFU_STREAM_SUM_LEN];
	bool bad;
};

/** ivs_vfu_sum_add() - some more bytes */
void ivs_vfu_sum_add(struct ivs_vfu_sum *sum, const uint8_t *in, size_t len);

/** ivs_vfu_sum_put() - of all bytes that were added */
void ivs_vfu_sum_put(const struct ivs_vfu_sum *sum, uint8_t out[IVS_VFU_STREAM_SUM_LEN]);

/**
 * ivs_vfu_save_begin() - the device's state is taken now
 * @memory_len: 0: without the content of BAR 2
 *
 * Return: whether there was memory.
 */
IVS_MUST_USE bool ivs_vfu_save_begin(struct ivs_vfu_save *save,
				     const struct ivs_pci_function *device, uint64_t memory_len);

void ivs_vfu_save_end(struct ivs_vfu_save *save);

/** ivs_vfu_save_left() - bytes that have not been read */
uint64_t ivs_vfu_save_left(const struct ivs_vfu_save *save);

/**
 * ivs_vfu_save_read() - the next @len bytes, at most as many as are left
 *
 * Return: whether BAR 2 could be read; if not, the stream is at its beginning.
 */
IVS_MUST_USE bool ivs_vfu_save_read(struct ivs_vfu_save *save, struct ivs_vfu_memory *memory,
				    uint8_t *out, size_t len);

/** ivs_vfu_load_begin() - of a stream that a device like @device saved. Return: whether there was memory. */
IVS_MUST_USE bool ivs_vfu_load_begin(struct ivs_vfu_load *load,
				     const struct ivs_pci_function *device, uint64_t memory_len);

void ivs_vfu_load_end(struct ivs_vfu_load *load);

/**
 * ivs_vfu_load_write() - the next bytes; the content of BAR 2 is written to it
 *
 * Return: whether they are good so far, which stays so.
 */
IVS_MUST_USE bool ivs_vfu_load_write(struct ivs_vfu_load *load, struct ivs_vfu_memory *memory,
				     const uint8_t *in, size_t len, struct ivs_error *err);

/**
 * ivs_vfu_load_finish() - no more comes: the device takes its state over
 *
 * Return: whether all of it came and is good; if not, the device is as it was.
 */
IVS_MUST_USE bool ivs_vfu_load_finish(struct ivs_vfu_load *load, struct ivs_pci_function *device,
				      struct ivs_error *err);

#endif
