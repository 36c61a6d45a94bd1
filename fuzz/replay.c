/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Run a fuzz target without a fuzzer, and so with any compiler, on files and directories, or with
 * --random N [SEED] on generated inputs. A target can generate its own. The default inputs suit
 * codec.c: sessions that are mostly valid but for a defect, as noise never gets past the greeting.
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/**
 * fuzz_make_input() - write an input of at most @max bytes that depends only on @seed
 *
 * Optional: a target may define it. Return: the length.
 */
__attribute__((weak)) size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define INPUT_MAX 4096
#define FD 0x10

static unsigned long inputs_n;

/* splitmix64 */
static uint64_t rng_next(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static unsigned int rng_below(uint64_t *rng, unsigned int n)
{
	return (unsigned int)((rng_next(rng) >> 32) * n >> 32);
}

/* Write a number as one record or two. Return: the length. */
static size_t put_number(uint64_t *rng, uint8_t *out, int64_t value, bool fd)
{
	size_t len = 0, cut = rng_below(rng, 4) ? 8 : 1 + rng_below(rng, 7);

	out[len++] = (uint8_t)(cut | (fd ? FD : 0));
	for (unsigned int i = 0; i < 8; i++) {
		if (i == cut) {
			/* Rarely, an fd arrives in the middle, which is invalid. */
			out[len++] = (uint8_t)((8 - cut) | (rng_below(rng, 40) ? 0 : FD));
		}
		out[len++] = (uint8_t)((uint64_t)value >> (8 * i));
	}
	return len;
}

static int64_t pick_number(uint64_t *rng)
{
	static const int64_t odd[] = {-1, -2, 65535, 65536, INT64_MIN, INT64_MAX, 1 << 24, 1};

	if (rng_below(rng, 60) == 0)
		return odd[rng_below(rng, sizeof(odd) / sizeof(odd[0]))];
	return rng_below(rng, rng_below(rng, 2) ? 4 : 65536);
}

static size_t make_input(uint64_t *rng, uint8_t out[INPUT_MAX])
{
	unsigned int messages_n = rng_below(rng, 40);
	size_t len = 0;

	if (rng_below(rng, 20) == 0) {
		len = rng_below(rng, 200);
		for (size_t i = 0; i < len; i++)
			out[i] = (uint8_t)rng_next(rng);
		return len;
	}
	len += put_number(rng, out + len, rng_below(rng, 50) ? 0 : pick_number(rng), false);
	len += put_number(rng, out + len, pick_number(rng), rng_below(rng, 50) == 0);
	len += put_number(rng, out + len, rng_below(rng, 50) ? -1 : pick_number(rng),
			  rng_below(rng, 50) != 0);
	for (unsigned int i = 0; i < messages_n; i++)
		len += put_number(rng, out + len, pick_number(rng), rng_below(rng, 3) != 0);
	/* Sometimes change one byte, or truncate the input. */
	if (rng_below(rng, 3) == 0)
		out[rng_below(rng, (unsigned int)len)] = (uint8_t)rng_next(rng);
	if (rng_below(rng, 3) == 0)
		len = rng_below(rng, (unsigned int)len + 1);
	return len;
}

static void run_random(unsigned long n, uint64_t seed)
{
	/* Each input depends on the seed and on its number, i. */
	for (unsigned long i = 0; i < n; i++, inputs_n++) {
		static uint8_t input[INPUT_MAX];
		uint64_t rng = seed * 0x9e3779b97f4a7c15u ^ i * 0xd1342543de82ef95u;
		size_t len = fuzz_make_input ? fuzz_make_input(rng, input, INPUT_MAX)
					     : make_input(&rng, input);
		/* A copy of the exact length lets ASan and valgrind detect reads beyond it. */
		uint8_t *exact = malloc(len ? len : 1);

		if (!exact)
			abort();
		memcpy(exact, input, len);
		LLVMFuzzerTestOneInput(exact, len);
		free(exact);
	}
}

static int run_file(const char *path, size_t size)
{
	FILE *file = fopen(path, "rb");
	uint8_t *data = malloc(size ? size : 1);
	int rc = -1;

	if (file && data && fread(data, 1, size, file) == size) {
		LLVMFuzzerTestOneInput(data, size);
		inputs_n++;
		rc = 0;
	} else {
		perror(path);
	}
	if (file)
		fclose(file);
	free(data);
	return rc;
}

static int run_path(const char *path)
{
	struct stat st;
	DIR *dir;
	int rc = 0;

	if (stat(path, &st) != 0) {
		perror(path);
		return -1;
	}
	if (!S_ISDIR(st.st_mode))
		return run_file(path, (size_t)st.st_size);
	dir = opendir(path);
	if (!dir) {
		perror(path);
		return -1;
	}
	for (const struct dirent *entry; (entry = readdir(dir));) {
		char inner[4096];

		if (entry->d_name[0] == '.')
			continue;
		snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
		if (run_path(inner) != 0)
			rc = -1;
	}
	closedir(dir);
	return rc;
}

static bool parse_number(const char *text, unsigned long *n)
{
	char *end;

	errno = 0;
	*n = strtoul(text, &end, 10);
	return !errno && end != text && *end == '\0';
}

int main(int argc, char **argv)
{
	int rc = 0;

	if (argc >= 2 && strcmp(argv[1], "--random") == 0) {
		unsigned long n, seed = 1;

		if (argc < 3 || argc > 4 || !parse_number(argv[2], &n) ||
		    (argc == 4 && !parse_number(argv[3], &seed))) {
			fprintf(stderr, "usage: %s --random N [SEED]\n", argv[0]);
			return 2;
		}
		run_random(n, seed);
	} else {
		for (int i = 1; i < argc; i++)
			rc |= run_path(argv[i]);
	}
	printf("%lu inputs\n", inputs_n);
	return rc == 0 && inputs_n > 0 ? 0 : 1;
}
