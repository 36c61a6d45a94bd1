/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The bytes are written as they are, so that they can be piped to another program, except to a
 * terminal: the region is not trusted, and control characters would reach the terminal.
 */
#include "tools/client/memory.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/parse.h"
#include "tools/shared/usage.h"

#define USE_GET "use get [-x] OFFSET LEN"
#define USE_PUT "use put [-x] OFFSET TEXT, or put [-x] OFFSET - for standard input"
#define LOST "a process has truncated the region: these pages do not exist any more"
#define BLANKS " \t\r\n"
#define CHUNK_LEN 4096
#define HEX_LINE_LEN 32 /* bytes */

/**
 * struct command - a command, parsed
 * @at:   the first byte
 * @room: the number of bytes from there to the end of what the command may access
 * @rest: the command's last argument
 */
struct command {
	bool hex;
	uint8_t *at;
	size_t room;
	char *rest;
};

/* Global, because a signal handler has no argument for it. */
static struct {
	volatile sig_atomic_t copying;
	sigjmp_buf lost;
} guard;

static void handle_lost_page(int signo)
{
	static const char text[] = PROGRAM ": the region: " LOST "\n";

	(void)signo;
	if (guard.copying)
		siglongjmp(guard.lost, 1);
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(STATUS_FAILED + 1);
	_exit(STATUS_FAILED);
}

void memory_start(void)
{
	struct sigaction action = {.sa_handler = handle_lost_page};

	sigemptyset(&action.sa_mask);
	sigaction(SIGBUS, &action, NULL);
}

/* Return: whether all pages existed. */
static bool copy_memory(void *to, const void *from, size_t len)
{
	bool exists = !sigsetjmp(guard.lost, 1);

	if (exists) {
		guard.copying = true;
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
		memcpy(to, from, len);
		__atomic_signal_fence(__ATOMIC_SEQ_CST);
	}
	guard.copying = false;
	return exists;
}

/* Take the next word from *@rest. Then *@rest is what follows the blank after the word. */
static char *take_word(char **rest)
{
	char *word = *rest + strspn(*rest, BLANKS);
	size_t len = strcspn(word, BLANKS);

	*rest = word + len + (word[len] != '\0');
	word[len] = '\0';
	return word;
}

/* An offset or a length: 4096, 4K or 0x1000. */
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

/* Parse "[-x] OFFSET" in @rest; the command may access the first @len bytes of the region. */
static enum outcome parse_offset(struct command *command, char *rest, struct ivs_peer *peer,
				 size_t len, const char *use)
{
	char *word = take_word(&rest);
	char why[128];
	uint64_t offset;
	size_t all;
	void *memory = ivs_peer_memory(peer, &all);

	command->hex = !strcmp(word, "-x");
	if (command->hex)
		word = take_word(&rest);
	if (!*word)
		return report_failure("no OFFSET", use);
	if (!parse_number(word, &offset))
		return report_failure(word, "not an offset: use bytes, such as 4096, 4K or 0x1000");
	if (offset >= len) {
		snprintf(why, sizeof(why), "not an offset within the %zu bytes that %s", len,
			 len < all ? "put may write (see dump)" : "the region has");
		return report_failure(word, why);
	}
	command->at = (uint8_t *)memory + offset;
	command->room = len - (size_t)offset;
	command->rest = rest;
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

static enum outcome print_memory(const struct command *command, size_t len)
{
	bool terminal = isatty(STDOUT_FILENO);
	uint8_t bytes[CHUNK_LEN];

	for (size_t at = 0, n; at < len; at += n) {
		n = len - at < sizeof(bytes) ? len - at : sizeof(bytes);
		if (!copy_memory(bytes, command->at + at, n))
			return report_failure("get", LOST);
		if (command->hex)
			print_hex(bytes, n);
		else if (terminal)
			print_for_terminal(bytes, n);
		else
			fwrite(bytes, 1, n, stdout);
		if (ferror(stdout))
			break;
	}
	if (terminal && !command->hex)
		putchar('\n');
	if (fflush(stdout) || ferror(stdout))
		return report_failure("cannot print what get has read", strerror(errno));
	return OUTCOME_OK;
}

static enum outcome command_get(struct ivs_peer *peer, char *rest)
{
	struct command command;
	enum outcome outcome;
	char why[128];
	uint64_t len;
	size_t all;
	char *word;

	ivs_peer_memory(peer, &all);
	outcome = parse_offset(&command, rest, peer, all, USE_GET);
	if (outcome != OUTCOME_OK)
		return outcome;
	word = take_word(&command.rest);
	if (!*word || command.rest[strspn(command.rest, BLANKS)])
		return report_failure("get", USE_GET);
	if (!parse_number(word, &len))
		return report_failure(word, "not a length: use bytes, such as 4096, 4K or 0x1000");
	if (len > command.room) {
		snprintf(why, sizeof(why), "too long: %zu bytes follow the offset", command.room);
		return report_failure(word, why);
	}
	return print_memory(&command, (size_t)len);
}

/**
 * struct writer - where put writes next
 * @left:  bytes up to the end of what put may write
 * @half:  the first digit of a byte, if @has_half
 */
struct writer {
	const struct command *command;
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
 * Write the next bytes of the data. @bytes is modified. @last: no more follow. Nothing is written
 * if there is a mistake in these bytes.
 */
static enum outcome write_bytes(struct writer *writer, char *bytes, size_t len, bool last)
{
	char why[160];

	if (writer->command->hex && !convert_hex(writer, bytes, &len))
		return report_failure("put -x", "the data is not hexadecimal: use 0-9 and a-f");
	if (writer->has_half && last)
		return report_failure("put -x", "the number of hexadecimal digits is odd");
	if (len > writer->left) {
		snprintf(why, sizeof(why),
			 "the data does not fit: %zu bytes can be written from the offset, of "
			 "which %zu have been",
			 writer->command->room, writer->command->room - writer->left);
		return report_failure("put", why);
	}
	if (!copy_memory(writer->at, bytes, len))
		return report_failure("put", LOST);
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

static enum outcome command_put(struct ivs_peer *peer, char *rest, bool input_taken)
{
	struct command command;
	enum outcome outcome = parse_offset(&command, rest, peer, ivs_peer_usable_len(peer),
					    USE_PUT);
	struct writer writer = {.command = &command};

	if (outcome != OUTCOME_OK)
		return outcome;
	if (!(ivs_peer_caps(peer) & IVS_CAP_WRITE))
		return report_failure("put", ivs_peer_cap_reason(peer, IVS_CAP_WRITE));
	writer.at = command.at;
	writer.left = command.room;
	if (!*command.rest)
		return report_failure("put", USE_PUT);
	if (strcmp(command.rest, "-") != 0)
		return write_bytes(&writer, command.rest, strlen(command.rest), true);
	if (input_taken)
		return report_failure("put", "standard input has the commands: use -c 'put ...'");
	return write_input(&writer);
}

bool memory_is_command(const char *text)
{
	size_t len;

	text += strspn(text, BLANKS);
	len = strcspn(text, BLANKS);
	return len == 3 && (!strncmp(text, "get", len) || !strncmp(text, "put", len));
}

enum outcome memory_run(struct ivs_peer *peer, char *line, bool input_taken)
{
	if (!strcmp(take_word(&line), "get"))
		return command_get(peer, line);
	return command_put(peer, line, input_taken);
}
