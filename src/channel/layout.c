/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/layout.h"

#include <stdbool.h>
#include <string.h>

#include "base/bytes.h"
#include "channel/shared.h"

#define PAGE_LEN 4096u
#define WORDS_N (IVS_CHANNEL_LAYOUT_LEN / sizeof(uint64_t))
#define LARGE_LEN (UINT64_C(64) << 20)
#define DEFAULT_N 16
#define LARGE_N 64 /* sections of a region of at least LARGE_LEN bytes */

/* Words of the header. */
enum {
	WORD_LETTERS,
	WORD_VERSION,  /* version, and in the upper half the length of the header */
	WORD_SECTIONS, /* number of sections, and in the upper half flags */
	WORD_AT,
	WORD_LEN,
	USED_N,
};

static uint64_t letters(void)
{
	return ivs_get_le64((const uint8_t *)IVS_CHANNEL_LAYOUT_LETTERS);
}

static uint64_t version_word(uint32_t version)
{
	return version | (uint64_t)IVS_CHANNEL_LAYOUT_LEN << 32;
}

static uint64_t section_len(uint64_t len, uint32_t sections_n)
{
	uint64_t left = len > IVS_CHANNEL_LAYOUT_LEN ? len - IVS_CHANNEL_LAYOUT_LEN : 0;

	return left / sections_n / PAGE_LEN * PAGE_LEN;
}

static uint32_t default_sections(uint64_t len)
{
	uint32_t n = len >= LARGE_LEN ? LARGE_N : DEFAULT_N;

	while (n > IVS_CHANNEL_SECTIONS_MIN && section_len(len, n) < IVS_CHANNEL_SECTION_LEN_MIN)
		n /= 2;
	return n;
}

int ivs_channel_layout_make(uint64_t len, uint32_t sections_n, struct ivs_channel_layout *out)
{
	uint32_t n = sections_n ? sections_n : default_sections(len);

	*out = (struct ivs_channel_layout){
		.version = IVS_CHANNEL_LAYOUT_VERSION,
		.sections_n = n,
		.section_len = section_len(len, n),
		.sections_at = IVS_CHANNEL_LAYOUT_LEN,
	};
	if (n < IVS_CHANNEL_SECTIONS_MIN || n > IVS_CHANNEL_SECTIONS_MAX ||
	    out->section_len < IVS_CHANNEL_SECTION_LEN_MIN)
		return IVS_CHANNEL_LAYOUT_E_SIZE;
	return 0;
}

void ivs_channel_layout_write(void *memory, const struct ivs_channel_layout *layout)
{
	uint64_t *words = memory;

	ivs_shared_store(&words[WORD_VERSION], version_word(layout->version));
	ivs_shared_store(&words[WORD_SECTIONS], layout->sections_n);
	ivs_shared_store(&words[WORD_AT], layout->sections_at);
	ivs_shared_store(&words[WORD_LEN], layout->section_len);
	ivs_shared_publish(&words[WORD_LETTERS], letters());
}

/* Return: whether the layout that peer wrote fits into @len bytes. No sum can overflow. */
static bool is_possible(const struct ivs_channel_layout *layout, uint64_t len)
{
	return layout->sections_n >= IVS_CHANNEL_SECTIONS_MIN &&
	       layout->sections_n <= IVS_CHANNEL_SECTIONS_MAX &&
	       layout->section_len >= IVS_CHANNEL_SECTION_LEN_MIN &&
	       layout->section_len % PAGE_LEN == 0 && layout->sections_at % PAGE_LEN == 0 &&
	       layout->sections_at >= IVS_CHANNEL_LAYOUT_LEN && layout->sections_at <= len &&
	       layout->section_len <= (len - layout->sections_at) / layout->sections_n;
}

static bool are_zero(const uint64_t *words, unsigned int from)
{
	for (unsigned int i = from; i < WORDS_N; i++) {
		if (ivs_shared_load(&words[i]))
			return false;
	}
	return true;
}

/* The version is written first, and the letters last, perhaps between any two loads here. */
static int what_without_letters(const uint64_t *words)
{
	uint64_t first;

	if (are_zero(words, WORD_LETTERS))
		return IVS_CHANNEL_LAYOUT_E_EMPTY;
	first = ivs_shared_load(&words[WORD_LETTERS]);
	if ((!first || first == letters()) &&
	    ivs_shared_load(&words[WORD_VERSION]) == version_word(IVS_CHANNEL_LAYOUT_VERSION) &&
	    are_zero(words, USED_N))
		return IVS_CHANNEL_LAYOUT_E_UNFINISHED;
	return IVS_CHANNEL_LAYOUT_E_FOREIGN;
}

int ivs_channel_layout_read(const void *memory, uint64_t len, struct ivs_channel_layout *out)
{
	const uint64_t *words = memory;
	struct ivs_channel_layout layout;
	uint64_t copy[USED_N];

	if (len < IVS_CHANNEL_LAYOUT_LEN)
		return IVS_CHANNEL_LAYOUT_E_FOREIGN;
	if (ivs_shared_load(&words[WORD_LETTERS]) != letters())
		return what_without_letters(words);
	for (unsigned int i = WORD_VERSION; i < USED_N; i++)
		copy[i] = ivs_shared_load(&words[i]);
	layout = (struct ivs_channel_layout){
		.version = (uint32_t)copy[WORD_VERSION],
		.sections_n = (uint32_t)copy[WORD_SECTIONS],
		.sections_at = copy[WORD_AT],
		.section_len = copy[WORD_LEN],
	};
	out->version = layout.version;
	if (layout.version != IVS_CHANNEL_LAYOUT_VERSION)
		return IVS_CHANNEL_LAYOUT_E_VERSION;
	if (!is_possible(&layout, len))
		return IVS_CHANNEL_LAYOUT_E_DAMAGED;
	*out = layout;
	return 0;
}
