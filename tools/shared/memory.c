/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * get prints the bytes as they are, so that they can be piped to another program. On a terminal it
 * escapes control characters, because the region is not trusted.
 */
#include "tools/shared/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "tools/shared/guard.h"

#define BLANKS " \t\r\n"
#define CHUNK_LEN 4096
#define HEX_LINE_LEN 32	 /* bytes */
#define DUMP_LINE_LEN 16 /* bytes */

/**
 * struct range - the bytes that a command may access
 * @at:  the first byte
 * @len: the number of bytes from there to the end of the region or of what may be written
 */
struct range {
	bool hex;
	uint8_t *at;
	size_t len;
};

/* Return: whether all pages existed. */
static bool copy_memory(void *to, const void *from, size_t len)
{
	return GUARDED(memcpy(to, from, len));
}

/* Parse an offset or a length, such as 4096, 4K or 0x1000. */
static bool parse_number(const char *text, uint64_t *out)
{
	char *end;

	if (strncmp(text, "0x", 2) != 0)
		return ivs_parse_size(text, out);
	errno = 0;
	*out = strtoull(text + 2, &end, 16);
	return strspn(text + 2, "0123456789abcdefABCDEF") == (size_t)(end - text - 2) && text[2] &&
	       !*end && !errno;
}

/* Parse a place in the region, of which the command may access the first @len bytes. */
static enum outcome parse_place(struct range *range, const struct memory_place *place,
				struct ivs_peer *peer, size_t len)
{
	char why[128];
	uint64_t offset;
	size_t all;
	void *memory = ivs_peer_memory(peer, &all);

	if (!parse_number(place->offset, &offset))
		return report_failure(
			place->offset,
			"not an offset: use a number of bytes, such as 4096, 4K or 0x1000");
	if (offset >= len) {
		snprintf(why, sizeof(why), "not an offset within the %zu bytes that %s", len,
			 len < all ? "put may write (see dump)" : "the region has");
		return report_failure(place->offset, why);
	}
	*range = (struct range){place->hex, (uint8_t *)memory + offset, len - (size_t)offset};
	return OUTCOME_OK;
}

/* Parse the place and the length of what is to be read. */
static enum outcome parse_range(struct range *range, struct ivs_peer *peer,
				const struct memory_place *place, const char *len_text)
{
	enum outcome outcome;
	char why[128];
	uint64_t len;
	size_t all;

	ivs_peer_memory(peer, &all);
	outcome = parse_place(range, place, peer, all);
	if (outcome != OUTCOME_OK)
		return outcome;
	if (!parse_number(len_text, &len))
		return report_failure(
			len_text,
			"not a length: use a number of bytes, such as 4096, 4K or 0x1000");
	if (len > range->len) {
		snprintf(why, sizeof(why), "too long: %zu bytes follow the offset", range->len);
		return report_failure(len_text, why);
	}
	range->len = (size_t)len;
	return OUTCOME_OK;
}

static enum outcome flush_output(void)
{
	if (fflush(stdout) || ferror(stdout))
		return report_failure("cannot print what was read", strerror(errno));
	return OUTCOME_OK;
}

static void print_hex(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++)
		printf("%02x%s", bytes[i], (i + 1) % HEX_LINE_LEN && i + 1 < len ? "" : "\n");
}

static void print_for_terminal(const uint8_t *bytes, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (bytes[i] >= ' ' && bytes[i] < 0x7f && bytes[i] != '\\')
			putchar(bytes[i]);
		else
			printf("\\x%02x", bytes[i]);
	}
}

static enum outcome print_memory(const struct range *range)
{
	bool terminal = isatty(STDOUT_FILENO);
	uint8_t bytes[CHUNK_LEN];

	for (size_t at = 0, n; at < range->len; at += n) {
		n = range->len - at < sizeof(bytes) ? range->len - at : sizeof(bytes);
		if (!copy_memory(bytes, range->at + at, n))
			return report_failure("get", GUARD_LOST);
		if (range->hex)
			print_hex(bytes, n);
		else if (terminal)
			print_for_terminal(bytes, n);
		else
			fwrite(bytes, 1, n, stdout);
		if (ferror(stdout))
			break;
	}
	if (terminal && !range->hex)
		putchar('\n');
	return flush_output();
}

enum outcome memory_get(struct ivs_peer *peer, const struct memory_place *place, const char *len)
{
	struct range range;
	enum outcome outcome = parse_range(&range, peer, place, len);

	return outcome == OUTCOME_OK ? print_memory(&range) : outcome;
}

/* Print a line of a dump: the offset, the bytes as hexadecimal digits, and as ASCII characters. */
static void print_dump_line(uint64_t offset, const uint8_t *bytes, size_t len)
{
	printf("%08" PRIx64, offset);
	for (size_t i = 0; i < DUMP_LINE_LEN; i++) {
		if (i < len)
			printf("%s%02x", i % 8 ? " " : "  ", bytes[i]);
		else
			printf("%s  ", i % 8 ? " " : "  ");
	}
	printf("  |");
	for (size_t i = 0; i < len; i++)
		putchar(bytes[i] >= ' ' && bytes[i] < 0x7f ? bytes[i] : '.');
	puts("|");
}

/* Lines that equal the line before them are replaced with a single "*", as hexdump(1) does. */
enum outcome memory_dump(struct ivs_peer *peer, const struct memory_place *place, const char *len)
{
	uint8_t bytes[DUMP_LINE_LEN];
	uint8_t last[DUMP_LINE_LEN];
	bool repeats = false;
	struct range range;
	uint64_t offset;
	size_t all;
	enum outcome outcome = parse_range(&range, peer, place, len);

	if (outcome != OUTCOME_OK)
		return outcome;
	offset = (uint64_t)(range.at - (uint8_t *)ivs_peer_memory(peer, &all));
	for (size_t at = 0, n; at < range.len && !ferror(stdout); at += n) {
		bool same;

		n = range.len - at < sizeof(bytes) ? range.len - at : sizeof(bytes);
		if (!copy_memory(bytes, range.at + at, n))
			return report_failure("dump", GUARD_LOST);
		same = at && n == sizeof(bytes) && !memcmp(bytes, last, n);
		if (!same)
			print_dump_line(offset + at, bytes, n);
		else if (!repeats)
			puts("*");
		repeats = same;
		memcpy(last, bytes, n);
	}
	printf("%08" PRIx64 "\n", offset + range.len);
	return flush_output();
}

/**
 * struct writer - where put writes next
 * @left:  bytes up to the end of what put may write
 * @half:  the first digit of a byte, if @has_half
 */
struct writer {
	const struct range *range;
	uint8_t *at;
	size_t left;
	bool has_half;
	uint8_t half;
};

/* Convert hexadecimal digits to bytes in place; digits may be separated by blanks. */
static bool convert_hex(struct writer *writer, char *bytes, size_t *len)
{
	static const char digits[] = "00112233445566778899aAbBcCdDeEfF";
	size_t n = 0;

	for (size_t i = 0; i < *len; i++) {
		const char *digit = bytes[i] ? strchr(digits, bytes[i]) : NULL;
		uint8_t value = digit ? (uint8_t)((digit - digits) / 2) : 0;

		if (!digit && bytes[i] && strchr(BLANKS, bytes[i]))
			continue;
		if (!digit)
			return false;
		if (writer->has_half)
			bytes[n++] = (char)(writer->half << 4 | value);
		writer->half = value;
		writer->has_half = !writer->has_half;
	}
	*len = n;
	return true;
}

/*
 * Write the next bytes of the data. @bytes is modified. @last says whether no more bytes
 * follow. If these bytes contain an error, none of them is written.
 */
static enum outcome write_bytes(struct writer *writer, char *bytes, size_t len, bool last)
{
	char why[160];

	if (writer->range->hex && !convert_hex(writer, bytes, &len))
		return report_failure("put -x", "the data is not hexadecimal: use 0-9 and a-f");
	if (writer->has_half && last)
		return report_failure("put -x", "the number of hexadecimal digits is odd");
	if (len > writer->left) {
		snprintf(why, sizeof(why),
			 "the data does not fit: only %zu bytes can be written at this offset, "
			 "and %zu of them have been written",
			 writer->range->len, writer->range->len - writer->left);
		return report_failure("put", why);
	}
	if (!copy_memory(writer->at, bytes, len))
		return report_failure("put", GUARD_LOST);
	writer->at += len;
	writer->left -= len;
	return OUTCOME_OK;
}

static enum outcome write_input(struct writer *writer)
{
	enum outcome outcome = OUTCOME_OK;
	char bytes[CHUNK_LEN];
	ssize_t n;

	do {
		n = read(STDIN_FILENO, bytes, sizeof(bytes));
		if (n < 0 && errno != EINTR)
			return report_failure("cannot read standard input", strerror(errno));
		if (n >= 0)
			outcome = write_bytes(writer, bytes, (size_t)n, !n);
	} while (n && outcome == OUTCOME_OK);
	return outcome;
}

static enum outcome start_writer(struct writer *writer, struct range *range, struct ivs_peer *peer,
				 const struct memory_place *place)
{
	enum outcome outcome = parse_place(range, place, peer, ivs_peer_usable_len(peer));

	if (outcome != OUTCOME_OK)
		return outcome;
	if (!(ivs_peer_caps(peer) & IVS_CAP_WRITE))
		return report_failure("put", ivs_peer_cap_reason(peer, IVS_CAP_WRITE));
	*writer = (struct writer){.range = range, .at = range->at, .left = range->len};
	return OUTCOME_OK;
}

enum outcome memory_put(struct ivs_peer *peer, const struct memory_place *place, char *text)
{
	struct writer writer;
	struct range range;
	enum outcome outcome = start_writer(&writer, &range, peer, place);

	if (outcome != OUTCOME_OK)
		return outcome;
	if (!strcmp(text, "-"))
		return write_input(&writer);
	return write_bytes(&writer, text, strlen(text), true);
}
