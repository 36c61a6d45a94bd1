/* SPDX-License-Identifier: BSD-3-Clause */
#include "image/format.h"

#include <inttypes.h>
#include <string.h>

#include "base/bytes.h"
#include "base/error.h"
#include "base/parse.h"

void ivs_image_put_header(const struct ivs_image_header *header, uint8_t out[IVS_IMAGE_HEADER_LEN])
{
	memset(out, 0, IVS_IMAGE_HEADER_LEN);
	memcpy(out, IVS_IMAGE_MAGIC, 8);
	ivs_put_le32(out + 8, IVS_IMAGE_VERSION);
	ivs_put_le32(out + 12, header->name_len);
	ivs_put_le64(out + 16, header->size);
	ivs_put_le32(out + 24, header->chunk_len);
	ivs_put_le64(out + 32, header->saved_ms);
	ivs_put_le64(out + 40, header->roster_len);
}

/* Report that a field of the header cannot have this value. */
static int field_invalid(const char *field, uint64_t value, struct ivs_error *err)
{
	return ivs_error_set(err, IVS_IMAGE_E_DAMAGED,
			     "the header is damaged: %s cannot be %" PRIu64, field, value);
}

static int header_check(const struct ivs_image_header *header, struct ivs_error *err)
{
	if (!header->size || header->size > IVS_IMAGE_SIZE_MAX)
		return field_invalid("the size of the region", header->size, err);
	if (header->chunk_len < IVS_IMAGE_CHUNK_MIN || header->chunk_len > IVS_IMAGE_CHUNK_MAX ||
	    !ivs_is_power_of_two(header->chunk_len))
		return field_invalid("the length of a chunk", header->chunk_len, err);
	if (header->name_len > IVS_IMAGE_NAME_MAX)
		return field_invalid("the length of the name", header->name_len, err);
	if (header->roster_len > header->size / 2)
		return field_invalid("the length of the roster", header->roster_len, err);
	if (header->saved_ms > IVS_IMAGE_TIME_MAX)
		return field_invalid("the time", header->saved_ms, err);
	return 0;
}

int ivs_image_get_header(const uint8_t in[IVS_IMAGE_HEADER_LEN], struct ivs_image_header *out,
			 struct ivs_error *err)
{
	uint32_t version = ivs_get_le32(in + 8);

	if (memcmp(in, IVS_IMAGE_MAGIC, 8) != 0)
		return ivs_error_set(err, IVS_IMAGE_E_FOREIGN,
				     "it was not written by \"ivshmem save\"");
	if (version != IVS_IMAGE_VERSION)
		return ivs_error_set(err, IVS_IMAGE_E_VERSION,
				     "the format has version %" PRIu32
				     ", but this program reads only version %d: use the ivshmem "
				     "that wrote the file, or a later one",
				     version, IVS_IMAGE_VERSION);
	*out = (struct ivs_image_header){
		.size = ivs_get_le64(in + 16),
		.saved_ms = ivs_get_le64(in + 32),
		.roster_len = ivs_get_le64(in + 40),
		.chunk_len = ivs_get_le32(in + 24),
		.name_len = ivs_get_le32(in + 12),
	};
	return header_check(out, err);
}

void ivs_image_put_record(const struct ivs_image_record *record, uint8_t out[IVS_IMAGE_RECORD_LEN])
{
	ivs_put_le32(out, record->kind);
	ivs_put_le32(out + 4, record->content_len);
	ivs_put_le64(out + 8, record->number);
	ivs_put_le64(out + IVS_IMAGE_RECORD_SUM_AT, record->sum);
}

void ivs_image_get_record(const uint8_t in[IVS_IMAGE_RECORD_LEN], struct ivs_image_record *out)
{
	*out = (struct ivs_image_record){
		.kind = ivs_get_le32(in),
		.content_len = ivs_get_le32(in + 4),
		.number = ivs_get_le64(in + 8),
		.sum = ivs_get_le64(in + IVS_IMAGE_RECORD_SUM_AT),
	};
}

bool ivs_image_is_zero(const uint8_t *bytes, size_t len)
{
	return !len || (!*bytes && !memcmp(bytes, bytes + 1, len - 1));
}
