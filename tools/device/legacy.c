/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/device/legacy.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/parse.h"

#define WORD_MAX 300
#define DEFAULT_SIZE (UINT64_C(4) << 20)
#define MAX_SIZE_32BIT (UINT64_C(2) << 30)

static int bad_value(const char *key, const char *value, const char *fix, struct ivs_error *err)
{
	return ivs_error_set(err, 1, "%s=%s: %s", key, value, fix);
}

/* As with QEMU's device, a number without a unit is in MiB. */
static int take_size(struct legacy *legacy, const char *value, struct ivs_error *err)
{
	uint64_t size;

	if (!value[strspn(value, "0123456789")])
		size = ivs_parse_uint(value, 1, UINT64_MAX >> 20, &size) ? size << 20 : 0;
	else if (!ivs_parse_size(value, &size))
		size = 0;
	if (!ivs_is_power_of_two(size))
		return bad_value("size", value,
				 "use a power of two with K, M, G or T, such as 4M (a plain number "
				 "is in MiB)",
				 err);
	legacy->size = size;
	return 0;
}

static int take_text(char *out, size_t out_len, const char *key, const char *value,
		     struct ivs_error *err)
{
	if (!*value || strlen(value) >= out_len)
		return bad_value(key, value, "it is empty or too long", err);
	strcpy(out, value);
	return 0;
}

static int take_switch(bool *out, const char *key, const char *value, struct ivs_error *err)
{
	if (!strcmp(value, "on") || !strcmp(value, "yes") || !strcmp(value, "1"))
		*out = true;
	else if (!strcmp(value, "off") || !strcmp(value, "no") || !strcmp(value, "0"))
		*out = false;
	else
		return bad_value(key, value, "use on or off", err);
	return 0;
}

static int take_vectors(struct legacy *legacy, const char *value, struct ivs_error *err)
{
	uint64_t n;

	if (!ivs_parse_uint(value, 1, IVS_MSIX_VECTORS_MAX, &n))
		return bad_value("vectors", value, "use 1 to 2048", err);
	legacy->vectors_n = (unsigned int)n;
	return 0;
}

static int take_role(struct legacy *legacy, const char *value, struct ivs_error *err)
{
	if (!strcmp(value, "peer"))
		legacy->role = IVS_DEVICE_PEER;
	else if (!strcmp(value, "master"))
		legacy->role = IVS_DEVICE_MASTER;
	else
		return bad_value("role", value, "use peer or master", err);
	return 0;
}

static int take_pair(struct legacy *legacy, const char *key, const char *value,
		     struct ivs_error *err)
{
	if (!strcmp(key, "size"))
		return take_size(legacy, value, err);
	if (!strcmp(key, "shm"))
		return take_text(legacy->shm, sizeof(legacy->shm), key, value, err);
	if (!strcmp(key, "chardev"))
		return take_text(legacy->chardev, sizeof(legacy->chardev), key, value, err);
	if (!strcmp(key, "vectors"))
		return take_vectors(legacy, value, err);
	if (!strcmp(key, "role"))
		return take_role(legacy, value, err);
	if (!strcmp(key, "msi"))
		return take_switch(&legacy->msi, key, value, err);
	if (!strcmp(key, "ioeventfd"))
		return take_switch(&legacy->ioeventfd, key, value, err);
	if (!strcmp(key, "use64"))
		return take_switch(&legacy->use64, key, value, err);
	if (!strcmp(key, "x-memdev"))
		return ivs_error_set(err, 1,
				     "x-memdev=%s names an object in QEMU: use --region file:PATH "
				     "with the path of that object instead of --legacy",
				     value);
	if (!strcmp(key, "id") || !strcmp(key, "bus") || !strcmp(key, "addr") ||
	    !strcmp(key, "multifunction"))
		return ivs_error_set(err, 1, "%s=%s is an option of the VMM: pass it to the VMM",
				     key, value);
	if (strchr(key, ' '))
		return ivs_error_set(err, 1, "unknown option \"%s\": omit the spaces", key);
	return ivs_error_set(err, 1,
			     "unknown option %s: use size, shm, chardev, vectors, msi, ioeventfd, "
			     "use64 or role",
			     key);
}

/*
 * Handle KEY=VALUE or KEY alone. KEY alone means KEY=on, and is an error for size, shm and chardev.
 */
static int take_word(struct legacy *legacy, char *word, struct ivs_error *err)
{
	char *equals = strchr(word, '=');

	if (!equals && !strcmp(word, "size"))
		return ivs_error_set(err, 1, "size has no value: use size=4M");
	if (!equals && (!strcmp(word, "shm") || !strcmp(word, "chardev")))
		return ivs_error_set(err, 1, "%s has no value: use shm=NAME or chardev=PATH", word);
	if (!equals)
		return take_pair(legacy, word, "on", err);
	*equals = 0;
	return take_pair(legacy, word, equals + 1, err);
}

static int check_legacy(const struct legacy *legacy, struct ivs_error *err)
{
	if (!*legacy->shm && !*legacy->chardev)
		return ivs_error_set(
			err, 1,
			"it needs shm=NAME, or chardev=PATH with the path of a server's socket");
	if (*legacy->chardev && !strchr(legacy->chardev, '/'))
		return ivs_error_set(err, 1,
				     "chardev=%s: use the path of a server's socket; if this "
				     "is one, use ./%s",
				     legacy->chardev, legacy->chardev);
	if (!strncmp(legacy->chardev, "unix:", 5))
		return ivs_error_set(err, 1, "chardev=%s: omit \"unix:\"", legacy->chardev);
	if (*legacy->shm && *legacy->chardev)
		return ivs_error_set(err, 1, "it has both shm=%s and chardev=%s: use one of them",
				     legacy->shm, legacy->chardev);
	if (legacy->ioeventfd && !legacy->msi)
		return ivs_error_set(err, 1, "ioeventfd=on needs msi=on");
	if (!legacy->use64 && legacy->size > MAX_SIZE_32BIT)
		return ivs_error_set(err, 1, "use64=0 needs a size= of at most 2G");
	return 0;
}

/* A word ends at a comma. As in all options of QEMU, two commas stand for a comma in the word. */
static const char *next_word(const char *text, char word[WORD_MAX], struct ivs_error *err)
{
	size_t len = 0;

	for (; *text && (*text != ',' || text[1] == ','); text++) {
		text += *text == ',';
		if (len == WORD_MAX - 1) {
			ivs_error_set(err, 1, "the option \"%.20s...\" is too long", word);
			return NULL;
		}
		word[len++] = *text;
		word[len] = 0;
	}
	word[len] = 0;
	return *text ? text + 1 : text;
}

int legacy_parse(const char *text, struct legacy *out, struct ivs_error *err)
{
	static const char device[] = "ivshmem,";
	char word[WORD_MAX];
	int result = 0;

	*out = (struct legacy){
		.size = DEFAULT_SIZE,
		.vectors_n = 1,
		.msi = true,
		.use64 = true,
		.role = IVS_DEVICE_AUTO,
	};
	if (!strncmp(text, device, sizeof(device) - 1))
		text += sizeof(device) - 1;
	while (*text && !result) {
		text = next_word(text, word, err);
		result = text ? take_word(out, word, err) : 1;
		if (result)
			return result;
	}
	return check_legacy(out, err);
}
