// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test dmabuf pages    run all tests, because the region can have struct pages
 * driver-test dmabuf none     check that exports fail, because the region cannot have struct pages
 * driver-test dmabuf bounce   check that imports fail, because they would use bounce buffers
 * driver-test dmabuf over ROUNDS
 *                             the host replaces a device whose dma-buf is open with a larger one
 *                             that begins at a lower address
 */
#include "common.h"

#include "../modules/ivs_import.h"

#define MANY 1000

static int fd; /* fd of the device node */
static struct ivs_ioc_info info;
static uint64_t memory_at;
static volatile uint32_t *memory;

static int export(uint64_t offset, uint64_t len)
{
	struct ivs_ioc_dmabuf wanted = {.offset = offset, .len = len, .flags = O_CLOEXEC};

	return ioctl(fd, IVS_IOC_DMABUF, &wanted);
}

static int open_importer(void)
{
	int importer = open("/dev/ivs-import", O_RDWR | O_CLOEXEC);

	need(importer >= 0, "/dev/ivs-import");
	return importer;
}

static int import(int importer, int buf, bool peer, struct ivs_import *result)
{
	*result = (struct ivs_import){.dmabuf_fd = buf, .peer = peer};
	return ioctl(importer, IVS_IMPORT_ATTACH, result);
}

static void open_all(void)
{
	fd = open_device(O_RDWR);
	info = info_of(fd);
	memory = map(fd, IVS_MMAP_MEMORY, info.memory_len, PROT_READ | PROT_WRITE);
	need(memory, "the memory can be mapped");
	memory[0] = 0;
	memory_at = physical((void *)memory);
}

static void close_all(void)
{
	munmap((void *)memory, info.memory_len);
	close(fd);
}

/*
 * Export a dma-buf, import it into another device, and check that both devices access the same
 * memory.
 */
static void check_imported(uint64_t offset, uint64_t len, bool peer)
{
	struct ivs_import_word word = {.offset = len - 4};
	int importer = open_importer();
	struct ivs_import imported;
	uint64_t sum = 0;
	bool in_a_row = true;
	int buf = export(offset, len);

	need(buf >= 0, "%#lx bytes at %#lx can be exported", len, offset);
	check(lseek(buf, 0, SEEK_END) == (off_t)len, "%#lx bytes at %#lx: size", len, offset);
	if (!check_errno(0, import(importer, buf, peer, &imported), "import%s",
			 peer ? " with peer-to-peer DMA" : ""))
		return;
	for (uint32_t i = 0; i < imported.pieces_n && i < IVS_IMPORT_PIECES_MAX; i++) {
		in_a_row = in_a_row && imported.at[i] == memory_at + offset + sum;
		sum += imported.len[i];
	}
	check(in_a_row, "import: the %u pieces have successive addresses", imported.pieces_n);
	check(sum == len, "import: the pieces have the right total length");
	check(imported.pages_n == imported.pieces_n, "import: all pieces have struct pages");
	memory[(offset + len) / 4 - 1] = 0xabcd;
	check(!ioctl(importer, IVS_IMPORT_READ, &word) && word.value == 0xabcd,
	      "the importing device reads our data");
	word = (struct ivs_import_word){.offset = 0, .value = 0xef01};
	check(!ioctl(importer, IVS_IMPORT_WRITE, &word) && memory[offset / 4] == 0xef01,
	      "we read the data of the importing device");
	close(buf);
	word.value = 0;
	check(!ioctl(importer, IVS_IMPORT_READ, &word) && word.value == 0xef01,
	      "the import still works after the fd is closed");
	close(importer);
}

/* This test must run before the first export, which reserves the write-back type for the region. */
static void test_write_combining(void)
{
	void *at;

	munmap((void *)memory, info.memory_len);
	at = map(fd, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ);
	need(at, "map write-combining");
	check_errno(EBUSY, export(0, PAGE), "no export while mapped write-combining");
	munmap(at, PAGE);
	memory = map(fd, IVS_MMAP_MEMORY, info.memory_len, PROT_READ | PROT_WRITE);
	need(memory, "the memory can be mapped");
}

static void test_mmap(void)
{
	uint64_t offset = 3 * PAGE;
	int buf = export(offset, 2 * PAGE);
	volatile uint32_t *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);

	need(at != MAP_FAILED, "a dma-buf can be mapped");
	memory[offset / 4] = 0x1357;
	check(at[0] == 0x1357, "dma-buf mapping: first word");
	at[PAGE / 2 - 1] = 0x2468;
	check(memory[(offset + 2 * PAGE) / 4 - 1] == 0x2468, "dma-buf mapping: last word");
	check(!strcmp(cache_type((void *)at), "WB"), "dma-buf mapping: write-back");
	check(physical((void *)at) == memory_at + offset, "dma-buf mapping: physical address");
	check(mmap(NULL, 3 * PAGE, PROT_READ, MAP_SHARED, buf, 0) == MAP_FAILED,
	      "a dma-buf cannot be mapped beyond its length");
	check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, buf, 2 * PAGE) == MAP_FAILED,
	      "a dma-buf cannot be mapped from its end");
	check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, buf, (off_t)IVS_MMAP_REGISTERS) == MAP_FAILED,
	      "the registers cannot be mapped through a dma-buf");
	check(mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, buf, 0) == MAP_FAILED,
	      "a dma-buf cannot be mapped MAP_PRIVATE");
	munmap((void *)memory, info.memory_len);
	check(info_of(fd).memory_type == IVS_MEMORY_WB, "a dma-buf mapping has a memory type");
	check(!map(fd, IVS_MMAP_MEMORY_WC, PAGE, PROT_READ) && errno == EBUSY,
	      "no write-combining while a dma-buf is mapped");
	munmap((void *)at, 2 * PAGE);
	at = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, buf, PAGE);
	check(at != MAP_FAILED && at[PAGE / 4 - 1] == 0x2468, "a part of a dma-buf can be mapped");
	close(buf);
	check(at[PAGE / 4 - 1] == 0x2468, "a mapping outlives its fd");
	munmap((void *)at, PAGE);
	check(info_of(fd).memory_type == IVS_MEMORY_WB,
	      "the kernel keeps the region mapped write-back");
	memory = map(fd, IVS_MMAP_MEMORY, info.memory_len, PROT_READ | PROT_WRITE);
	need(memory, "the memory can be mapped");
}

static long references(void)
{
	char line[64] = "";
	FILE *file = fopen("/sys/module/ivshmem/refcnt", "re");

	if (file && !fgets(line, sizeof(line), file))
		strcpy(line, "-1");
	if (file)
		fclose(file);
	return atol(line);
}

struct rest {
	long references;
	long free_kib;
};

static bool nothing_left(void *data)
{
	const struct rest *before = data;

	return references() == before->references &&
	       number_in("/proc/meminfo", "MemFree") >= before->free_kib - 1024;
}

static void export_often(int times)
{
	int failed_n = 0;

	for (int i = 0; i < times; i++) {
		int buf = export((uint64_t)(i % 16) * PAGE, PAGE);

		failed_n += buf < 0;
		close(buf);
	}
	check(!failed_n, "%d consecutive exports", times);
}

static void test_many(void)
{
	struct rest before;

	export_often(10);
	usleep(QUIET_MS * 1000);
	before = (struct rest){references(), number_in("/proc/meminfo", "MemFree")};
	export_often(MANY);
	check(eventually(nothing_left, &before), "no leak: %ld references, %ld KiB", references(),
	      number_in("/proc/meminfo", "MemFree") - before.free_kib);
}

static bool can_export(void *unused)
{
	int buf = export(0, PAGE);

	(void)unused;
	if (buf >= 0)
		close(buf);
	return buf >= 0;
}

/*
 * Unbind and rebind the device while a dma-buf is imported. The importer can still access the
 * memory at its DMA addresses.
 */
static void test_unbind(void)
{
	struct ivs_import_word word = {};
	int importer = open_importer();
	int another = open_importer();
	struct ivs_import imported;
	int buf = export(0, 2 * PAGE);
	volatile uint32_t *at = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);

	need(at != MAP_FAILED && !import(importer, buf, false, &imported),
	     "map and import a dma-buf");
	at[0] = 0x9999;
	close_all();
	need(!write_file(info.bdf, "/sys/bus/pci/drivers/ivshmem/unbind"), "unbind");
	check(!at[0], "unbound: the mapping reads as zeroes");
	check_errno(ENODEV, import(another, buf, false, &imported), "unbound: import fails");
	check(mmap(NULL, PAGE, PROT_READ, MAP_SHARED, buf, 0) == MAP_FAILED && errno == ENODEV,
	      "unbound: mmap fails");
	check(!ioctl(importer, IVS_IMPORT_READ, &word),
	      "unbound: an existing import can access its addresses");
	ioctl(importer, IVS_IMPORT_UNMAP);
	check_errno(ENODEV, ioctl(importer, IVS_IMPORT_MAP),
		    "unbound: an import cannot be mapped again");
	need(!write_file(info.bdf, "/sys/bus/pci/drivers/ivshmem/bind"), "bind");
	need(eventually(is_there, NULL), "the new device appears");
	open_all();
	memory[0] = 0x7777;
	check(!at[0], "the old mapping stays zero");
	check_errno(EBUSY, export(0, PAGE), "no export while dma-bufs of the old device are open");
	munmap((void *)at, PAGE);
	close(buf);
	close(importer);
	close(another);
	check(eventually(can_export, NULL), "export works once those dma-bufs are closed");
}

/*
 * A process that has a dma-buf but has not imported it does not keep the struct pages of an unbound
 * device: the address range can be mapped with another memory type, as drivers of other devices do.
 */
static void test_unbind_unimported(void)
{
	char path[64];
	int buf = export(0, PAGE);
	int resource;
	void *at;

	need(buf >= 0, "export");
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource2", info.bdf);
	close_all();
	need(!write_file(info.bdf, "/sys/bus/pci/drivers/ivshmem/unbind"), "unbind");
	need(!write_file("1", "/sys/bus/pci/devices/%s/enable", info.bdf), "enable");
	resource = open(path, O_RDWR | O_CLOEXEC);
	need(resource >= 0, "%s", path);
	at = map(resource, 0, PAGE, PROT_READ);
	check(at, "unbound, with an open dma-buf: the range can be mapped uncached");
	if (at)
		munmap(at, PAGE);
	close(resource);
	need(!write_file("0", "/sys/bus/pci/devices/%s/enable", info.bdf), "disable");
	need(!write_file(info.bdf, "/sys/bus/pci/drivers/ivshmem/bind"), "bind");
	need(eventually(is_there, NULL), "the new device appears");
	open_all();
	check(can_export(NULL), "export works with an open dma-buf of the old device");
	close(buf);
}

/* Export repeatedly while another process closes an imported dma-buf of the unbound device. */
static void test_export_during_release(void)
{
	int importer = open_importer();
	struct ivs_import imported;
	int64_t until;
	pid_t pid;
	int buf = export(0, PAGE);

	need(!import(importer, buf, false, &imported), "import");
	close_all();
	need(!write_file(info.bdf, "/sys/bus/pci/drivers/ivshmem/unbind"), "unbind");
	need(!write_file(info.bdf, "/sys/bus/pci/drivers/ivshmem/bind"), "bind");
	need(eventually(is_there, NULL), "the new device appears");
	open_all();
	check_errno(EBUSY, export(0, PAGE), "no export while a dma-buf is imported");
	pid = fork();
	need(pid >= 0, "fork");
	close(buf);
	close(importer);
	if (!pid)
		_exit(0); /* closes the last fd of the dma-buf */
	until = now_ms() + TIMEOUT_MS;
	do {
		buf = export(0, PAGE);
	} while (buf < 0 && errno == EBUSY && now_ms() < until);
	check_errno(0, buf, "exports fail only with EBUSY, and only until it is closed");
	close(buf);
	need(waitpid(pid, NULL, 0) == pid, "the other process ends");
}

static void test_all(void)
{
	const uint64_t lens[] = {PAGE, 16 * PAGE, info.memory_len};

	test_write_combining();
	for (int peer = 0; peer < 2; peer++) {
		for (int i = 0; i < 3; i++)
			check_imported(0, lens[i], peer);
		check_imported(info.memory_len - PAGE, PAGE, peer);
		check_imported(5 * PAGE, 7 * PAGE, peer);
	}
	test_mmap();
	test_many();
	test_unbind();
	test_unbind_unimported();
	for (int i = 0; i < 5; i++)
		test_export_during_release();
}

static void test_bounce(uint64_t len)
{
	struct ivs_import imported;
	int importer = open_importer();
	int buf = export(0, len);

	need(buf >= 0, "export");
	for (int peer = 0; peer < 2; peer++)
		check_errno(EOPNOTSUPP, import(importer, buf, peer, &imported),
			    "no import of %#lx bytes through a bounce buffer%s", len,
			    peer ? ", with peer-to-peer DMA" : "");
	close(importer);
	close(buf);
}

/*
 * The host replaces devices 0 and 1 with a larger device 0, at the addresses of both, while a
 * dma-buf of device 1 is open. @is_imported: whether that dma-buf is also imported
 */
static void test_over(bool is_imported)
{
	uint64_t old_at = memory_at;
	int importer = open_importer();
	struct ivs_import imported;
	int buf = export(0, info.memory_len);

	need(buf >= 0, "export");
	need(!is_imported || !import(importer, buf, false, &imported), "import");
	close_all();
	ask("larger");
	device_number = 0;
	need(eventually(is_there, NULL), "the larger device appears");
	open_all();
	check(old_at > memory_at && old_at < memory_at + info.memory_len,
	      "%#lx is within the new region, %#lx", old_at, memory_at);
	for (int i = 0; i < 3 && is_imported; i++)
		check_errno(EBUSY, export(0, PAGE), "no export while the old dma-buf is imported");
	if (is_imported) {
		close(importer);
		close(buf);
	}
	check(can_export(NULL), "export works %s",
	      is_imported ? "once it is closed" : "while it is open but not imported");
	if (!is_imported) {
		close(importer);
		close(buf);
	}
	close_all();
}

static bool are_two(void *unused)
{
	int second = open_number(1, O_RDWR);

	(void)unused;
	if (second >= 0)
		close(second);
	return second >= 0;
}

static void test_over_rounds(int rounds)
{
	for (int i = 0; i < rounds; i++) {
		ask("two");
		need(eventually(are_two, NULL), "two devices appear");
		device_number = 1;
		open_all();
		test_over(i < rounds - 1);
	}
}

int suite_dmabuf(int argc, char **argv)
{
	if (argc < 2)
		return -1;
	if (!strcmp(argv[1], "over") && argc == 3) {
		test_over_rounds(atoi(argv[2]));
		return 0;
	}
	open_all();
	if (!strcmp(argv[1], "pages")) {
		test_all();
	} else if (!strcmp(argv[1], "bounce")) {
		test_bounce(PAGE);
		test_bounce(info.memory_len);
	} else {
		check_errno(EOPNOTSUPP, export(0, PAGE), "this region cannot be exported");
		check_errno(EINVAL, export(1, PAGE), "invalid arguments are reported first");
	}
	close_all();
	return 0;
}
