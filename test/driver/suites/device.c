// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test device PLACE VECTORS BYTES POSITION [revision=0] [pin] [name=NAME] [uuid=UUID]
 *
 * Check the properties that the driver reports, access to the region from guest and host, and the
 * memory types in the page tables. PLACE: whether BAR 2 is expected below 4 GiB (low) or above
 * (high). The optional arguments are for a device of revision 0, a device with INTx instead of
 * MSI-X, and a region with a name or UUID.
 */
#include "common.h"

static struct {
	unsigned int revision;
	bool pin;
	const char *name;
	const char *uuid;
} wanted = {.revision = IVS_PCI_REVISION, .name = "", .uuid = ""};

static bool take_word(const char *word)
{
	if (!strcmp(word, "revision=0"))
		wanted.revision = IVS_PCI_REVISION_LEGACY;
	else if (!strcmp(word, "pin"))
		wanted.pin = true;
	else if (!strncmp(word, "name=", 5))
		wanted.name = word + 5;
	else if (!strncmp(word, "uuid=", 5))
		wanted.uuid = word + 5;
	else
		return false;
	return true;
}

static uint64_t bar(unsigned int number)
{
	const char *bdf = info_of(open_device(O_RDONLY)).bdf;
	uint64_t begin = 0;
	char path[96];
	FILE *file;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource", bdf);
	file = fopen(path, "re");
	for (unsigned int i = 0; file && i <= number; i++)
		if (fscanf(file, "%lx %*x %*x", &begin) != 1)
			begin = 0;
	if (file)
		fclose(file);
	return begin;
}

static void check_name(const struct ivs_ioc_info *info)
{
	const bool has_uuid = memcmp(info->uuid, (char[IVS_UUID_LEN]){}, IVS_UUID_LEN);

	check(!strcmp(info->name, wanted.name), "name \"%s\"", info->name);
	check(has_uuid == !!*wanted.uuid, "%s a UUID", has_uuid ? "with" : "without");
	/* A device without a name or UUID does not have these attributes. */
	check(!strcmp(attribute("name"), *wanted.name ? wanted.name : "(none)"), "sysfs: name %s",
	      attribute("name"));
	check(!strcmp(attribute("uuid"), *wanted.uuid ? wanted.uuid : "(none)"), "sysfs: UUID %s",
	      attribute("uuid"));
}

static void check_info(int fd, unsigned int vectors_n, uint64_t len, int position)
{
	struct ivs_ioc_info info = info_of(fd);
	char text[64];

	check(info.version == IVS_DRIVER_VERSION, "version %u", info.version);
	check(info.revision == wanted.revision, "revision %u", info.revision);
	check(!(info.flags & IVS_INFO_INTX) == !wanted.pin, "flags %#x: %s INTx", info.flags,
	      wanted.pin ? "with" : "without");
	check(!(info.flags & IVS_INFO_DOORBELL) == !vectors_n, "flags %#x: IVS_INFO_DOORBELL",
	      info.flags);
	check(!(info.flags & ~(IVS_INFO_INTX | IVS_INFO_REGISTERS | IVS_INFO_DOORBELL)),
	      "no other flags");
	check(info.vectors_n == vectors_n, "vectors %u", info.vectors_n);
	check(info.memory_len == len, "bytes %llu", info.memory_len);
	check(info.position == position, "position %d", info.position);
	snprintf(text, sizeof(text), "/sys/bus/pci/devices/%s/ivshmem/ivshmem%d", info.bdf,
		 device_number);
	check(!access(text, F_OK), "PCI address %s", info.bdf);
	snprintf(text, sizeof(text), "%lu", len);
	check(!strcmp(attribute("size"), text), "sysfs: size %s", attribute("size"));
	snprintf(text, sizeof(text), "%d", position);
	check(!strcmp(attribute("position"), text), "sysfs: position %s", attribute("position"));
	snprintf(text, sizeof(text), "%u", vectors_n);
	check(!strcmp(attribute("vectors"), text), "sysfs: vectors %s", attribute("vectors"));
	snprintf(text, sizeof(text), "%u", wanted.revision);
	check(!strcmp(attribute("revision"), text), "sysfs: revision");
	check_name(&info);
	check(!vectors_n == !*attribute("interrupts"), "sysfs: interrupts");
}

static void check_type(int fd, uint64_t kind, size_t len, const char *type, uint32_t memory_type,
		       const char *in_sysfs)
{
	size_t places[] = {0, len / 2, len - PAGE};
	uint64_t begin = bar(IVS_BAR_MEMORY);
	const char *found;
	volatile char *memory = map(fd, kind, len, PROT_READ | PROT_WRITE);

	need(memory, "%s: the region can be mapped", type);
	for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
		memory[places[i]] = 1;
		found = cache_type((void *)(memory + places[i]));
		check(!strcmp(found, type), "at %zu: memory type %s in the page tables, for %s",
		      places[i], found, type);
		check(physical((void *)(memory + places[i])) == begin + places[i],
		      "at %zu: physical address", places[i]);
	}
	check(info_of(fd).memory_type == memory_type, "%s: IVS_IOC_INFO", type);
	check(!strcmp(attribute("memory_type"), in_sysfs), "sysfs: memory type is %s",
	      attribute("memory_type"));
	munmap((void *)memory, len);
	check(info_of(fd).memory_type == IVS_MEMORY_NONE, "%s: type none after unmapping", type);
	check(!strcmp(attribute("memory_type"), "not mapped"), "sysfs: not mapped");
}

static void check_registers(int fd)
{
	volatile uint32_t *registers = map(fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ | PROT_WRITE);

	if (!(info_of(fd).flags & IVS_INFO_REGISTERS)) {
		check(!registers && errno == ENXIO, "registers: ENXIO without IVS_INFO_REGISTERS");
		return;
	}
	need(registers, "registers: can be mapped");
	check((int32_t)registers[IVS_REG_IV_POSITION / 4] == info_of(fd).position,
	      "registers: IVPosition");
	check(!strcmp(cache_type((void *)registers), "UC-") ||
		      !strcmp(cache_type((void *)registers), "UC"),
	      "registers: memory type %s in the page tables", cache_type((void *)registers));
	check(physical((void *)registers) == bar(IVS_BAR_REGISTERS),
	      "registers: physical address of BAR 0");
	munmap((void *)registers, PAGE);
}

static void check_status(int fd)
{
	const struct ivs_driver_status *status = map_status(fd);
	unsigned int vectors_n = info_of(fd).vectors_n;
	unsigned int same_n = 0;
	unsigned int i;

	check(!status->gone, "status: not gone");
	for (i = 0; i < vectors_n; i++)
		same_n += status->counts[i] == count_of(i);
	check(same_n == vectors_n, "status: the counts of %u vectors match sysfs", same_n);
	for (; i < IVS_LINUX_VECTORS_MAX; i++)
		same_n += !status->counts[i];
	check(same_n == IVS_LINUX_VECTORS_MAX, "status: all other counts are 0");
	check(!strcmp(cache_type(status), "WB"), "status: memory type write-back");
	munmap((void *)status, PAGE);
}

static void check_memory(int fd, size_t len)
{
	char *memory = map(fd, IVS_MMAP_MEMORY, len, PROT_READ | PROT_WRITE);

	need(memory, "the region can be mapped");
	snprintf(memory + len - 64, 64, "guest %d", device_number);
	snprintf(memory + len / 2, 64, "middle %d", device_number);
	ask("look %d %zu guest %d", device_number, len - 64, device_number);
	ask("look %d %zu middle %d", device_number, len / 2, device_number);
	ask("write %d %d from the host", device_number, 128);
	check(!strcmp(memory + 128, "from the host"), "the guest reads the host's text: %.20s",
	      memory + 128);
	munmap(memory, len);
}

int suite_device(int argc, char **argv)
{
	bool high;
	uint64_t len;
	int fd;

	if (argc < 5)
		return -1;
	for (int i = 5; i < argc; i++)
		if (!take_word(argv[i]))
			return -1;
	high = !strcmp(argv[1], "high");
	len = strtoull(argv[3], NULL, 0);
	fd = open_device(O_RDWR);
	check_info(fd, (unsigned int)atoi(argv[2]), len, atoi(argv[4]));
	check((bar(IVS_BAR_MEMORY) >= 1ULL << 32) == high, "BAR 2 is at %#lx: %s",
	      bar(IVS_BAR_MEMORY), argv[1]);
	check_type(fd, IVS_MMAP_MEMORY, len, "WB", IVS_MEMORY_WB, "write-back");
	check_type(fd, IVS_MMAP_MEMORY_WC, len, "WC", IVS_MEMORY_WC, "write-combining");
	check_registers(fd);
	check_status(fd);
	check_memory(fd, len);
	close(fd);
	return 0;
}
