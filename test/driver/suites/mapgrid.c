// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test mapgrid: call mmap(2) for each kind of object with different offsets, lengths,
 * protections and flags. Each case is one combination of kind, offset, length and open mode, and
 * tries all protections and flags. The expected results follow from ivshmem/driver.h and mmap(2).
 * If several errors apply, any of them is accepted.
 */
#include "common.h"

#include <sys/statvfs.h>
#include <sys/syscall.h>

#define N(ARRAY) (sizeof(ARRAY) / sizeof(*(ARRAY)))

static const struct {
	const char *name;
	uint64_t at;
} kinds[] = {
	{"memory", IVS_MMAP_MEMORY},	    {"memory WC", IVS_MMAP_MEMORY_WC},
	{"registers", IVS_MMAP_REGISTERS},  {"status", IVS_MMAP_STATUS},
	{"kind 4", 4ULL << IVS_MMAP_SHIFT}, {"kind 2^20", 1ULL << 62},
};

static const struct {
	const char *name;
	int prot;
} prots[] = {
	{"---", PROT_NONE},
	{"r--", PROT_READ},
	{"-w-", PROT_WRITE},
	{"rw-", PROT_READ | PROT_WRITE},
	{"r-x", PROT_READ | PROT_EXEC},
	{"rwx", PROT_READ | PROT_WRITE | PROT_EXEC},
};

static const struct {
	const char *name;
	int flags;
} flag_sets[] = {
	{"shared", MAP_SHARED},
	{"private", MAP_PRIVATE},
	{"validate", MAP_SHARED_VALIDATE},
	{"populate", MAP_SHARED | MAP_POPULATE},
	{"private populate", MAP_PRIVATE | MAP_POPULATE},
	{"locked", MAP_SHARED | MAP_LOCKED},
};

/* Arguments of one mmap() call. */
struct
try {
	size_t kind;
	uint64_t offset; /* bytes from the start of the object */
	uint64_t len;
	int mode;
	int prot;
	int flags;
};

static struct ivs_ioc_info info;
static bool noexec;

static uint64_t bytes_of(size_t kind)
{
	switch (kinds[kind].at) {
	case IVS_MMAP_MEMORY:
	case IVS_MMAP_MEMORY_WC:
		return info.memory_len;
	case IVS_MMAP_REGISTERS:
		return info.flags & IVS_INFO_REGISTERS ? PAGE : 0;
	case IVS_MMAP_STATUS:
		return PAGE;
	}
	return 0;
}

static bool is_private(int flags)
{
	return (flags & MAP_TYPE) == MAP_PRIVATE;
}

/* Return: whether the result is one of the applicable errors, or success if no error applies. */
static bool is_right(const struct try *try, int error)
{
	uint64_t len = (try->len + PAGE - 1) / PAGE * PAGE;
	uint64_t bytes = bytes_of(try->kind);
	bool writes = try->prot & PROT_WRITE;
	const struct {
		bool wrong;
		int error;
	} rules[] = {
		{!try->len || try->offset % PAGE, EINVAL},
		{len > 1ULL << 46, ENOMEM},
		{len > 1ULL << 62, EOVERFLOW},
		{len > 1ULL << 42 || try->offset + len > 1ULL << 42, EINVAL},
		{!bytes || try->offset >= 1ULL << 42, ENXIO},
		{try->offset >= bytes || len > bytes - try->offset, EINVAL},
		{is_private(try->flags), EINVAL},
		/* A writable private mapping may exceed the commit limit. */
		{is_private(try->flags) && writes, ENOMEM},
		{writes && !is_private(try->flags) && try->mode == O_RDONLY, EACCES},
		{kinds[try->kind].at == IVS_MMAP_REGISTERS && try->mode == O_RDONLY, EACCES},
		{kinds[try->kind].at == IVS_MMAP_STATUS && writes, EACCES},
		{noexec && try->prot & PROT_EXEC, EPERM},
	};
	bool succeeds = true;

	for (size_t i = 0; i < N(rules); i++) {
		if (!rules[i].wrong)
			continue;
		succeeds = false;
		if (error == rules[i].error)
			return true;
	}
	return succeeds && !error;
}

/* Use the raw system call, because libc's mmap() checks the offset. Return: errno, or 0 */
static int call(const struct try *try, int fd)
{
	long at = syscall(SYS_mmap, NULL, try->len, try->prot, try->flags, fd,
			  kinds[try->kind].at + try->offset);

	if (at == -1)
		return errno;
	/* Touch the page, unless it contains registers, whose reads have side effects. */
	if (try->prot & PROT_READ && kinds[try->kind].at != IVS_MMAP_REGISTERS)
		(void)*(volatile char *)at;
	munmap((void *)at, try->len);
	return 0;
}

static void try_all(struct try try, int fd, const char *offset, const char *len)
{
	unsigned int calls_n = 0;
	unsigned int wrong_n = 0;

	for (size_t i = 0; i < N(prots) * N(flag_sets); i++) {
		int error;

		try.prot = prots[i / N(flag_sets)].prot;
		try.flags = flag_sets[i % N(flag_sets)].flags;
		error = call(&try, fd);
		calls_n++;
		if (is_right(&try, error))
			continue;
		wrong_n++;
		note("%s %s: %s", prots[i / N(flag_sets)].name, flag_sets[i % N(flag_sets)].name,
		     error ? strerror(error) : "success");
	}
	check(!wrong_n, "%s, offset %s, length %s, %s: %u calls", kinds[try.kind].name, offset, len,
	      try.mode == O_RDONLY ? "O_RDONLY" : "O_RDWR", calls_n);
}

int suite_mapgrid(int argc, char **argv)
{
	const int modes[] = {O_RDONLY, O_RDWR};
	struct statvfs where;

	(void)argv;
	noexec = !statvfs("/dev", &where) && where.f_flag & ST_NOEXEC;
	for (size_t m = 0; m < N(modes); m++) {
		int fd = open_device(modes[m]);

		info = info_of(fd);
		const struct {
			const char *name;
			uint64_t value;
		} offsets[] = {{"0", 0},
			       {"1", 1},
			       {"page", PAGE},
			       {"len-page", info.memory_len - PAGE},
			       {"len", info.memory_len},
			       {"len+page", info.memory_len + PAGE},
			       {"2^42-page", (1ULL << 42) - PAGE}},
		  lens[] = {{"0", 0},
			    {"1", 1},
			    {"page", PAGE},
			    {"len", info.memory_len},
			    {"len+page", info.memory_len + PAGE},
			    {"2^42", 1ULL << 42},
			    {"-page", -PAGE}};

		for (size_t i = 0; i < N(kinds) * N(offsets) * N(lens); i++) {
			size_t o = i / N(lens) % N(offsets);
			size_t l = i % N(lens);

			try_all((struct try){.kind = i / (N(offsets) * N(lens)),
					     .offset = offsets[o].value,
					     .len = lens[l].value,
					     .mode = modes[m]},
				fd, offsets[o].name, lens[l].name);
		}
		check(info_of(fd).memory_type == IVS_MEMORY_NONE, "no mapping is left");
		close(fd);
	}
	return argc != 1;
}
