/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The migration stream: a header, the device's state, optionally the content of BAR 2, and a
 * checksum of these. It is produced and consumed in pieces of any size. The content of BAR 2 may be
 * of any size, and is not buffered.
 *
 * Numbers are little-endian. Header: 8 characters, u32 version, u32 length of the device's state,
 * u64 length of the content of BAR 2 (0: no content), u64 zero. Checksum over words of 8 bytes, the
 * last one padded with zeroes: u64 sum of the words, u64 sum of the running sums. It detects lost
 * and changed bytes, but not forgery, so ivs_pci_load() does not trust the state.
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
 * struct ivs_vfu_sum - the checksum of the bytes added so far
 * @word: bytes of the last word, if it is incomplete
 */
struct ivs_vfu_sum {
	uint64_t a;
	uint64_t b;
	uint8_t word[8];
	unsigned int word_len;
};

/**
 * struct ivs_vfu_save - a stream that is being read
 * @head:       the header, and the device's state when saving began; NULL: not saving
 * @memory_len: length of BAR 2 in bytes; 0: its content is not saved
 * @at:         bytes read so far
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
 * @head: buffer for the header and the device's state; NULL: not loading
 * @at:   bytes written so far
 * @tail: the checksum in the stream
 * @bad:  the stream is invalid
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

/** ivs_vfu_sum_add() - add the next bytes */
void ivs_vfu_sum_add(struct ivs_vfu_sum *sum, const uint8_t *in, size_t len);

/** ivs_vfu_sum_put() - encode the checksum of all bytes added */
void ivs_vfu_sum_put(const struct ivs_vfu_sum *sum, uint8_t out[IVS_VFU_STREAM_SUM_LEN]);

/**
 * ivs_vfu_save_begin() - take a snapshot of the device's state
 * @memory_len: length of BAR 2 in bytes; 0: do not save its content
 *
 * Return: false if out of memory.
 */
IVS_MUST_USE bool ivs_vfu_save_begin(struct ivs_vfu_save *save,
				     const struct ivs_pci_function *device, uint64_t memory_len);

void ivs_vfu_save_end(struct ivs_vfu_save *save);

/** ivs_vfu_save_left() - number of bytes that have not been read yet */
uint64_t ivs_vfu_save_left(const struct ivs_vfu_save *save);

/**
 * ivs_vfu_save_read() - read the next @len bytes, at most ivs_vfu_save_left()
 *
 * Return: false if BAR 2 could not be read; the stream is then rewound.
 */
IVS_MUST_USE bool ivs_vfu_save_read(struct ivs_vfu_save *save, struct ivs_vfu_memory *memory,
				    uint8_t *out, size_t len);

/**
 * ivs_vfu_load_begin() - begin to load a stream from a device with the same options as @device
 *
 * Return: false if out of memory.
 */
IVS_MUST_USE bool ivs_vfu_load_begin(struct ivs_vfu_load *load,
				     const struct ivs_pci_function *device, uint64_t memory_len);

void ivs_vfu_load_end(struct ivs_vfu_load *load);

/**
 * ivs_vfu_load_write() - load the next bytes; those of BAR 2 are immediately written to @memory
 *
 * Return: false if the stream is invalid; all further calls then return false, too.
 */
IVS_MUST_USE bool ivs_vfu_load_write(struct ivs_vfu_load *load, struct ivs_vfu_memory *memory,
				     const uint8_t *in, size_t len, struct ivs_error *err);

/**
 * ivs_vfu_load_finish() - after the end of the stream, load the state into @device
 *
 * Return: false if the stream is incomplete or invalid; @device is then unchanged.
 */
IVS_MUST_USE bool ivs_vfu_load_finish(struct ivs_vfu_load *load, struct ivs_pci_function *device,
				      struct ivs_error *err);

#endif
