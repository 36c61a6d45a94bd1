/* SPDX-License-Identifier: BSD-3-Clause */
/* A library preloaded into a program that runs under faults.c: allocations fail on request. */
#include <dlfcn.h>
#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "faults.h"

#define EXPORT __attribute__((visibility("default")))

/* glibc's own allocation functions, by their internal names. */
void *__libc_malloc(size_t len);
void *__libc_calloc(size_t n, size_t len);
void *__libc_realloc(void *old, size_t len);

EXPORT void *malloc(size_t len);
EXPORT void *calloc(size_t n, size_t len);
EXPORT void *realloc(void *old, size_t len);
EXPORT void *reallocarray(void *old, size_t n, size_t len);

/*
 * libseccomp (2.5.4) silently loses rules when an allocation fails, and the server is then killed
 * by its own filter. That is safe and not a fault of the server, so allocations of libseccomp never
 * fail.
 */
static int is_spared(const void *caller)
{
	Dl_info info;

	return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "libseccomp");
}

static int fails(const void *caller)
{
	int saved = errno;
	int failed;

	if (is_spared(caller))
		return 0;
	failed = syscall(SYS_write, FAULTS_MALLOC_FD, NULL, 0) < 0 && errno == ENOMEM;
	if (!failed)
		errno = saved;
	return failed;
}

#define CALLER __builtin_return_address(0)

void *malloc(size_t len)
{
	return fails(CALLER) ? NULL : __libc_malloc(len);
}

void *calloc(size_t n, size_t len)
{
	return fails(CALLER) ? NULL : __libc_calloc(n, len);
}

void *realloc(void *old, size_t len)
{
	return fails(CALLER) ? NULL : __libc_realloc(old, len);
}

void *reallocarray(void *old, size_t n, size_t len)
{
	size_t all;

	if (__builtin_mul_overflow(n, len, &all)) {
		errno = ENOMEM;
		return NULL;
	}
	return fails(CALLER) ? NULL : __libc_realloc(old, all);
}
