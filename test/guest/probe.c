/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * For tests: report on a device and access it, as a guest sees it through sysfs, to compare two
 * implementations.
 *
 *   probe [-d N] report                       all fields, one line "NAME VALUE" per field
 *   probe [-d N] read BAR OFFSET LENGTH       a single access
 *   probe [-d N] write BAR OFFSET LENGTH VALUE
 *   probe [-d N] config OFFSET LENGTH [VALUE]
 *   probe [-d N] bdf                          the PCI address
 *   probe fill PATH OFFSET LENGTH SEED        map the file and write a pattern
 *   probe check PATH OFFSET LENGTH SEED [BASE]  compare with the pattern; file offset 0 is BASE
 *   probe poke PATH OFFSET VALUE              write four bytes
 *
 * N: index of the ivshmem device, in the order of PCI addresses. BAR accesses require that the
 * device has no driver, or the kernel parameter iomem=relaxed.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ivshmem/registers.h"

#define PAGE 4096UL
#define PCI "/sys/bus/pci/devices/"
#define CONFIG_LEN 256
#define COMMAND 0x04
#define STATUS_CAPABILITIES 0x10
#define CAPABILITIES 0x34
#define BARS 6
#define CAP_MSIX 0x11
#define MSIX_ENABLE 0x8000
#define MSIX_MASK 0x4000
#define ENTRY_LEN 16
/* How long to wait for a doorbell to arrive through the host. */
#define WAIT_US 200000

static char device[512];

static _Noreturn void die(const char *what)
{
	printf("probe: %s: %s\n", what, strerror(errno));
	exit(1);
}

static FILE *open_text(const char *dir, const char *name)
{
	char path[1024];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return fopen(path, "re");
}

static unsigned long read_number(const char *dir, const char *name)
{
	FILE *file = open_text(dir, name);
	unsigned long number = 0;

	if (file && fscanf(file, "%li", (long *)&number) != 1)
		number = 0;
	if (file)
		fclose(file);
	return number;
}

/* The names are PCI addresses, so alphasort() sorts the devices by PCI address. */
static void find_device(int wanted)
{
	struct dirent **names;
	int n = scandir(PCI, &names, NULL, alphasort);

	for (int i = 0; i < n; i++) {
		snprintf(device, sizeof(device), PCI "%s", names[i]->d_name);
		if (read_number(device, "vendor") == IVS_PCI_VENDOR &&
		    read_number(device, "device") == IVS_PCI_DEVICE && !wanted--)
			return;
	}
	errno = ENODEV;
	die("no such device");
}

static int open_file(const char *name, int flags)
{
	char path[1024];
	int fd;

	snprintf(path, sizeof(path), "%s/%s", device, name);
	fd = open(path, flags | O_CLOEXEC);
	if (fd < 0)
		die(path);
	return fd;
}

/*
 * If a driver is bound to the device, the driver has already enabled it, and the write fails with
 * EBUSY.
 */
static void enable(void)
{
	int fd = open_file("enable", O_WRONLY);

	if (write(fd, "1", 1) != 1 && errno != EBUSY)
		die("enable");
	close(fd);
}

static uint64_t config_read(unsigned int offset, unsigned int len)
{
	int fd = open_file("config", O_RDONLY);
	uint64_t value = 0;

	if (pread(fd, &value, len, offset) != (ssize_t)len)
		die("config");
	close(fd);
	return value;
}

static void config_write(unsigned int offset, unsigned int len, uint64_t value)
{
	int fd = open_file("config", O_RDWR);

	if (pwrite(fd, &value, len, offset) != (ssize_t)len)
		die("config");
	close(fd);
}

struct bar {
	uint64_t begin;
	uint64_t len;
	uint64_t flags;
};

static struct bar bar_of(unsigned int number)
{
	FILE *file = open_text(device, "resource");
	struct bar bar = {0};
	uint64_t end = 0;

	for (unsigned int i = 0; file && i <= number; i++)
		if (fscanf(file, "%" SCNx64 " %" SCNx64 " %" SCNx64, &bar.begin, &end,
			   &bar.flags) != 3)
			die("resource");
	if (file)
		fclose(file);
	bar.len = end ? end - bar.begin + 1 : 0;
	return bar;
}

/* A small BAR need not start at a page boundary. */
static volatile uint8_t *map_bar(unsigned int number)
{
	const struct bar bar = bar_of(number);
	const size_t in_page = bar.begin % PAGE;
	char name[16];
	char *base;
	int fd;

	snprintf(name, sizeof(name), "resource%u", number);
	fd = open_file(name, O_RDWR);
	base = mmap(NULL, (in_page + bar.len + PAGE - 1) / PAGE * PAGE, PROT_READ | PROT_WRITE,
		    MAP_SHARED, fd, 0);
	if (base == MAP_FAILED)
		die(name);
	close(fd);
	return (volatile uint8_t *)base + in_page;
}

static uint64_t get(volatile uint8_t *at, unsigned int len)
{
	switch (len) {
	case 1:
		return *at;
	case 2:
		return *(volatile uint16_t *)at;
	case 4:
		return *(volatile uint32_t *)at;
	default:
		return *(volatile uint64_t *)at;
	}
}

static void put(volatile uint8_t *at, unsigned int len, uint64_t value)
{
	switch (len) {
	case 1:
		*at = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)at = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)at = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)at = value;
	}
}

/* Report the type 0 header. The addresses in BARs are masked out, because firmware assigns them. */
static void report_header(void)
{
	static const struct {
		const char *name;
		unsigned int offset;
		unsigned int len;
		uint32_t mask;
	} fields[] = {
		{"vendor", 0x00, 2, ~0u},
		{"device", 0x02, 2, ~0u},
		{"command", 0x04, 2, ~0u},
		{"status", 0x06, 2, ~0u},
		{"revision", 0x08, 1, ~0u},
		{"class", 0x09, 3, ~0u},
		{"cache-line", 0x0c, 1, ~0u},
		{"latency", 0x0d, 1, ~0u},
		{"header", 0x0e, 1, ~0u},
		{"bist", 0x0f, 1, ~0u},
		{"bar0", 0x10, 4, 0xf},
		{"bar1", 0x14, 4, 0xf},
		{"bar2", 0x18, 4, 0xf},
		{"bar4", 0x20, 4, ~0u},
		{"bar5", 0x24, 4, ~0u},
		{"cardbus", 0x28, 4, ~0u},
		{"subsystem-vendor", 0x2c, 2, ~0u},
		{"subsystem", 0x2e, 2, ~0u},
		{"rom", 0x30, 4, ~0u},
		{"capabilities", 0x34, 1, ~0u},
		{"reserved-35", 0x35, 3, ~0u},
		{"reserved-38", 0x38, 4, ~0u},
		{"interrupt-line", 0x3c, 1, ~0u},
		{"interrupt-pin", 0x3d, 1, ~0u},
		{"min-grant", 0x3e, 1, ~0u},
		{"max-latency", 0x3f, 1, ~0u},
	};

	for (size_t i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		printf("config.%s %0*" PRIx64 "\n", fields[i].name, (int)fields[i].len * 2,
		       config_read(fields[i].offset, fields[i].len) & fields[i].mask);
}

static unsigned int find_capability(unsigned int id)
{
	unsigned int at = (unsigned int)config_read(CAPABILITIES, 1);

	while (at && config_read(at, 1) != id)
		at = (unsigned int)config_read(at + 1, 1);
	return at;
}

static void report_capabilities(void)
{
	unsigned int at = 0;

	if (config_read(0x06, 2) & STATUS_CAPABILITIES)
		at = (unsigned int)config_read(CAPABILITIES, 1);
	for (unsigned int i = 0; i < 8; i++) {
		printf("capability.%u ", i);
		if (!at) {
			printf("none\n");
			return;
		}
		printf("%02" PRIx64 " at %02x\n", config_read(at, 1), at);
		at = (unsigned int)config_read(at + 1, 1);
	}
}

static void report_rest(void)
{
	for (unsigned int at = 0x40; at < CONFIG_LEN; at += 4)
		printf("config.%02x %08" PRIx64 "\n", at, config_read(at, 4));
}

/*
 * Report which bits are writable. Memory decoding is disabled, because the writes also move BARs.
 */
static void report_writable(void)
{
	const uint64_t command = config_read(COMMAND, 2);
	uint64_t before;
	uint64_t ones;

	config_write(COMMAND, 2, 0);
	for (unsigned int at = 0; at < CONFIG_LEN; at += 4) {
		before = config_read(at, 4);
		config_write(at, 4, 0xffffffff);
		ones = config_read(at, 4);
		config_write(at, 4, 0);
		printf("writable.%02x %08" PRIx64 "\n", at, ones ^ config_read(at, 4));
		config_write(at, 4, before);
	}
	config_write(COMMAND, 2, command);
}

static void report_bars(void)
{
	for (unsigned int i = 0; i <= BARS; i++)
		printf("bar.%u %" PRIu64 " bytes, flags %" PRIx64 "\n", i, bar_of(i).len,
		       bar_of(i).flags);
}

static void report_reads(volatile uint8_t *registers, unsigned int offset)
{
	uint64_t value;

	for (unsigned int len = 1; len <= 8; len *= 2) {
		put(registers + IVS_REG_INTR_MASK, 4, 0x11223344);
		put(registers + IVS_REG_INTR_STATUS, 4, 0x55667788);
		value = get(registers + offset, len);
		printf("read.%02x.%u %" PRIx64 ", then status %" PRIx64 "\n", offset, len, value,
		       get(registers + IVS_REG_INTR_STATUS, 4));
	}
}

/* The written values address peers that do not exist, so no doorbell is delivered. */
static void report_writes(volatile uint8_t *registers, unsigned int offset)
{
	uint64_t mask;
	uint64_t status;

	for (unsigned int len = 1; len <= 8; len *= 2) {
		put(registers + IVS_REG_INTR_MASK, 4, 0);
		put(registers + IVS_REG_INTR_STATUS, 4, 0);
		put(registers + offset, len, 0xf1e2d3c4b5a69788);
		mask = get(registers + IVS_REG_INTR_MASK, 4);
		status = get(registers + IVS_REG_INTR_STATUS, 4);
		printf("write.%02x.%u mask %" PRIx64 ", status %" PRIx64 ", position %" PRIx64 "\n",
		       offset, len, mask, status, get(registers + IVS_REG_IV_POSITION, 4));
	}
}

static void report_registers(volatile uint8_t *registers)
{
	static const unsigned int beyond[] = {0x10, 0x14, 0x18, 0x20, 0x40, 0x80, 0xf0, 0xf8};

	for (unsigned int offset = 0; offset < 16; offset++) {
		report_reads(registers, offset);
		report_writes(registers, offset);
	}
	for (size_t i = 0; i < sizeof(beyond) / sizeof(*beyond); i++) {
		report_reads(registers, beyond[i]);
		report_writes(registers, beyond[i]);
	}
	put(registers + IVS_REG_INTR_MASK, 4, 0);
	get(registers + IVS_REG_INTR_STATUS, 4);
}

static void report_table(volatile uint8_t *table, unsigned int vectors_n)
{
	for (unsigned int at = 0; at <= vectors_n * ENTRY_LEN; at += 4) {
		printf("table.%02x %08" PRIx64, at, get(table + at, 4));
		put(table + at, 4, 0xffffffff);
		printf(", ones %08" PRIx64, get(table + at, 4));
		put(table + at, 4, 0);
		printf(", zeroes %08" PRIx64 "\n", get(table + at, 4));
	}
	put(table, 4, 0x11223344);
	put(table + 4, 4, 0x55667788);
	for (unsigned int len = 1; len <= 8; len *= 2)
		printf("table.read.%u %" PRIx64 "\n", len, get(table, len));
	for (unsigned int len = 1; len <= 8; len *= 2) {
		put(table, 4, 0);
		put(table + 4, 4, 0);
		put(table, len, 0xf1e2d3c4b5a69788);
		printf("table.write.%u %" PRIx64 " %" PRIx64 "\n", len, get(table, 4),
		       get(table + 4, 4));
	}
	put(table, 8, 0);
	for (unsigned int i = 0; i < vectors_n; i++)
		put(table + i * ENTRY_LEN + 12, 4, 1);
}

/* MSI-X is masked as a whole, so that interrupts stay visible in the pending bits. */
static void report_pending(volatile uint8_t *registers, volatile uint8_t *pba, unsigned int control,
			   unsigned int vectors_n)
{
	const unsigned int self = (unsigned int)get(registers + IVS_REG_IV_POSITION, 4);
	const unsigned int rung[] = {vectors_n, vectors_n + 0xff, vectors_n - 1, 0};

	config_write(control, 2, MSIX_ENABLE | MSIX_MASK);
	printf("pending %08" PRIx64 "\n", get(pba, 4));
	for (size_t i = 0; i < sizeof(rung) / sizeof(*rung); i++) {
		put(registers + IVS_REG_DOORBELL, 4, IVS_DOORBELL(self, rung[i]));
		usleep(WAIT_US);
		printf("pending.%zu %08" PRIx64 ", status %" PRIx64 "\n", i, get(pba, 4),
		       get(registers + IVS_REG_INTR_STATUS, 4));
	}
	put(pba, 4, 0);
	printf("pending.written %08" PRIx64 "\n", get(pba, 4));
	config_write(control, 2, 0);
}

static void report_msix(volatile uint8_t *registers)
{
	const unsigned int at = find_capability(CAP_MSIX);
	volatile uint8_t *bar;
	unsigned int vectors_n;
	unsigned int pba;

	printf("msix %s\n", at ? "yes" : "no");
	if (!at)
		return;
	bar = map_bar(IVS_BAR_MSIX);
	vectors_n = (unsigned int)(config_read(at + 2, 2) & 0x7ff) + 1;
	pba = (unsigned int)config_read(at + 8, 4) & ~7u;
	report_table(bar, vectors_n);
	for (unsigned int i = 0; i < 3; i++)
		printf("pba.%u %08" PRIx64 "\n", i, get(bar + pba + 4 * i, 4));
	printf("bar1.last %08" PRIx64 "\n", get(bar + bar_of(IVS_BAR_MSIX).len - 4, 4));
	report_pending(registers, bar + pba, at + 2, vectors_n);
}

static void report(void)
{
	volatile uint8_t *registers;

	report_header();
	report_capabilities();
	report_rest();
	report_bars();
	report_writable();
	enable();
	registers = map_bar(IVS_BAR_REGISTERS);
	report_registers(registers);
	report_msix(registers);
	printf("end\n");
}

static uint64_t number(const char *text)
{
	return strtoull(text, NULL, 0);
}

static int access_bar(int argc, char **argv)
{
	const bool is_write = !strcmp(argv[0], "write");
	volatile uint8_t *at;

	if (argc != 4 + is_write)
		return 2;
	enable();
	at = map_bar((unsigned int)number(argv[1])) + number(argv[2]);
	if (is_write)
		put(at, (unsigned int)number(argv[3]), number(argv[4]));
	else
		printf("%#" PRIx64 "\n", get(at, (unsigned int)number(argv[3])));
	return 0;
}

static int access_config(int argc, char **argv)
{
	const unsigned int offset = argc > 1 ? (unsigned int)number(argv[1]) : 0;
	const unsigned int len = argc > 2 ? (unsigned int)number(argv[2]) : 0;

	if (argc == 4)
		config_write(offset, len, number(argv[3]));
	else
		printf("%#" PRIx64 "\n", config_read(offset, len));
	return 0;
}

static volatile uint64_t *map_file(const char *path, uint64_t len, bool writable)
{
	int fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	void *memory = MAP_FAILED;

	if (fd >= 0)
		memory = mmap(NULL, len, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, fd,
			      0);
	if (memory == MAP_FAILED)
		die(path);
	close(fd);
	return memory;
}

/* Return: the pattern's word at @offset; it is made up of @seed and @offset */
static uint64_t word_at(uint64_t seed, uint64_t offset)
{
	return seed << 40 | offset;
}

static int fill(char **argv)
{
	const uint64_t begin = number(argv[2]);
	const uint64_t end = begin + number(argv[3]);
	volatile uint64_t *memory = map_file(argv[1], end, true);

	for (uint64_t at = begin; at < end; at += 8)
		memory[at / 8] = word_at(number(argv[4]), at);
	printf("probe: filled\n");
	return 0;
}

static int compare(int argc, char **argv)
{
	const uint64_t base = argc == 6 ? number(argv[5]) : 0;
	const uint64_t begin = number(argv[2]);
	const uint64_t end = begin + number(argv[3]);
	const uint64_t seed = number(argv[4]);
	volatile uint64_t *memory = map_file(argv[1], end, false);
	uint64_t found;

	for (uint64_t at = begin; at < end; at += 8) {
		found = memory[at / 8];
		if (found != word_at(seed, base + at)) {
			printf("probe: %#" PRIx64 " at %#" PRIx64 "\n", found, at);
			return 1;
		}
	}
	printf("probe: as expected\n");
	return 0;
}

static int poke(char **argv)
{
	const uint64_t offset = number(argv[2]);
	volatile uint64_t *memory = map_file(argv[1], offset + 4, true);

	((volatile uint32_t *)memory)[offset / 4] = (uint32_t)number(argv[3]);
	printf("probe: poked\n");
	return 0;
}

static int run(int argc, char **argv)
{
	if (!strcmp(argv[0], "fill") && argc == 5)
		return fill(argv);
	if (!strcmp(argv[0], "check") && (argc == 5 || argc == 6))
		return compare(argc, argv);
	if (!strcmp(argv[0], "poke") && argc == 4)
		return poke(argv);
	if (!strcmp(argv[0], "bdf"))
		printf("%s\n", strrchr(device, '/') + 1);
	else if (!strcmp(argv[0], "report"))
		report();
	else if (!strcmp(argv[0], "config"))
		return access_config(argc, argv);
	else
		return access_bar(argc, argv);
	return 0;
}

int main(int argc, char **argv)
{
	int wanted = 0;

	if (argc > 2 && !strcmp(argv[1], "-d")) {
		wanted = atoi(argv[2]);
		argc -= 2;
		argv += 2;
	}
	if (argc < 2)
		return 2;
	if (strcmp(argv[1], "fill") && strcmp(argv[1], "check") && strcmp(argv[1], "poke"))
		find_device(wanted);
	return run(argc - 1, argv + 1);
}
