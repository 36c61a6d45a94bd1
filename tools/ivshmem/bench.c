/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command bench: what the memory and the doorbells of an address cost here. Other programs use
 * the region, so it is only read, and mapped read-only, unless --overwrite says otherwise; and
 * this peer rings nobody but itself.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/parse.h"
#include "ivshmem/registers.h"
#include "tools/ivshmem/bench_print.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/signals.h"
#include "tools/ivshmem/target.h"
#include "tools/shared/guard.h"

#define SIZE_UNIT 64 /* bytes; also the alignment of the part that is measured */
#define SIZE_MAX_DEFAULT ((size_t)64 << 20)
#define MEMORY_SHARE 8 /* by default, private memory takes at most two of these shares */
#define SECONDS_MAX 3600
#define NO_VECTOR UINT_MAX

/**
 * struct bench - the command line, and the memory in use
 * @sizes:     the sizes to measure, in the given order
 * @vector:    own vector to ring; NO_VECTOR: not given
 * @time_ms:   how long to measure, about
 * @overwrite: the part of the region may be overwritten
 */
struct bench {
	struct target target;
	size_t sizes[BENCH_SIZES_MAX];
	unsigned int sizes_n;
	uint64_t offset;
	uint64_t len;
	unsigned int vector;
	int time_ms;
	bool overwrite;
	struct bench_memory memory;
	struct bench_report report;
};

/* Return: 0, or an exit status after printing the reason. */
static int take_bytes(const char *what, const char *value, uint64_t min, uint64_t *out)
{
	if (ivs_parse_size(value, out) && *out >= min && *out % SIZE_UNIT == 0)
		return 0;
	return usage_error(what, value, "use a multiple of 64, such as 4096 or 4K");
}

static int take_size(struct bench *bench, const char *value)
{
	uint64_t size;
	int status = take_bytes("invalid size", value, SIZE_UNIT, &size);

	if (status)
		return status;
	if (bench->sizes_n == BENCH_SIZES_MAX)
		return usage_error("surplus size", value, "at most 16 sizes can be measured");
	bench->sizes[bench->sizes_n++] = (size_t)size;
	return 0;
}

static int take_option(void *context, int option, const char *value)
{
	struct bench *bench = context;
	uint64_t number;

	switch (option) {
	case 's':
		return take_size(bench, value);
	case 'o':
		return take_bytes("invalid offset", value, 0, &bench->offset);
	case 'l':
		return take_bytes("invalid length", value, SIZE_UNIT, &bench->len);
	case 'w':
		bench->overwrite = true;
		return 0;
	case 'v':
		if (!ivs_parse_uint(value, 0, IVS_VECTOR_MAX, &number))
			return usage_error("invalid vector", value, "use 0 to 65535");
		bench->vector = (unsigned int)number;
		return 0;
	case 't':
		if (!ivs_parse_uint(value, 0, SECONDS_MAX, &number))
			return usage_error("invalid time", value,
					   "use a number of seconds from 0 to 3600");
		bench->time_ms = (int)number * 1000;
		return 0;
	default:
		return target_json_option(&bench->target, option);
	}
}

static int take_operand(void *context, char *value)
{
	struct bench *bench = context;

	return target_operand(&bench->target, value);
}

static int bench_parse(struct bench *bench, int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem bench ADDRESS [OPTION]...\n"
		"\n"
		"Measures how fast the region is for this program, and what a doorbell costs,\n"
		"and compares that with private memory and an eventfd. Says so if the memory is\n"
		"uncached, and what to do about it. The region is only read, unless --overwrite\n"
		"is given; this peer rings only itself.\n"
		"\n"
		"  -s, --size SIZE        measure only this size; can be repeated\n"
		"  -o, --offset OFFSET    where the measured part of the region begins (0)\n"
		"  -l, --length LEN       length of this part (up to the end)\n"
		"  -w, --overwrite        also measure writes; at the end, what was measured is\n"
		"                         full of zeroes\n"
		"  -v, --vector V         own vector to ring (0); with the guest driver, "
		"doorbells\n"
		"                         are measured only if it is given\n"
		"  -t, --time SECONDS     how long to measure, about (3); 0: measure everything "
		"once\n" TARGET_JSON_HELP "\n" TARGET_ADDRESSES "\n"
		"Example: in a guest\n"
		"  ivshmem bench pci:\n";
	static const struct option options[] = {
		{"size", required_argument, NULL, 's'},
		{"offset", required_argument, NULL, 'o'},
		{"length", required_argument, NULL, 'l'},
		{"overwrite", no_argument, NULL, 'w'},
		{"vector", required_argument, NULL, 'v'},
		{"time", required_argument, NULL, 't'},
		TARGET_JSON_OPTIONS,
		{0},
	};
	static const struct usage usage = {help,	 "s:o:l:wv:t:" TARGET_JSON_LETTERS,
					   options,	 take_option,
					   "see --help", take_operand};

	return usage_parse(&usage, bench, argc, argv);
}

/* Find the part of the region that is measured. Return: 0, or an exit status. */
static int part_find(struct bench *bench, const struct ivs_peer *peer)
{
	uint64_t all = ivs_peer_usable_len(peer);

	if (bench->offset >= all || (bench->len && bench->len > all - bench->offset))
		return usage_failed("%s: --offset %" PRIu64 " and --length %" PRIu64
				    " exceed the %" PRIu64 " bytes that programs may use",
				    bench->target.address, bench->offset, bench->len, all);
	if (!bench->len)
		bench->len = all - bench->offset;
	bench->len -= bench->len % SIZE_UNIT;
	bench->report.offset = (size_t)bench->offset;
	bench->report.len = (size_t)bench->len;
	return 0;
}

/* Choose sizes up to the length of the part, but not so large that memory runs out. */
static void sizes_choose(struct bench *bench)
{
	static const size_t sizes[] = {64, 4096, 64 << 10, 1 << 20, 16 << 20, SIZE_MAX_DEFAULT};
	size_t most = (size_t)sysconf(_SC_PHYS_PAGES) * (size_t)sysconf(_SC_PAGESIZE);

	most /= MEMORY_SHARE;
	for (unsigned int i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		if (sizes[i] < bench->len && sizes[i] <= most)
			bench->sizes[bench->sizes_n++] = sizes[i];
	}
	if (bench->len <= SIZE_MAX_DEFAULT && bench->len <= most)
		bench->sizes[bench->sizes_n++] = (size_t)bench->len;
}

/* Return: 0, or an exit status after printing the reason. */
static int memory_prepare(struct bench *bench, const struct ivs_peer *peer)
{
	uint8_t *region = ivs_peer_memory(peer, NULL);
	char size[IVS_SIZE_TEXT_LEN];
	char len[IVS_SIZE_TEXT_LEN];
	size_t largest = 0;

	if (!bench->sizes_n)
		sizes_choose(bench);
	for (unsigned int i = 0; i < bench->sizes_n; i++)
		largest = bench->sizes[i] > largest ? bench->sizes[i] : largest;
	ivs_size_text(largest, size);
	if (largest > bench->len)
		return usage_failed("%s: --size %s exceeds the %s of the region that are measured",
				    bench->target.address, size, ivs_size_text(bench->len, len));
	if (bench_memory_init(&bench->memory, region + bench->offset, largest))
		return usage_failed("not enough memory for two copies of %s: use a smaller --size",
				    size);
	return 0;
}

/* Return: 0, or STATUS_FAILED after printing why writes cannot be measured. */
static int check_writable(const struct bench *bench, const struct ivs_peer *peer)
{
	const char *why = bench->overwrite ? ivs_peer_cap_reason(peer, IVS_CAP_WRITE) : NULL;

	return why ? usage_failed("%s: --overwrite: %s", bench->target.address, why) : 0;
}

/* Return: why this peer does not ring itself, or NULL. */
static const char *doorbell_missing(const struct bench *bench, const struct ivs_peer *peer)
{
	const char *why = ivs_peer_cap_reason(peer, IVS_CAP_RING);
	bool waits = ivs_peer_caps(peer) & IVS_CAP_WAIT;

	if (why)
		return why;
	if (!strcmp(ivs_peer_transport(peer), "driver") && bench->vector == NO_VECTOR)
		return "programs in this guest that use the same device would be woken: if they "
		       "can stand that, give the number of a vector (--vector 0)";
	/* Over sysfs, the vectors cannot be waited for, but they exist. */
	if (!waits && strcmp(ivs_peer_transport(peer), "sysfs") != 0)
		return ivs_peer_cap_reason(peer, IVS_CAP_WAIT);
	return NULL;
}

/* Return: 0, or an exit status after printing that --vector is wrong. */
static int check_vector(const struct bench *bench, const struct ivs_peer *peer)
{
	unsigned int n = ivs_peer_vectors(peer);

	if (bench->vector == NO_VECTOR || bench->vector < n || !n)
		return 0;
	return usage_failed("this peer has no vector %u: use 0 to %u", bench->vector, n - 1);
}

/* Return: 0, or enum bench_error. */
static int rows_measure(struct bench *bench, int64_t budget_ns)
{
	struct bench_report *report = &bench->report;
	enum bench_operation end = bench->overwrite ? BENCH_OPERATIONS_N : BENCH_WRITE;
	int result = 0;

	for (unsigned int operation = 0; operation < end && !result; operation++) {
		for (unsigned int i = 0; i < bench->sizes_n && !result; i++) {
			struct bench_row *row = &report->rows[report->rows_n];

			row->operation = operation;
			row->size = bench->sizes[i];
			result = bench_memory_run(&bench->memory, operation, row->size, budget_ns,
						  &row->result);
			report->rows_n += !result;
		}
	}
	return result;
}

/* Ring this peer itself, if that is possible. Return: 0, or enum bench_error. */
static int doorbell_measure(struct bench *bench, struct ivs_peer *peer, int64_t budget_ns)
{
	struct bench_report *report = &bench->report;
	struct ivs_doorbell *doorbell;
	int result;

	report->why_no_doorbell = doorbell_missing(bench, peer);
	if (report->why_no_doorbell)
		return 0;
	report->vector = bench->vector == NO_VECTOR ? 0 : bench->vector;
	result = ivs_doorbell_new(peer, (unsigned int)ivs_peer_id(peer), report->vector, &doorbell);
	if (result) {
		report->why_no_doorbell = ivs_peer_strerror(result);
		return 0;
	}
	result = bench_doorbell_run(doorbell, budget_ns, &report->doorbell);
	ivs_doorbell_free(doorbell);
	if (result)
		report->why_no_doorbell = result == BENCH_E_STOPPED ? "interrupted"
					  : result == BENCH_E_RING  ? "ringing has failed"
								    : strerror(-result);
	return result == BENCH_E_STOPPED ? result : 0;
}

/* Return: 0, or an exit status after printing the reason. */
static int bench_measure(struct bench *bench, struct ivs_peer *peer)
{
	unsigned int operations_n = bench->overwrite ? BENCH_OPERATIONS_N : BENCH_WRITE;
	int64_t budget_ns = bench->time_ms * (int64_t)IVS_NS_PER_MS /
			    (bench->sizes_n * operations_n + 1);
	int result;

	bench->report.why_no_doorbell = "interrupted";
	progress_start("measuring");
	result = rows_measure(bench, budget_ns);
	if (!result)
		result = doorbell_measure(bench, peer, budget_ns);
	/* A signal may have arrived before the first write: then the content must stay. */
	if (bench->memory.written_len && result != BENCH_E_LOST &&
	    bench_memory_clear(&bench->memory))
		result = BENCH_E_LOST;
	progress_end();
	if (result == BENCH_E_LOST)
		return usage_failed("%s: " GUARD_LOST, bench->target.address);
	bench->report.complete = !result;
	return 0;
}

static int bench_report(struct bench *bench, struct ivs_peer *peer)
{
	struct bench_report *report = &bench->report;

	report->address = bench->target.address;
	report->peer = peer;
	report->overwrite = bench->overwrite;
	report->overwritten = bench->memory.written_len != 0;
	return bench->target.json ? bench_print_json(report) : bench_print(report);
}

static int run_bench(int argc, char **argv)
{
	static struct bench bench = {.vector = NO_VECTOR, .time_ms = 3000};
	struct ivs_peer *peer;
	int status = bench_parse(&bench, argc, argv);

	if (!status)
		status = target_open(&bench.target, !bench.overwrite, &peer);
	if (status)
		return status < 0 ? 0 : status;
	signals_stop_peer(peer);
	status = check_writable(&bench, peer);
	if (!status)
		status = check_vector(&bench, peer);
	if (!status)
		status = part_find(&bench, peer);
	if (!status)
		status = memory_prepare(&bench, peer);
	if (!status)
		status = bench_measure(&bench, peer);
	if (!status)
		status = bench_report(&bench, peer);
	bench_memory_deinit(&bench.memory);
	signals_forget_peer();
	ivs_peer_close(peer);
	signals_end();
	return status;
}

const struct command command_bench = {"bench", "measure the memory and the doorbells of an address",
				      run_bench};
