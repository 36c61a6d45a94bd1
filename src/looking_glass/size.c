/* SPDX-License-Identifier: BSD-3-Clause */
#include "looking_glass/size.h"

#include <string.h>

#include "base/parse.h"

#define MIB (UINT64_C(1) << 20)
#define NUMBER_LEN 24
#define CLIENT_SIZE_MAX (UINT64_C(1) << 30) /* the client keeps the size in an int */

/* B7: two frames of 4 bytes per pixel (8 with HDR), and a part that does not depend on the mode. */
#define B7_FRAMES 2
#define B7_OTHER (10 * MIB)

/* IDD: three frames of 4 bytes per pixel, whose lines begin at multiples of 256 bytes. */
#define IDD_FRAMES 3
#define IDD_STRIDE 256
#define IDD_OTHER (4 * MIB)

/* Parse a side of the resolution, which has @len characters. */
static int parse_side(const char *text, size_t len, uint32_t *out)
{
	char number[NUMBER_LEN] = "";
	uint64_t n = 0;

	if (!len || strspn(text, "0123456789") != len)
		return IVS_LOOKING_GLASS_E_FORMAT;
	while (len > 1 && *text == '0') {
		text++;
		len--;
	}
	if (len >= sizeof(number))
		return IVS_LOOKING_GLASS_E_HUGE;
	memcpy(number, text, len);
	if (!ivs_parse_uint(number, 0, UINT64_MAX, &n) || n > IVS_LOOKING_GLASS_SIDE_MAX)
		return IVS_LOOKING_GLASS_E_HUGE;
	*out = (uint32_t)n;
	return n ? 0 : IVS_LOOKING_GLASS_E_ZERO;
}

int ivs_looking_glass_parse(const char *text, struct ivs_looking_glass_mode *out)
{
	size_t width_len = strspn(text, "0123456789");
	const char *height_text = text + width_len + 1;
	size_t height_len;
	uint32_t width = 0;
	uint32_t height = 0;
	int wrong_width;
	int wrong_height;

	if (text[width_len] != 'x')
		return IVS_LOOKING_GLASS_E_FORMAT;
	height_len = strlen(height_text);
	wrong_width = parse_side(text, width_len, &width);
	wrong_height = parse_side(height_text, height_len, &height);
	if (wrong_height == IVS_LOOKING_GLASS_E_FORMAT)
		return wrong_height;
	if (wrong_width || wrong_height)
		return wrong_width ? wrong_width : wrong_height;
	out->width = width;
	out->height = height;
	return 0;
}

static uint64_t bytes_needed(const struct ivs_looking_glass_mode *mode)
{
	uint64_t line = (uint64_t)mode->width * 4;

	if (mode->release == IVS_LOOKING_GLASS_B7)
		return line * (mode->hdr ? 2 : 1) * mode->height * B7_FRAMES + B7_OTHER;
	line = (line + IDD_STRIDE - 1) / IDD_STRIDE * IDD_STRIDE;
	return line * mode->height * IDD_FRAMES + IDD_OTHER;
}

int ivs_looking_glass_size(const struct ivs_looking_glass_mode *mode, uint64_t *out)
{
	uint64_t size = MIB;

	if (!mode->width || !mode->height)
		return IVS_LOOKING_GLASS_E_ZERO;
	if (mode->width > IVS_LOOKING_GLASS_SIDE_MAX || mode->height > IVS_LOOKING_GLASS_SIDE_MAX)
		return IVS_LOOKING_GLASS_E_HUGE;
	while (size < bytes_needed(mode))
		size *= 2;
	if (size > CLIENT_SIZE_MAX)
		return IVS_LOOKING_GLASS_E_CLIENT;
	*out = size;
	return 0;
}
