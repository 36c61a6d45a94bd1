/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/codec.h"

#include <jansson.h>
#include <string.h>

#include "base/error.h"

uint16_t ivs_vfu_get16(const uint8_t *in)
{
	return (uint16_t)(in[0] | in[1] << 8);
}

uint32_t ivs_vfu_get32(const uint8_t *in)
{
	return ivs_vfu_get16(in) | (uint32_t)ivs_vfu_get16(in + 2) << 16;
}

uint64_t ivs_vfu_get64(const uint8_t *in)
{
	return ivs_vfu_get32(in) | (uint64_t)ivs_vfu_get32(in + 4) << 32;
}

void ivs_vfu_put16(uint8_t *out, uint16_t value)
{
	out[0] = (uint8_t)value;
	out[1] = (uint8_t)(value >> 8);
}

void ivs_vfu_put32(uint8_t *out, uint32_t value)
{
	ivs_vfu_put16(out, (uint16_t)value);
	ivs_vfu_put16(out + 2, (uint16_t)(value >> 16));
}

void ivs_vfu_put64(uint8_t *out, uint64_t value)
{
	ivs_vfu_put32(out, (uint32_t)value);
	ivs_vfu_put32(out + 4, (uint32_t)(value >> 32));
}

int ivs_vfu_get_header(const uint8_t in[IVS_VFU_HEADER_LEN], struct ivs_vfu_header *out,
		       struct ivs_error *err)
{
	*out = (struct ivs_vfu_header){
		.id = ivs_vfu_get16(in),
		.command = ivs_vfu_get16(in + 2),
		.size = ivs_vfu_get32(in + 4),
		.flags = ivs_vfu_get32(in + 8),
		.error = ivs_vfu_get32(in + 12),
	};
	if ((out->flags & IVS_VFU_TYPE_MASK) != IVS_VFU_TYPE_COMMAND)
		return ivs_error_set(err, IVS_VFU_E_FRAMING,
				     "a message is no request: its flags are 0x%x", out->flags);
	if (out->size < IVS_VFU_HEADER_LEN || out->size > IVS_VFU_MESSAGE_MAX)
		return ivs_error_set(err, IVS_VFU_E_FRAMING,
				     "a message says that it has %u bytes, not %u to %u", out->size,
				     IVS_VFU_HEADER_LEN, IVS_VFU_MESSAGE_MAX);
	return 0;
}

void ivs_vfu_put_reply(const struct ivs_vfu_header *request, size_t body_len, uint32_t error,
		       uint8_t out[IVS_VFU_HEADER_LEN])
{
	ivs_vfu_put16(out, request->id);
	ivs_vfu_put16(out + 2, request->command);
	ivs_vfu_put32(out + 4, (uint32_t)(IVS_VFU_HEADER_LEN + body_len));
	ivs_vfu_put32(out + 8, IVS_VFU_TYPE_REPLY | (error ? IVS_VFU_ERROR : 0));
	ivs_vfu_put32(out + 12, error);
}

struct ivs_vfu_access ivs_vfu_get_access(const uint8_t *in)
{
	return (struct ivs_vfu_access){
		.offset = ivs_vfu_get64(in),
		.region = ivs_vfu_get32(in + 8),
		.count = ivs_vfu_get32(in + 12),
	};
}

struct ivs_vfu_set_irqs ivs_vfu_get_set_irqs(const uint8_t *in)
{
	return (struct ivs_vfu_set_irqs){
		.argsz = ivs_vfu_get32(in),
		.flags = ivs_vfu_get32(in + 4),
		.index = ivs_vfu_get32(in + 8),
		.start = ivs_vfu_get32(in + 12),
		.count = ivs_vfu_get32(in + 16),
	};
}

static bool is_one_bit(uint32_t bits)
{
	return bits && !(bits & (bits - 1));
}

bool ivs_vfu_check_set_irqs(const struct ivs_vfu_set_irqs *set, size_t body_len, unsigned int fds_n,
			    unsigned int irqs_n)
{
	uint32_t data = set->flags & IVS_VFU_SET_DATA_MASK;
	uint32_t action = set->flags & IVS_VFU_SET_ACTION_MASK;

	if (set->flags != (data | action) || !is_one_bit(data) || !is_one_bit(action))
		return false;
	if (!set->count || set->start >= irqs_n || set->count > irqs_n - set->start)
		return false;
	if (data == IVS_VFU_SET_BOOL)
		return body_len - IVS_VFU_SET_IRQS_LEN >= set->count;
	return data != IVS_VFU_SET_EVENTFD || !fds_n || fds_n >= set->count;
}

bool ivs_vfu_disables_all(const struct ivs_vfu_set_irqs *set)
{
	return set->flags == (IVS_VFU_SET_NONE | IVS_VFU_SET_TRIGGER) && !set->start && !set->count;
}

/* Of its capabilities one matters to us. Return: whether they are what they should be. */
static bool get_capabilities(const json_t *root, uint64_t *fds_max)
{
	const json_t *capabilities = json_object_get(root, "capabilities");
	const json_t *fds = json_object_get(capabilities, "max_msg_fds");

	if (!json_is_object(root) || (capabilities && !json_is_object(capabilities)))
		return false;
	if (!fds)
		return true;
	if (!json_is_integer(fds) || json_integer_value(fds) < 0)
		return false;
	*fds_max = (uint64_t)json_integer_value(fds);
	return true;
}

int ivs_vfu_get_version(const uint8_t *in, size_t len, uint64_t *fds_max, struct ivs_error *err)
{
	uint16_t major = ivs_vfu_get16(in);
	const char *text = (const char *)in + IVS_VFU_VERSION_LEN;
	size_t text_len = len - IVS_VFU_VERSION_LEN;
	json_t *root;
	bool good;

	*fds_max = 1;
	if (major)
		return ivs_error_set(err, IVS_VFU_E_VERSION,
				     "the client speaks version %u of vfio-user, not 0", major);
	if (!text_len)
		return 0;
	if (text[text_len - 1])
		return ivs_error_set(err, IVS_VFU_E_VERSION,
				     "the client's VERSION does not end with a NUL");
	root = json_loadb(text, text_len - 1, 0, NULL);
	good = root && get_capabilities(root, fds_max);
	json_decref(root);
	return good ? 0
		    : ivs_error_set(err, IVS_VFU_E_VERSION,
				    "the client's VERSION has no capabilities in JSON");
}
