/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/section.h"

#include <string.h>

#include "base/bytes.h"
#include "channel/shared.h"
#include "ivshmem/registers.h"

#define NAME_WORDS_N ((IVS_SECTION_NAME_MAX + 1) / sizeof(uint64_t))
#define NONE UINT64_C(0xffffffff)

_Static_assert(IVS_ENDPOINT_NAME + NAME_WORDS_N <= IVS_ENDPOINT_AT, "the name has its words");

/*
 * HOLDER: the id in the lower half, or all ones; the vector in bits 32 to 47; bit 48: the holder
 * can be rung; bit 49: the holder has left.
 */
#define HOLDER_RINGS (UINT64_C(1) << 48)
#define HOLDER_LEFT (UINT64_C(1) << 49)

static uint64_t pack_holder(const struct ivs_section_holder *holder)
{
	uint64_t word = holder->id >= 0 ? (uint32_t)holder->id : NONE;

	if (holder->vector >= 0)
		word |= HOLDER_RINGS | (uint64_t)(uint16_t)holder->vector << 32;
	return word | (holder->left ? HOLDER_LEFT : 0);
}

struct ivs_section_holder ivs_section_get_holder(const void *section)
{
	uint64_t word = ivs_shared_load(ivs_section_foreign(section, 0) + IVS_SECTION_HOLDER);
	uint32_t id = (uint32_t)word;

	return (struct ivs_section_holder){
		.id = id <= IVS_ID_MAX ? (int)id : -1,
		.vector = id <= IVS_ID_MAX && word & HOLDER_RINGS ? (int)(word >> 32 & 0xffff) : -1,
		.left = word & HOLDER_LEFT,
	};
}

/* STATE: the role in bits 0 to 7; bit 8: closed; bit 9: complete; the incarnation above bit 31. */
#define STATE_CLOSED (1u << 8)
#define STATE_COMPLETE (1u << 9)

static uint64_t pack_state(const struct ivs_endpoint_state *state)
{
	return (uint64_t)state->incarnation << 32 | (state->closed ? STATE_CLOSED : 0) |
	       (state->complete ? STATE_COMPLETE : 0) | (uint32_t)state->role;
}

static struct ivs_endpoint_state unpack_state(uint64_t word)
{
	unsigned int role = word & 0xff;

	return (struct ivs_endpoint_state){
		.role = role < IVS_ROLES_N ? (enum ivs_endpoint_role)role : IVS_ROLE_NONE,
		.closed = word & STATE_CLOSED,
		.incarnation = (uint32_t)(word >> 32),
		.complete = word & STATE_COMPLETE,
	};
}

uint64_t ivs_endpoint_ref_pack(const struct ivs_endpoint_ref *ref)
{
	return (uint64_t)ref->incarnation << 32 | (uint32_t)ref->index << 16 | ref->section;
}

struct ivs_endpoint_ref ivs_endpoint_ref_unpack(uint64_t word)
{
	return (struct ivs_endpoint_ref){
		.section = (uint16_t)word,
		.index = (uint16_t)(word >> 16),
		.incarnation = (uint32_t)(word >> 32),
	};
}

void ivs_section_begin(void *section, uint64_t life, const struct ivs_section_holder *holder)
{
	uint64_t *header = ivs_section_endpoint(section, 0);

	/* From here on, other peers take nothing in the section for the former holder's. */
	ivs_shared_publish(&header[IVS_SECTION_LIFE], 0);
	for (unsigned int i = 1; i < IVS_SECTION_ENDPOINTS_N; i++) {
		for (unsigned int word = 0; word < IVS_ENDPOINT_WORDS_N; word++)
			ivs_shared_store(ivs_section_endpoint(section, i) + word, 0);
	}
	ivs_shared_store(&header[IVS_SECTION_LETTERS_WORD],
			 ivs_get_le64((const uint8_t *)IVS_SECTION_LETTERS));
	ivs_shared_store(&header[IVS_SECTION_HOLDER], pack_holder(holder));
	ivs_shared_publish(&header[IVS_SECTION_LIFE], life);
	ivs_section_changed(section);
}

void ivs_section_end(void *section, const struct ivs_section_holder *holder)
{
	struct ivs_section_holder left = *holder;

	left.left = true;
	ivs_shared_publish(ivs_section_endpoint(section, 0) + IVS_SECTION_HOLDER,
			   pack_holder(&left));
	ivs_section_changed(section);
}

uint64_t ivs_section_life(const void *section)
{
	return ivs_shared_load(ivs_section_foreign(section, 0) + IVS_SECTION_LIFE);
}

/* Only a hint: the word may have any value, which wraps around. */
void ivs_section_changed(void *section)
{
	uint64_t *word = ivs_section_endpoint(section, 0) + IVS_SECTION_CHANGES;

	ivs_shared_publish(word, ivs_shared_load(word) + 1);
}

static void put_name(uint64_t *endpoint, const char *name)
{
	uint8_t bytes[NAME_WORDS_N * sizeof(uint64_t)] = {0};

	memcpy(bytes, name, strnlen(name, IVS_SECTION_NAME_MAX));
	for (unsigned int i = 0; i < NAME_WORDS_N; i++)
		ivs_shared_store(&endpoint[IVS_ENDPOINT_NAME + i], ivs_get_le64(bytes + 8 * i));
}

static void get_name(const uint64_t *endpoint, char name[IVS_SECTION_NAME_MAX + 1])
{
	for (unsigned int i = 0; i < NAME_WORDS_N; i++)
		ivs_put_le64((uint8_t *)name + 8 * i,
			     ivs_shared_load(&endpoint[IVS_ENDPOINT_NAME + i]));
	name[IVS_SECTION_NAME_MAX] = '\0';
}

bool ivs_endpoint_name_is_valid(const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return false;
	}
	return len && len <= IVS_SECTION_NAME_MAX;
}

uint64_t ivs_endpoint_part_len(const struct ivs_endpoint_view *view)
{
	uint64_t len = ivs_endpoint_slots_len(view);

	if (view->state.role == IVS_ROLE_PUBLISHER)
		len += ivs_pool_align(&view->pool) - IVS_LANE_SLOT_ALIGN +
		       ivs_pool_len(&view->pool, view->shape.slots_n);
	return len;
}

void ivs_endpoint_set_part(struct ivs_endpoint_view *view, uint64_t at)
{
	uint64_t align = ivs_pool_align(&view->pool);

	view->at = at;
	if (view->state.role == IVS_ROLE_PUBLISHER)
		view->pool_at = (at + ivs_endpoint_slots_len(view) + align - 1) / align * align;
}

/* POOL_SHAPE: the length in bits 0 to 31; borrowers in bits 32 to 47; loans in bits 48 to 63. */
static void put_pool(uint64_t *endpoint, const struct ivs_endpoint_view *view)
{
	const struct ivs_pool_shape *pool = &view->pool;

	ivs_shared_store(&endpoint[IVS_ENDPOINT_POOL], view->borrows ? 1 : view->pool_at);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_POOL_SHAPE],
			 pool->buffer_len | (uint64_t)pool->borrowers_n << 32 |
				 (uint64_t)pool->loans_n << 48);
}

static void get_pool(const uint64_t *endpoint, struct ivs_endpoint_view *view)
{
	uint64_t at = ivs_shared_load(&endpoint[IVS_ENDPOINT_POOL]);
	uint64_t shape = ivs_shared_load(&endpoint[IVS_ENDPOINT_POOL_SHAPE]);

	if (view->state.role == IVS_ROLE_READER)
		view->borrows = at == 1;
	if (view->state.role != IVS_ROLE_PUBLISHER)
		return;
	view->pool_at = at;
	view->pool = (struct ivs_pool_shape){
		.buffer_len = (uint32_t)shape,
		.borrowers_n = (uint16_t)(shape >> 32),
		.loans_n = (uint16_t)(shape >> 48),
	};
}

void ivs_endpoint_put(void *section, unsigned int index, const struct ivs_endpoint_view *view)
{
	uint64_t *endpoint = ivs_section_endpoint(section, index);
	struct ivs_endpoint_state unused = {.incarnation = view->state.incarnation};

	/* From here on, the position is not the former endpoint's. */
	ivs_shared_store(&endpoint[IVS_ENDPOINT_STATE], pack_state(&unused));
	put_name(endpoint, view->name);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_AT], view->at);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_SHAPE],
			 view->shape.slots_n | (uint64_t)view->shape.slot_len << 32);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_BASE], view->shape.base);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_TARGET], ivs_endpoint_ref_pack(&view->target));
	ivs_shared_store(&endpoint[IVS_ENDPOINT_LIFE], view->target_life);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_ACCEPTED], 0);
	put_pool(endpoint, view);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_POSITION], view->position);
	ivs_shared_store(&endpoint[IVS_ENDPOINT_SLEEPS],
			 ivs_endpoint_sleeps(view->state.incarnation, false));
	ivs_shared_store(&endpoint[IVS_ENDPOINT_MISSED], 0);
	for (unsigned int i = 0; i < IVS_POOL_LOANS_MAX; i++)
		ivs_shared_store(&endpoint[IVS_ENDPOINT_LOANS + i], 0);
	ivs_endpoint_set_state(section, index, &view->state);
}

void ivs_endpoint_set_state(void *section, unsigned int index,
			    const struct ivs_endpoint_state *state)
{
	ivs_shared_publish(ivs_section_endpoint(section, index) + IVS_ENDPOINT_STATE,
			   pack_state(state));
	ivs_section_changed(section);
}

struct ivs_endpoint_state ivs_endpoint_get_state(const void *section, unsigned int index)
{
	return unpack_state(
		ivs_shared_load(ivs_section_foreign(section, index) + IVS_ENDPOINT_STATE));
}

/* Return: whether a part lies inside the arena. */
static bool is_inside(uint64_t at, uint64_t len, uint64_t section_len)
{
	return at % IVS_LANE_SLOT_ALIGN == 0 && at >= IVS_SECTION_ARENA_AT && at <= section_len &&
	       len <= section_len - at;
}

/* Return: whether the slots and buffers lie inside the arena. No sum can overflow. */
static bool is_possible(const struct ivs_endpoint_view *view, uint64_t section_len)
{
	if (!ivs_lane_is_possible(&view->shape) ||
	    !is_inside(view->at, ivs_endpoint_slots_len(view), section_len))
		return false;
	return view->state.role != IVS_ROLE_PUBLISHER ||
	       (ivs_pool_is_possible(&view->pool) &&
		view->pool_at % ivs_pool_align(&view->pool) == 0 &&
		is_inside(view->pool_at, ivs_pool_len(&view->pool, view->shape.slots_n),
			  section_len));
}

static bool has_lane(enum ivs_endpoint_role role)
{
	return role == IVS_ROLE_QUEUE_SENDER || role == IVS_ROLE_CONNECTOR ||
	       role == IVS_ROLE_ACCEPTOR || role == IVS_ROLE_PUBLISHER;
}

bool ivs_endpoint_get(const void *section, uint64_t section_len, unsigned int index,
		      struct ivs_endpoint_view *out)
{
	const uint64_t *endpoint = ivs_section_foreign(section, index);
	uint64_t state = ivs_shared_load(&endpoint[IVS_ENDPOINT_STATE]);
	uint64_t shape;

	*out = (struct ivs_endpoint_view){.state = unpack_state(state)};
	if (out->state.role == IVS_ROLE_NONE)
		return false;
	get_name(endpoint, out->name);
	out->at = ivs_shared_load(&endpoint[IVS_ENDPOINT_AT]);
	shape = ivs_shared_load(&endpoint[IVS_ENDPOINT_SHAPE]);
	out->shape.slots_n = (uint32_t)shape;
	out->shape.slot_len = (uint32_t)(shape >> 32);
	out->shape.base = (uint32_t)ivs_shared_load(&endpoint[IVS_ENDPOINT_BASE]);
	out->target = ivs_endpoint_ref_unpack(ivs_shared_load(&endpoint[IVS_ENDPOINT_TARGET]));
	out->target_life = ivs_shared_load(&endpoint[IVS_ENDPOINT_LIFE]);
	get_pool(endpoint, out);
	if (has_lane(out->state.role) && !is_possible(out, section_len))
		return false;
	/* The holder publishes the state last, and changes it before it reuses the endpoint. */
	return ivs_shared_load(&endpoint[IVS_ENDPOINT_STATE]) == state;
}

void ivs_section_find_readers(const void *section, uint64_t section_len,
			      struct ivs_section_readers *out)
{
	out->n = 0;
	for (unsigned int i = 1; i < IVS_SECTION_ENDPOINTS_N; i++) {
		struct ivs_endpoint_view *view = &out->views[out->n];
		const uint64_t *endpoint = ivs_section_foreign(section, i);

		if (!ivs_endpoint_get(section, section_len, i, view) ||
		    view->state.role != IVS_ROLE_READER)
			continue;
		view->position = ivs_shared_load(&endpoint[IVS_ENDPOINT_POSITION]);
		if (view->position)
			out->n++;
	}
}
