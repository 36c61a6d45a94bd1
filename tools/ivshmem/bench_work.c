/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/bench_work.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "tools/shared/guard.h"

#define FILLING 0x5a

/* Make the compiler assume that all memory is used, so that it does not leave out any access. */
#define MEMORY_USED(pointer) __asm__ volatile("" : : "r"(pointer) : "memory")

/** struct memory_work - one operation on one size */
struct memory_work {
	struct bench_memory *memory;
	enum bench_operation operation;
	size_t size;
};

/** struct doorbell_work - ringing, and writing to an eventfd that nobody reads */
struct doorbell_work {
	const struct ivs_doorbell *doorbell;
	int fd;
};

static uint8_t *private_new(size_t len)
{
	void *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (memory == MAP_FAILED)
		return NULL;
	/* The region has pages of the normal size, unless it was created with huge pages. */
	(void)madvise(memory, len, MADV_NOHUGEPAGE);
	/* Otherwise, all pages would be the same page of zeroes. */
	memset(memory, FILLING, len);
	return memory;
}

int bench_memory_init(struct bench_memory *memory, void *part, size_t len)
{
	*memory = (struct bench_memory){.len = len};
	memory->sides[BENCH_REGION] = part;
	memory->sides[BENCH_FLOOR] = private_new(len);
	memory->other = private_new(len);
	if (memory->sides[BENCH_FLOOR] && memory->other)
		return 0;
	bench_memory_deinit(memory);
	return -ENOMEM;
}

void bench_memory_deinit(struct bench_memory *memory)
{
	if (memory->sides[BENCH_FLOOR])
		munmap(memory->sides[BENCH_FLOOR], memory->len);
	if (memory->other)
		munmap(memory->other, memory->len);
	*memory = (struct bench_memory){.len = 0};
}

/* Four sums, so that no addition waits for the one before it. */
static void words_read(const uint8_t *memory, size_t size)
{
	const uint64_t *word = (const uint64_t *)memory;
	uint64_t a = 0;
	uint64_t b = 0;
	uint64_t c = 0;
	uint64_t d = 0;

	for (const uint64_t *end = word + size / sizeof(*word); word < end; word += 4) {
		a += word[0];
		b += word[1];
		c += word[2];
		d += word[3];
	}
	MEMORY_USED(a + b + c + d);
}

static void operation_run(const struct memory_work *work, uint8_t *at, unsigned int times)
{
	for (unsigned int i = 0; i < times; i++) {
		switch (work->operation) {
		case BENCH_COPY_OUT:
			memcpy(work->memory->other, at, work->size);
			break;
		case BENCH_WRITE:
			memset(at, FILLING, work->size);
			break;
		case BENCH_COPY_IN:
			memcpy(at, work->memory->other, work->size);
			break;
		default:
			words_read(at, work->size);
		}
		MEMORY_USED(at);
	}
}

static bool operation_writes(enum bench_operation operation)
{
	return operation == BENCH_WRITE || operation == BENCH_COPY_IN;
}

static int memory_work_run(const void *context, enum bench_side side, unsigned int times)
{
	const struct memory_work *work = context;
	uint8_t *at = work->memory->sides[side];

	if (side == BENCH_REGION && operation_writes(work->operation) &&
	    work->size > work->memory->written_len)
		work->memory->written_len = work->size;
	return GUARDED(operation_run(work, at, times)) ? 0 : BENCH_E_LOST;
}

int bench_memory_run(struct bench_memory *memory, enum bench_operation operation, size_t size,
		     int64_t budget_ns, struct bench_result *out)
{
	const struct memory_work work = {memory, operation, size};

	return bench_rounds_run(&(struct bench_work){memory_work_run, &work}, budget_ns, out);
}

int bench_memory_clear(const struct bench_memory *memory)
{
	uint8_t *part = memory->sides[BENCH_REGION];

	return GUARDED(memset(part, 0, memory->written_len)) ? 0 : BENCH_E_LOST;
}

static int doorbell_work_run(const void *context, enum bench_side side, unsigned int times)
{
	const struct doorbell_work *work = context;
	const uint64_t one = 1;

	for (unsigned int i = 0; i < times; i++) {
		if (side == BENCH_FLOOR && write(work->fd, &one, sizeof(one)) < 0)
			return BENCH_E_RING;
		if (side == BENCH_REGION && ivs_doorbell_ring(work->doorbell))
			return BENCH_E_RING;
	}
	return 0;
}

int bench_doorbell_run(const struct ivs_doorbell *doorbell, int64_t budget_ns,
		       struct bench_result *out)
{
	IVS_OWNED_FD fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	const struct doorbell_work work = {doorbell, fd};

	if (fd < 0)
		return -errno;
	return bench_rounds_run(&(struct bench_work){doorbell_work_run, &work}, budget_ns, out);
}
