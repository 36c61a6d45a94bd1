/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/stream.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "pci/function.h"
#include "vfio_user/codec.h"

static void add_word(struct ivs_vfu_sum *sum, const uint8_t *word)
{
	sum->a += ivs_get_le64(word);
	sum->b += sum->a;
}

void ivs_vfu_sum_add(struct ivs_vfu_sum *sum, const uint8_t *in, size_t len)
{
	while (sum->word_len && len) {
		sum->word[sum->word_len++] = *in++;
		len--;
		if (sum->word_len == sizeof(sum->word)) {
			add_word(sum, sum->word);
			sum->word_len = 0;
		}
	}
	for (; len >= sizeof(sum->word); in += sizeof(sum->word), len -= sizeof(sum->word))
		add_word(sum, in);
	memcpy(sum->word + sum->word_len, in, len);
	sum->word_len += (unsigned int)len;
}

void ivs_vfu_sum_put(const struct ivs_vfu_sum *sum, uint8_t out[IVS_VFU_STREAM_SUM_LEN])
{
	struct ivs_vfu_sum whole = *sum;

	if (whole.word_len) {
		memset(whole.word + whole.word_len, 0, sizeof(whole.word) - whole.word_len);
		add_word(&whole, whole.word);
	}
	ivs_put_le64(out, whole.a);
	ivs_put_le64(out + 8, whole.b);
}

static void put_header(uint8_t *out, size_t state_len, uint64_t memory_len)
{
	memset(out, 0, IVS_VFU_STREAM_HEADER_LEN);
	memcpy(out, IVS_VFU_STREAM_MAGIC, 8);
	ivs_put_le32(out + 8, IVS_VFU_STREAM_VERSION);
	ivs_put_le32(out + 12, (uint32_t)state_len);
	ivs_put_le64(out + 16, memory_len);
}

bool ivs_vfu_save_begin(struct ivs_vfu_save *save, const struct ivs_pci_function *device,
			uint64_t memory_len)
{
	size_t state_len = ivs_pci_state_len(device);

	*save = (struct ivs_vfu_save){
		.head = malloc(IVS_VFU_STREAM_HEADER_LEN + state_len),
		.head_len = IVS_VFU_STREAM_HEADER_LEN + state_len,
		.memory_len = memory_len,
	};
	if (!save->head)
		return false;
	put_header(save->head, state_len, memory_len);
	ivs_pci_save(device, save->head + IVS_VFU_STREAM_HEADER_LEN);
	return true;
}

void ivs_vfu_save_end(struct ivs_vfu_save *save)
{
	free(save->head);
	*save = (struct ivs_vfu_save){0};
}

uint64_t ivs_vfu_save_left(const struct ivs_vfu_save *save)
{
	return save->head_len + save->memory_len + IVS_VFU_STREAM_SUM_LEN - save->at;
}

static size_t min_len(uint64_t a, size_t b)
{
	return a < b ? (size_t)a : b;
}

/*
 * Save at most @len bytes of the current part of the stream.
 *
 * Return: the number of bytes; 0: BAR 2 could not be read.
 */
static size_t save_part(struct ivs_vfu_save *save, struct ivs_vfu_memory *memory, uint8_t *out,
			size_t len)
{
	uint64_t in_memory = save->at - save->head_len; /* this is valid only beyond the head */
	uint8_t sum[IVS_VFU_STREAM_SUM_LEN];
	size_t n;

	if (save->at < save->head_len) {
		n = min_len(save->head_len - save->at, len);
		memcpy(out, save->head + save->at, n);
	} else if (in_memory < save->memory_len) {
		n = min_len(save->memory_len - in_memory, len);
		if (ivs_vfu_memory_read(memory, in_memory, out, n) < n)
			return 0;
	} else {
		ivs_vfu_sum_put(&save->sum, sum);
		n = min_len(save->memory_len + sizeof(sum) - in_memory, len);
		memcpy(out, sum + (in_memory - save->memory_len), n);
		return n;
	}
	ivs_vfu_sum_add(&save->sum, out, n);
	return n;
}

bool ivs_vfu_save_read(struct ivs_vfu_save *save, struct ivs_vfu_memory *memory, uint8_t *out,
		       size_t len)
{
	while (len) {
		size_t n = save_part(save, memory, out, len);

		if (!n) {
			save->at = 0;
			save->sum = (struct ivs_vfu_sum){0};
			return false;
		}
		save->at += n;
		out += n;
		len -= n;
	}
	return true;
}

bool ivs_vfu_load_begin(struct ivs_vfu_load *load, const struct ivs_pci_function *device,
			uint64_t memory_len)
{
	size_t head_len = IVS_VFU_STREAM_HEADER_LEN + ivs_pci_state_len(device);

	*load = (struct ivs_vfu_load){
		.head = malloc(head_len),
		.head_len = head_len,
		.memory_len = memory_len,
	};
	return load->head;
}

void ivs_vfu_load_end(struct ivs_vfu_load *load)
{
	free(load->head);
	*load = (struct ivs_vfu_load){0};
}

/* Compare the header with the expected one, all of whose bytes are known in advance. */
static bool check_header(const struct ivs_vfu_load *load, struct ivs_error *err)
{
	uint8_t header[IVS_VFU_STREAM_HEADER_LEN];

	put_header(header, load->head_len - IVS_VFU_STREAM_HEADER_LEN, load->memory_len);
	if (memcmp(load->head, header, 8))
		ivs_error_set(err, 0, "the data to load is not the state of an ivshmem device");
	else if (memcmp(load->head, header, sizeof(header)))
		ivs_error_set(
			err, 0,
			"the state to load has version %u, %u bytes and %llu bytes of memory, but "
			"this device has version %u, %u bytes and %llu bytes of memory",
			ivs_get_le32(load->head + 8), ivs_get_le32(load->head + 12),
			(unsigned long long)ivs_get_le64(load->head + 16), ivs_get_le32(header + 8),
			ivs_get_le32(header + 12), (unsigned long long)ivs_get_le64(header + 16));
	else
		return true;
	return false;
}

/*
 * Load at most @len bytes of the current part of the stream.
 *
 * Return: the number of bytes; 0: the stream is invalid.
 */
static size_t load_part(struct ivs_vfu_load *load, struct ivs_vfu_memory *memory, const uint8_t *in,
			size_t len, struct ivs_error *err)
{
	uint64_t in_memory = load->at - load->head_len; /* this is valid only beyond the head */
	uint64_t in_tail = in_memory - load->memory_len;
	size_t n;

	if (load->at < load->head_len) {
		/* Stop at the end of the header, so that it is checked before the rest. */
		n = load->at < IVS_VFU_STREAM_HEADER_LEN ? IVS_VFU_STREAM_HEADER_LEN
							 : load->head_len;
		n = min_len(n - load->at, len);
		memcpy(load->head + load->at, in, n);
		if (load->at + n == IVS_VFU_STREAM_HEADER_LEN && !check_header(load, err))
			return 0;
	} else if (in_memory < load->memory_len) {
		n = min_len(load->memory_len - in_memory, len);
		if (!ivs_vfu_memory_write(memory, in_memory, in, n))
			return (size_t)ivs_error_set(err, 0, "cannot write to the memory");
	} else {
		n = min_len(sizeof(load->tail) - in_tail, len);
		memcpy(load->tail + in_tail, in, n);
		if (!n)
			ivs_error_set(err, 0, "the state to load is followed by more data");
		return n;
	}
	ivs_vfu_sum_add(&load->sum, in, n);
	return n;
}

bool ivs_vfu_load_write(struct ivs_vfu_load *load, struct ivs_vfu_memory *memory, const uint8_t *in,
			size_t len, struct ivs_error *err)
{
	while (len && !load->bad) {
		size_t n = load_part(load, memory, in, len, err);

		load->bad = !n;
		load->at += n;
		in += n;
		len -= n;
	}
	return !load->bad;
}

bool ivs_vfu_load_finish(struct ivs_vfu_load *load, struct ivs_pci_function *device,
			 struct ivs_error *err)
{
	uint64_t end = load->head_len + load->memory_len + IVS_VFU_STREAM_SUM_LEN;
	uint8_t sum[IVS_VFU_STREAM_SUM_LEN];

	if (load->bad)
		return ivs_error_set(err, 0,
				     "the state to load has already been found to be invalid");
	if (load->at != end)
		return ivs_error_set(err, 0, "%llu of %llu bytes of the state were written",
				     (unsigned long long)load->at, (unsigned long long)end);
	ivs_vfu_sum_put(&load->sum, sum);
	if (memcmp(sum, load->tail, sizeof(sum)))
		return ivs_error_set(err, 0, "the state to load is damaged: its checksum is wrong");
	return !ivs_pci_load(device, load->head + IVS_VFU_STREAM_HEADER_LEN,
			     load->head_len - IVS_VFU_STREAM_HEADER_LEN, err);
}
