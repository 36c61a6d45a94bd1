/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio_user/codec.h"

#include <jansson.h>
#include <string.h>

#include "base/error.h"

int ivs_vfu_get_header(const uint8_t in[IVS_VFU_HEADER_LEN], struct ivs_vfu_header *out,
		       struct ivs_error *err)
{
	*out = (struct ivs_vfu_header){
		.id = ivs_get_le16(in),
		.command = ivs_get_le16(in + 2),
		.size = ivs_get_le32(in + 4),
		.flags = ivs_get_le32(in + 8),
		.error = ivs_get_le32(in + 12),
	};
	if ((out->flags & IVS_VFU_TYPE_MASK) != IVS_VFU_TYPE_COMMAND)
		return ivs_error_set(err, IVS_VFU_E_FRAMING,
				     "a message is not a request: its flags are 0x%x", out->flags);
	if (out->size < IVS_VFU_HEADER_LEN || out->size > IVS_VFU_MESSAGE_MAX)
		return ivs_error_set(err, IVS_VFU_E_FRAMING,
				     "a message has a size of %u bytes, not %u to %u", out->size,
				     IVS_VFU_HEADER_LEN, IVS_VFU_MESSAGE_MAX);
	return 0;
}

void ivs_vfu_put_reply(const struct ivs_vfu_header *request, size_t body_len, uint32_t error,
		       uint8_t out[IVS_VFU_HEADER_LEN])
{
	ivs_put_le16(out, request->id);
	ivs_put_le16(out + 2, request->command);
	ivs_put_le32(out + 4, (uint32_t)(IVS_VFU_HEADER_LEN + body_len));
	ivs_put_le32(out + 8, IVS_VFU_TYPE_REPLY | (error ? IVS_VFU_ERROR : 0));
	ivs_put_le32(out + 12, error);
}

struct ivs_vfu_access ivs_vfu_get_access(const uint8_t *in)
{
	return (struct ivs_vfu_access){
		.offset = ivs_get_le64(in),
		.region = ivs_get_le32(in + 8),
		.count = ivs_get_le32(in + 12),
	};
}

struct ivs_vfu_set_irqs ivs_vfu_get_set_irqs(const uint8_t *in)
{
	return (struct ivs_vfu_set_irqs){
		.argsz = ivs_get_le32(in),
		.flags = ivs_get_le32(in + 4),
		.index = ivs_get_le32(in + 8),
		.start = ivs_get_le32(in + 12),
		.count = ivs_get_le32(in + 16),
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

/* Read the only capability used, max_msg_fds. Return: whether the capabilities are valid. */
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
	uint16_t major = ivs_get_le16(in);
	const char *text = (const char *)in + IVS_VFU_VERSION_LEN;
	size_t text_len = len - IVS_VFU_VERSION_LEN;
	json_t *root;
	bool is_valid;

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
	is_valid = root && get_capabilities(root, fds_max);
	json_decref(root);
	return is_valid ? 0
			: ivs_error_set(err, IVS_VFU_E_VERSION,
					"the client's VERSION has no valid capabilities in JSON");
}
