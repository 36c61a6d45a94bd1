// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test grid: call every ioctl with values at and beyond their limits, on read-only and
 * writable files, with valid and invalid pointers. The expected results follow from
 * ivshmem/driver.h. If several errors apply to a row, any of them is accepted.
 */
#include "common.h"

#define N(ARRAY) (sizeof(ARRAY) / sizeof(*(ARRAY)))
#define ERRORS_MAX 4

/*
 * The errors that are accepted as the result of a call. If the list is empty, the call must
 * succeed.
 */
struct expected {
	int errors[ERRORS_MAX];
	unsigned int errors_n;
};

static void may_fail(struct expected *expected, bool fails, int with)
{
	if (fails)
		expected->errors[expected->errors_n++] = with;
}

static const struct mode {
	const char *name;
	int flags;
	int device_fd;
} modes_template[] = {{"O_RDONLY", O_RDONLY, -1}, {"O_RDWR", O_RDWR, -1}};
static struct mode modes[N(modes_template)];

/* Kinds of addresses that are passed as the argument of an ioctl. */
enum place { GOOD, ONLY_READABLE, NULL_POINTER, KERNEL, NOT_CANONICAL, HALF_MAPPED, FORBIDDEN };
static const char *const place_names[] = {"good",	   "read-only page", "NULL",	 "kernel",
					  "not canonical", "half mapped",    "PROT_NONE"};

static char *pages; /* six pages: writable, unmapped, read-only, writable, PROT_NONE, writable */

static void make_pages(void)
{
	pages = mmap(NULL, 6 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	need(pages != MAP_FAILED, "allocate pages");
	need(!munmap(pages + PAGE, PAGE), "unmap a page");
	need(!mprotect(pages + 4 * PAGE, PAGE, PROT_NONE), "protect a page");
}

static void *put(enum place place, const void *argument, size_t len)
{
	char *at;

	switch (place) {
	case NULL_POINTER:
		return NULL;
	case KERNEL:
		return (void *)0xffff888000001000;
	case NOT_CANONICAL:
		return (void *)0x8000000000000000;
	case FORBIDDEN:
		return pages + 4 * PAGE;
	case HALF_MAPPED: /* the argument begins in a mapped page and ends in an unmapped one */
		at = pages + PAGE - len / 2;
		memcpy(at, argument, len / 2);
		return at;
	case ONLY_READABLE:
		at = pages + 2 * PAGE;
		mprotect(at, PAGE, PROT_READ | PROT_WRITE);
		memcpy(at, argument, len);
		mprotect(at, PAGE, PROT_READ);
		return at;
	default:
		return memcpy(pages + 3 * PAGE, argument, len);
	}
}

static bool is_bad(enum place place, unsigned long command)
{
	return place == ONLY_READABLE ? command == IVS_IOC_INFO : place != GOOD;
}

static void row(const struct mode *mode, unsigned long command, const void *argument, size_t len,
		enum place place, struct expected expected, const char *text)
{
	int result;
	int error;
	bool right = false;

	may_fail(&expected, is_bad(place, command), EFAULT);
	result = ioctl(mode->device_fd, command, put(place, argument, len));
	error = result < 0 ? errno : 0;
	for (unsigned int i = 0; i < expected.errors_n; i++)
		right = right || error == expected.errors[i];
	right = right || (!error && !expected.errors_n);
	check(right, "%s %s pointer %s: %s", mode->name, text, place_names[place],
	      error ? strerror(error) : "success");
	if (result >= 0 && command == IVS_IOC_DMABUF)
		close(result);
	if (result >= 0 && command != IVS_IOC_DMABUF && result)
		check(false, "the result is 0, not %d", result);
}

static void grid_info(void)
{
	struct ivs_ioc_info info;

	for (size_t m = 0; m < N(modes); m++) {
		for (enum place place = GOOD; place <= FORBIDDEN; place++) {
			memset(&info, 0x5a, sizeof(info));
			row(&modes[m], IVS_IOC_INFO, &info, sizeof(info), place,
			    (struct expected){}, "INFO");
		}
	}
}

static void grid_ring(void)
{
	static const uint32_t values[] = {0,	 1,	2,	    65534,	65535,
					  65536, 65537, 0x7fffffff, 0x80000000, 0xffffffff};
	char text[80];

	for (size_t m = 0; m < N(modes); m++) {
		for (size_t i = 0; i < N(values) * N(values); i++) {
			struct ivs_ioc_ring ring = {values[i / N(values)], values[i % N(values)]};
			struct expected expected = {};

			may_fail(&expected, ring.peer > 65535 || ring.vector > 65535, EINVAL);
			may_fail(&expected, modes[m].flags == O_RDONLY, EBADF);
			snprintf(text, sizeof(text), "RING peer %#x vector %#x", ring.peer,
				 ring.vector);
			row(&modes[m], IVS_IOC_RING, &ring, sizeof(ring), GOOD, expected, text);
		}
		for (enum place place = ONLY_READABLE; place <= FORBIDDEN; place++) {
			struct ivs_ioc_ring ring = {65535, 65535};
			struct expected expected = {};

			may_fail(&expected, modes[m].flags == O_RDONLY, EBADF);
			row(&modes[m], IVS_IOC_RING, &ring, sizeof(ring), place, expected, "RING");
		}
	}
}

static void grid_eventfd(uint32_t vectors_n)
{
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int pipes[2];
	int closed = dup(event);
	uint32_t vectors[] = {0,   1,	  vectors_n - 1, vectors_n,  vectors_n + 1, 255,
			      256, 65535, 0x7fffffff,	 0x80000000, 0xffffffff};
	char text[80];

	close(closed);
	need(!pipe2(pipes, O_CLOEXEC), "create a pipe");
	const int fds[] = {event,  -1,	 -2,	   INT32_MIN,	      INT32_MAX,
			   closed, 1024, pipes[0], modes[1].device_fd};

	for (size_t i = 0; i < N(vectors) * N(fds) * N(modes); i++) {
		const struct mode *mode = &modes[i / (N(vectors) * N(fds))];
		struct ivs_ioc_eventfd wanted = {vectors[i / N(fds) % N(vectors)], fds[i % N(fds)]};
		struct expected expected = {};

		may_fail(&expected, wanted.vector >= vectors_n, EINVAL);
		may_fail(&expected, wanted.fd == pipes[0] || wanted.fd == modes[1].device_fd,
			 EINVAL);
		may_fail(&expected, wanted.fd < -1, EINVAL); /* only -1 removes an eventfd */
		may_fail(&expected,
			 mode->flags == O_RDONLY || wanted.fd < -1 || wanted.fd == closed ||
				 wanted.fd == 1024 || wanted.fd == INT32_MAX,
			 EBADF);
		snprintf(text, sizeof(text), "EVENTFD vector %#x fd %d (kind %zu)", wanted.vector,
			 wanted.fd, i % N(fds));
		row(mode, IVS_IOC_EVENTFD, &wanted, sizeof(wanted), GOOD, expected, text);
	}
	for (enum place place = ONLY_READABLE; place <= FORBIDDEN; place++) {
		struct ivs_ioc_eventfd wanted = {0, event};
		struct expected expected = {};

		may_fail(&expected, !vectors_n, EINVAL);
		row(&modes[1], IVS_IOC_EVENTFD, &wanted, sizeof(wanted), place, expected,
		    "EVENTFD");
	}
	close(event);
	close(pipes[0]);
	close(pipes[1]);
}

static bool is_range(const struct ivs_ioc_dmabuf *wanted, uint64_t len)
{
	return wanted->len && wanted->offset % PAGE == 0 && wanted->len % PAGE == 0 &&
	       wanted->offset < len && wanted->len <= len - wanted->offset;
}

/* Return: whether the region can have struct pages. */
static bool has_pages(const struct ivs_ioc_info *info)
{
	char path[96];
	char line[160];
	uint64_t begin = 0;
	bool has_zone = false;
	FILE *file = fopen("/proc/zoneinfo", "re");

	while (file && fgets(line, sizeof(line), file))
		has_zone = has_zone || strstr(line, "zone   Device");
	if (file)
		fclose(file);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", info->bdf);
	file = fopen(path, "re");
	for (int i = 0; file && i <= IVS_BAR_MEMORY; i++)
		if (fscanf(file, "%lx %*x %*x", &begin) != 1)
			begin = 1;
	if (file)
		fclose(file);
	return has_zone && (begin | info->memory_len) % (2 << 20) == 0;
}

static bool no_dmabuf;

static struct expected expect_dmabuf(const struct mode *mode, const struct ivs_ioc_dmabuf *wanted,
				     uint64_t len)
{
	struct expected expected = {};

	may_fail(&expected,
		 wanted->reserved || !is_range(wanted, len) || wanted->flags & ~(uint32_t)O_CLOEXEC,
		 EINVAL);
	may_fail(&expected, mode->flags == O_RDONLY, EBADF);
	may_fail(&expected, no_dmabuf, EOPNOTSUPP);
	return expected;
}

static void grid_dmabuf(uint64_t len)
{
	const uint64_t offsets[] = {0,	 1,	     PAGE,	 PAGE + 1, len - PAGE,
				    len, len + PAGE, 1ULL << 42, -PAGE};
	const uint64_t lens[] = {0,	  1,	      PAGE,	  len - PAGE, len,
				 len + 1, len + PAGE, 1ULL << 63, -PAGE};
	const uint32_t flags[] = {0,	     O_CLOEXEC,		 O_WRONLY,
				  O_RDWR,    O_RDWR | O_CLOEXEC, O_CLOEXEC | O_NONBLOCK,
				  0x80000000};
	char text[96];

	for (size_t i = 0; i < N(modes) * N(offsets) * N(lens); i++) {
		const struct mode *mode = &modes[i / (N(offsets) * N(lens))];
		struct ivs_ioc_dmabuf wanted = {.offset = offsets[i / N(lens) % N(offsets)],
						.len = lens[i % N(lens)]};

		wanted.flags = i % 2 ? 0 : O_CLOEXEC;
		snprintf(text, sizeof(text), "DMABUF offset %#llx len %#llx flags %#x",
			 wanted.offset, wanted.len, wanted.flags);
		row(mode, IVS_IOC_DMABUF, &wanted, sizeof(wanted), GOOD,
		    expect_dmabuf(mode, &wanted, len), text);
	}
	for (size_t i = 0; i < N(modes) * N(flags) * 2; i++) {
		const struct mode *mode = &modes[i % N(modes)];
		struct ivs_ioc_dmabuf wanted = {.len = PAGE, .flags = flags[i / 2 % N(flags)]};

		wanted.reserved = i / (2 * N(flags)) ? 0x80000000 : 0;
		snprintf(text, sizeof(text), "DMABUF flags %#x reserved %#x", wanted.flags,
			 wanted.reserved);
		row(mode, IVS_IOC_DMABUF, &wanted, sizeof(wanted), GOOD,
		    expect_dmabuf(mode, &wanted, len), text);
	}
	for (enum place place = ONLY_READABLE; place <= FORBIDDEN; place++)
		row(&modes[1], IVS_IOC_DMABUF, &(struct ivs_ioc_dmabuf){.len = PAGE},
		    sizeof(struct ivs_ioc_dmabuf), place,
		    (struct expected){.errors = {EOPNOTSUPP}, .errors_n = no_dmabuf}, "DMABUF");
}

static void grid_unknown(void)
{
	static const unsigned int directions[] = {_IOC_NONE, _IOC_READ, _IOC_WRITE,
						  _IOC_READ | _IOC_WRITE};
	static const unsigned int sizes[] = {0, 1, 4, 7, 8, 9, 16, 24, 32, 144, 145, 0x3fff};
	static const unsigned long known[] = {IVS_IOC_INFO, IVS_IOC_EVENTFD, IVS_IOC_RING,
					      IVS_IOC_DMABUF};
	char text[64];

	for (unsigned int nr = 0xdf; nr <= 0xe4; nr++) {
		for (size_t i = 0; i < N(directions) * N(sizes); i++) {
			unsigned long command = _IOC(directions[i / N(sizes)], 'v', nr,
						     sizes[i % N(sizes)]);
			bool is_known = false;

			for (size_t k = 0; k < N(known); k++)
				is_known = is_known || command == known[k];
			if (is_known)
				continue;
			snprintf(text, sizeof(text), "command %#lx", command);
			row(&modes[i % 2], command, "", 1, i % 3 ? GOOD : NULL_POINTER,
			    (struct expected){.errors = {ENOTTY, ENOTTY}, .errors_n = 2}, text);
		}
	}
	for (size_t k = 0; k < N(known); k++) {
		snprintf(text, sizeof(text), "command %#lx of another driver", known[k] ^ 0x100);
		row(&modes[1], known[k] ^ 0x100, "", 1, GOOD,
		    (struct expected){.errors = {ENOTTY, ENOTTY}, .errors_n = 2}, text);
	}
}

int suite_grid(int argc, char **argv)
{
	struct ivs_ioc_info info;

	(void)argv;
	for (size_t m = 0; m < N(modes); m++) {
		modes[m] = modes_template[m];
		modes[m].device_fd = open_device(modes[m].flags);
	}
	info = info_of(modes[0].device_fd);
	no_dmabuf = !has_pages(&info);
	note("dma-bufs can be exported: %s", no_dmabuf ? "no" : "yes");
	make_pages();
	grid_info();
	grid_ring();
	grid_eventfd(info.vectors_n);
	grid_dmabuf(info.memory_len);
	grid_unknown();
	for (size_t m = 0; m < N(modes); m++)
		close(modes[m].device_fd);
	return argc != 1;
}
