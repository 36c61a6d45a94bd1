/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A peer on the command line: prints doorbells, joins and leaves, and rings other peers. It takes
 * the options of QEMU's ivshmem-client.
 */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/parse.h"
#include "ivshmem/peer.h"
#include "ivshmem/registers.h"
#include "region/watch.h"
#include "tools/shared/dump.h"
#include "tools/shared/guard.h"
#include "tools/shared/memory.h"
#include "tools/shared/outcome.h"
#include "tools/shared/ring.h"
#include "tools/shared/usage.h"

#define PROGRAM "ivshmem-client"
#define DEFAULT_ADDRESS "unix:/tmp/ivshmem_socket"
#define COMMANDS_MAX 64
#define WORDS_MAX 4
#define LINE_LEN 256
#define OPTION_ANY_FILE_SYSTEM 256 /* has no short form */
#define OPTION_READ_ONLY 257	   /* has no short form */
#define USE_GET "use get [-x] OFFSET LEN"
#define USE_PUT "use put [-x] OFFSET TEXT, or put [-x] OFFSET - for standard input"
#define BLANKS " \t\r\n"
#define EVENTS_MAX 1024 /* upper bound on the events taken between two commands */

struct settings {
	char address[4096];
	const char *commands[COMMANDS_MAX];
	unsigned int commands_n;
	bool verbose;
	bool read_only;
	struct ivs_peer_options options;
};

static const char help_text[] =
	"usage: " PROGRAM " [OPTION]...\n"
	"\n"
	"Joins a region as a peer, prints the doorbells it receives, and rings other peers.\n"
	"\n"
	"  -S, --socket PATH      the server's socket (/tmp/ivshmem_socket)\n"
	"  -a, --address ADDRESS  another transport: unix:PATH, shm:NAME, file:PATH, pci:BDF,\n"
	"                         /dev/ivshmemN\n"
	"  -c, --command COMMAND  run the command and exit; may be repeated\n"
	"      --any-file-system  accept a region that is neither memory nor on a local disk\n"
	"      --read-only        map the region for reading only; read permission for its file\n"
	"                         is enough\n"
	"  -v, --verbose          also print this peer's id, joins, leaves, and doorbells sent\n"
	"  -V, --version          print the version and exit\n"
	"  -h, --help             print this help and exit\n"
	"\n"
	"Without -c, commands are read from standard input; \"help\" lists them.\n"
	"\n"
	"Example: ring vector 1 of peer 0\n"
	"  " PROGRAM " -S /run/ivshmem.sock -c 'int 0 1'\n";

static const char commands_text[] =
	"help               print this list\n"
	"dump               print the transport, its capabilities, the region and the peers\n"
	"int PEER VECTOR    ring one vector of a peer\n"
	"int PEER all       ring all vectors of a peer\n"
	"int all            ring all vectors of all other peers\n"
	"get OFFSET LEN     print bytes of the region (get -x: as hexadecimal digits)\n"
	"put OFFSET TEXT    write into the region (put -x: TEXT is hexadecimal digits)\n"
	"put OFFSET -       write standard input into the region (only with -c)\n"
	"quit               exit\n";

/* Cut off the first word of *@rest, and set *@rest to the text after the blank that ends it. */
static char *take_word(char **rest)
{
	char *word = *rest + strspn(*rest, BLANKS);
	size_t len = strcspn(word, BLANKS);

	*rest = word + len + (word[len] != '\0');
	word[len] = '\0';
	return word;
}

static enum outcome command_int(struct ivs_peer *peer, const struct settings *settings,
				char **words, unsigned int words_n)
{
	if (words_n != 3 && !(words_n == 2 && !strcmp(words[1], "all")))
		return report_failure("int", "use int PEER VECTOR, int PEER all or int all");
	return ring_by_text(peer, words[1], words[2], settings->verbose);
}

/* Run "get [-x] OFFSET LEN" or "put [-x] OFFSET TEXT", where TEXT is the rest of the line. */
static enum outcome command_memory(struct ivs_peer *peer, char *line, bool input_taken)
{
	bool put = !strcmp(take_word(&line), "put");
	const char *use = put ? USE_PUT : USE_GET;
	struct memory_place place = {.offset = take_word(&line)};
	char *len;

	place.hex = !strcmp(place.offset, "-x");
	if (place.hex)
		place.offset = take_word(&line);
	if (!*place.offset)
		return report_failure("no OFFSET", use);
	if (put && !strcmp(line, "-") && input_taken)
		return report_failure("put",
				      "commands are read from standard input: use -c 'put ...'");
	if (put)
		return *line ? memory_put(peer, &place, line) : report_failure("put", use);
	len = take_word(&line);
	if (!*len || line[strspn(line, BLANKS)])
		return report_failure("get", use);
	return memory_get(peer, &place, len);
}

static bool is_memory_command(const char *text)
{
	size_t len;

	text += strspn(text, BLANKS);
	len = strcspn(text, BLANKS);
	return len == 3 && (!strncmp(text, "get", len) || !strncmp(text, "put", len));
}

static enum outcome command_help(struct ivs_peer *peer)
{
	(void)peer;
	fputs(commands_text, stdout);
	return OUTCOME_OK;
}

static enum outcome command_quit(struct ivs_peer *peer)
{
	(void)peer;
	return OUTCOME_QUIT;
}

/* Commands that take no arguments. */
static const struct {
	const char *name;
	enum outcome (*run)(struct ivs_peer *peer);
} commands[] = {
	{"help", command_help},
	{"?", command_help},
	{"dump", dump_peer},
	{"quit", command_quit},
};

static enum outcome run_command(struct ivs_peer *peer, const struct settings *settings,
				const char *text)
{
	char *words[WORDS_MAX] = {0};
	unsigned int words_n = 0;
	char line[LINE_LEN];
	char *rest = line;
	char *word;

	if (strlen(text) >= sizeof(line))
		return report_failure("command", "too long");
	strcpy(line, text);
	if (is_memory_command(line))
		return command_memory(peer, line, !settings->commands_n);
	while (words_n < WORDS_MAX && (word = strsep(&rest, BLANKS)))
		if (*word)
			words[words_n++] = word;
	if (!words_n || *words[0] == '#')
		return OUTCOME_OK;
	if (!strcmp(words[0], "int"))
		return command_int(peer, settings, words, words_n);
	for (unsigned int i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		if (strcmp(words[0], commands[i].name) != 0)
			continue;
		if (words_n > 1)
			return report_failure(words[0], "takes no arguments");
		return commands[i].run(peer);
	}
	return report_failure(words[0], "unknown command: try help");
}

static void report_region(const struct ivs_peer *peer)
{
	unsigned int changes = ivs_peer_region_changes(peer);

	for (unsigned int i = 0; i < IVS_REGION_CHANGES_N; i++) {
		if (changes & 1U << i)
			fprintf(stderr, PROGRAM ": the region: %s\n", ivs_region_change_text(i));
	}
	if (!changes)
		fprintf(stderr, PROGRAM ": the region has its original name and size again\n");
}

static void print_event(const struct ivs_peer *peer, const struct settings *settings,
			const struct ivs_event *event)
{
	switch (event->type) {
	case IVS_EVENT_DOORBELL:
		printf("doorbell on vector %u\n", event->vector);
		break;
	case IVS_EVENT_JOIN:
		if (settings->verbose)
			printf("peer %u joined with %u vectors\n", event->id, event->vectors_n);
		break;
	case IVS_EVENT_LEAVE:
		if (settings->verbose)
			printf("peer %u left\n", event->id);
		break;
	case IVS_EVENT_REGION:
		report_region(peer);
		break;
	case IVS_EVENT_SERVER_LOST:
		fprintf(stderr, PROGRAM ": the server is gone; known doorbells continue to work\n");
		break;
	}
}

/* Take and print pending events, at most EVENTS_MAX. */
static enum outcome take_events(struct ivs_peer *peer, const struct settings *settings)
{
	struct ivs_event event;
	int result = 0;

	if (ivs_peer_fd(peer) < 0)
		return OUTCOME_OK;
	for (unsigned int i = 0; i < EVENTS_MAX && !result; i++) {
		result = ivs_peer_next(peer, 0, &event);
		if (!result)
			print_event(peer, settings, &event);
	}
	if (result == IVS_PEER_E_DEVICE_GONE)
		return report_failure(settings->address, ivs_peer_strerror(result));
	if (result < 0 && result != -EINTR)
		return report_failure("cannot take events", ivs_peer_strerror(result));
	return OUTCOME_OK;
}

static enum outcome run_commands(struct ivs_peer *peer, const struct settings *settings)
{
	enum outcome outcome = take_events(peer, settings);

	for (unsigned int i = 0; i < settings->commands_n && outcome == OUTCOME_OK; i++)
		outcome = run_command(peer, settings, settings->commands[i]);
	return outcome;
}

static void print_prompt(void)
{
	if (isatty(STDIN_FILENO))
		fputs("cmd> ", stdout);
}

/*
 * A buffer for the lines of standard input. stdio is not used, because poll(2) does not report data
 * that stdio has buffered. A line that is too long is one error, not several commands.
 */
struct input {
	char bytes[LINE_LEN];
	size_t len;
	bool ended;
	bool skipping; /* dropping the rest of a line that is too long */
};

enum line { LINE_NONE, LINE_TAKEN, LINE_TOO_LONG };

static void input_fill(struct input *input)
{
	ssize_t n = read(STDIN_FILENO, input->bytes + input->len,
			 sizeof(input->bytes) - 1 - input->len);

	if (n > 0)
		input->len += (size_t)n;
	else if (n == 0 || errno != EINTR)
		input->ended = true;
}

static void input_drop(struct input *input, size_t n)
{
	input->len -= n;
	memmove(input->bytes, input->bytes + n, input->len);
}

/* Move the next complete line to @out or, after the end of the input, an incomplete line. */
static enum line input_take_line(struct input *input, char out[LINE_LEN])
{
	char *newline = memchr(input->bytes, '\n', input->len);
	size_t len = newline ? (size_t)(newline - input->bytes) : input->len;

	if (input->skipping && newline) {
		input->skipping = false;
		input_drop(input, len + 1);
		return input_take_line(input, out);
	}
	if (input->skipping || (!newline && input->len == sizeof(input->bytes) - 1)) {
		bool first = !input->skipping;

		input->skipping = true;
		input->len = 0;
		return first ? LINE_TOO_LONG : LINE_NONE;
	}
	if (!newline && !(input->ended && input->len))
		return LINE_NONE;
	memcpy(out, input->bytes, len);
	out[len] = 0;
	input_drop(input, newline ? len + 1 : len);
	return LINE_TAKEN;
}

static enum outcome run_input(struct ivs_peer *peer, const struct settings *settings,
			      struct input *input, bool *failed)
{
	char text[LINE_LEN];
	enum outcome outcome;
	enum line line;

	input_fill(input);
	/* Take events first, so that commands know the peers that have joined. */
	outcome = take_events(peer, settings);
	while (outcome == OUTCOME_OK && (line = input_take_line(input, text)) != LINE_NONE) {
		outcome = line == LINE_TAKEN ? run_command(peer, settings, text)
					     : report_failure("command", "too long");
		if (outcome == OUTCOME_FAILED) {
			*failed = true;
			outcome = OUTCOME_OK;
		}
		print_prompt();
	}
	return outcome;
}

static enum outcome run_interactive(struct ivs_peer *peer, const struct settings *settings)
{
	struct pollfd pfds[] = {
		{.fd = STDIN_FILENO, .events = POLLIN},
		{.fd = ivs_peer_fd(peer), .events = POLLIN},
	};
	struct input input = {0};
	enum outcome outcome = OUTCOME_OK;
	bool failed = false;

	print_prompt();
	while (outcome == OUTCOME_OK && !input.ended) {
		fflush(stdout);
		if (poll(pfds, 2, -1) < 0 && errno != EINTR)
			return report_failure("cannot poll", strerror(errno));
		if (pfds[1].revents)
			outcome = take_events(peer, settings);
		if (outcome == OUTCOME_OK && pfds[0].revents)
			outcome = run_input(peer, settings, &input, &failed);
	}
	/* A failed command makes a script fail, but not an interactive session. */
	return outcome == OUTCOME_FAILED || (failed && !isatty(STDIN_FILENO)) ? OUTCOME_FAILED
									      : OUTCOME_OK;
}

static int set_address(struct settings *settings, const char *prefix, const char *value)
{
	int len = snprintf(settings->address, sizeof(settings->address), "%s%s", prefix, value);

	if (len < (int)sizeof(settings->address))
		return 0;
	fprintf(stderr, PROGRAM ": the address has %d bytes; at most %zu fit\n", len,
		sizeof(settings->address) - 1);
	return STATUS_USAGE;
}

/* Return: 0 or an exit status. */
static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;

	switch (option) {
	case 'S':
		return set_address(settings, "unix:", value);
	case 'a':
		return set_address(settings, "", value);
	case 'v':
		settings->verbose = true;
		return 0;
	case OPTION_ANY_FILE_SYSTEM:
		settings->options.any_file_system = true;
		return 0;
	case OPTION_READ_ONLY:
		settings->read_only = true;
		return 0;
	case 'c':
		if (settings->commands_n == COMMANDS_MAX) {
			fprintf(stderr, PROGRAM ": more than %d commands: use standard input\n",
				COMMANDS_MAX);
			return STATUS_USAGE;
		}
		settings->commands[settings->commands_n++] = value;
		return 0;
	default:
		fprintf(stderr, "Try \"" PROGRAM " --help\".\n");
		return STATUS_USAGE;
	}
}

/* Return: 0, -1 after --help or --version, or an exit status. */
static int parse_arguments(struct settings *settings, int argc, char **argv)
{
	static const struct option options[] = {
		{"socket", required_argument, NULL, 'S'},
		{"address", required_argument, NULL, 'a'},
		{"command", required_argument, NULL, 'c'},
		{"any-file-system", no_argument, NULL, OPTION_ANY_FILE_SYSTEM},
		{"read-only", no_argument, NULL, OPTION_READ_ONLY},
		{"verbose", no_argument, NULL, 'v'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	static const struct usage usage = {help_text, "S:a:c:vVh", options, take_option,
					   "put commands after -c"};

	return usage_parse(&usage, settings, argc, argv);
}

/* Once this line has been printed, the peer receives doorbells. */
static void print_opened(const struct ivs_peer *peer)
{
	char size[IVS_SIZE_TEXT_LEN];
	size_t len;

	ivs_peer_memory(peer, &len);
	printf("peer %d through %s: %u vectors, region %s\n", ivs_peer_id(peer),
	       ivs_peer_transport(peer), ivs_peer_vectors(peer), ivs_size_text(len, size));
}

static int open_peer(const struct settings *settings, struct ivs_peer **peer, struct ivs_error *err)
{
	if (settings->read_only)
		return ivs_peer_open_read_only(settings->address, &settings->options, peer, err);
	return ivs_peer_open(settings->address, &settings->options, peer, err);
}

int main(int argc, char **argv)
{
	static struct settings settings = {.address = DEFAULT_ADDRESS};
	struct ivs_peer *peer;
	struct ivs_error err;
	enum outcome outcome;
	int status;

	if (usage_start(PROGRAM))
		return STATUS_FAILED;
	status = parse_arguments(&settings, argc, argv);
	if (status)
		return status < 0 ? 0 : status;
	setvbuf(stdout, NULL, _IOLBF, 0);
	guard_start();
	if (open_peer(&settings, &peer, &err)) {
		fprintf(stderr, PROGRAM ": %s\n", err.text);
		return STATUS_FAILED;
	}
	if (settings.verbose)
		print_opened(peer);
	outcome = settings.commands_n ? run_commands(peer, &settings)
				      : run_interactive(peer, &settings);
	ivs_peer_close(peer);
	return outcome == OUTCOME_FAILED ? STATUS_FAILED : 0;
}
