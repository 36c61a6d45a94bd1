// SPDX-License-Identifier: BSD-3-Clause
/*
 * driver-test pin: test a device of revision 0 with INTx, and the name of the region
 * . ivs_legacy.ko emulates the device.
 */
#include "common.h"

#include "../modules/ivs_legacy.h"

static int legacy;

static struct ivs_ioc_info add_device(const struct ivs_legacy *wanted)
{
	struct ivs_ioc_info info;
	int fd;

	need(!ioctl(legacy, IVS_LEGACY_ADD, wanted), "add a device");
	need(eventually(is_there, NULL), "the driver binds the device");
	fd = open_device(O_RDWR);
	info = info_of(fd);
	close(fd);
	return info;
}

static struct ivs_legacy_pin assert_intx(uint32_t status)
{
	struct ivs_legacy_pin pin = {.status = status};

	need(!ioctl(legacy, IVS_LEGACY_PIN, &pin), "assert INTx");
	return pin;
}

static void test_info(void)
{
	struct ivs_ioc_info info = add_device(&(struct ivs_legacy){.position = -1});
	volatile uint32_t *memory;
	int fd = open_device(O_RDWR);

	check(info.revision == 0, "revision 0");
	check(info.flags == (IVS_INFO_INTX | IVS_INFO_DOORBELL), "flags %#x: INTx", info.flags);
	check(info.vectors_n == 1, "one vector");
	check(info.position == -1, "position -1: no region attached");
	check(!strcmp(attribute("position"), "-1"), "sysfs: position %s", attribute("position"));
	check(!strcmp(attribute("revision"), "0"), "sysfs: revision");
	check(info.memory_len == IVS_LEGACY_MEMORY_LEN, "%llu bytes", info.memory_len);
	check(!map(fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ | PROT_WRITE) && errno == ENXIO,
	      "the registers cannot be mapped");
	memory = map(fd, IVS_MMAP_MEMORY, info.memory_len, PROT_READ | PROT_WRITE);
	need(memory, "the region can be mapped");
	memory[info.memory_len / 4 - 1] = 0x1234;
	check(memory[info.memory_len / 4 - 1] == 0x1234, "the region is writable");
	check(!ring(fd, 3, 0), "ring");
	munmap((void *)memory, info.memory_len);
	close(fd);
	info = add_device(&(struct ivs_legacy){.position = 5});
	check(info.position == 5, "position 5");
}

static void test_interrupts(void)
{
	struct ivs_ioc_info info = add_device(&(struct ivs_legacy){.position = 1});
	int event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	int fd = open_device(O_RDWR | O_NONBLOCK);
	struct ivs_legacy_pin before;
	struct ivs_legacy_pin after;
	char text[32] = "";

	need(!listen_to(fd, 0, event), "listen to the vector");
	before = assert_intx(0);
	check(before.mask == 1, "the interrupt is unmasked");
	after = assert_intx(1);
	check(take_event(event, TIMEOUT_MS) == 1, "status 1: the eventfd is signalled");
	check(count_of(0) == 1, "status 1: counted");
	check(after.unhandled == before.unhandled, "status 1: handled");
	check(read(fd, text, sizeof(text) - 1) == 4 && !strcmp(text, "0 1\n"), "status 1: read");
	before = after;
	after = assert_intx(0);
	check(!take_event(event, 0) && count_of(0) == 1, "status 0: not counted");
	check(after.unhandled == before.unhandled + 1, "status 0: not handled");
	before = after;
	after = assert_intx(0xffffffff);
	check(!take_event(event, 0) && count_of(0) == 1, "status all ones: not counted");
	check(after.unhandled == before.unhandled + 1, "status all ones: not handled");
	for (int i = 0; i < 1000; i++)
		assert_intx(1);
	check(count_of(0) == 1001 && take_event(event, TIMEOUT_MS) == 1000,
	      "1000 interrupts are counted");
	check_errno(EINVAL, listen_to(fd, 1, event), "no second vector");
	need(!write_file(info.bdf, "/sys/bus/pci/drivers/ivshmem/unbind"), "unbind");
	check(assert_intx(0).mask == 0, "unbound: masked");
	check(take_event(event, TIMEOUT_MS) == 1, "unbound: the eventfd is signalled");
	need(!write_file(info.bdf, "/sys/bus/pci/drivers/ivshmem/bind"), "bind");
	check(eventually(is_there, NULL) && assert_intx(1).mask == 1, "bound: unmasked");
	need(!ioctl(legacy, IVS_LEGACY_SHUTDOWN), "shut down");
	check(assert_intx(0).mask == 0, "shut down: masked");
	close(fd);
	close(event);
}

/* Return: a device with this name, in a valid capability */
static struct ivs_legacy named(const char *name, bool has_uuid)
{
	struct ivs_legacy wanted = {.cap_len = (uint32_t)(IVS_PCI_CAP_NAME_OFFSET + strlen(name))};

	wanted.cap[IVS_PCI_CAP_ID_OFFSET] = 0x09;
	wanted.cap[IVS_PCI_CAP_LEN_OFFSET] = (uint8_t)wanted.cap_len;
	wanted.cap[IVS_PCI_CAP_LAYOUT_OFFSET] = IVS_PCI_CAP_LAYOUT;
	memcpy(wanted.cap + IVS_PCI_CAP_MAGIC_OFFSET, IVS_PCI_CAP_MAGIC, 4);
	for (uint8_t i = 0; i < IVS_UUID_LEN && has_uuid; i++)
		wanted.cap[IVS_PCI_CAP_UUID_OFFSET + i] = (uint8_t)(0x10 + i);
	memcpy(wanted.cap + IVS_PCI_CAP_NAME_OFFSET, name, strlen(name));
	return wanted;
}

/*
 * A device with its MSI-X table in a BAR that users can map must not be bound: they could make the
 * device write to any address.
 */
static void test_msix_table(void)
{
	for (uint8_t bar = 0; bar <= 2; bar += 2) {
		/* The capability: one vector, the table at 0x800 in @bar, the PBA in BAR 1. */
		const struct ivs_legacy wanted = {
			.cap_len = 12,
			.cap = {0x11, 0, 0, 0, bar, 0x08, 0, 0, 1, 0, 0, 0},
		};

		need(!ioctl(legacy, IVS_LEGACY_ADD, &wanted), "add a device");
		check(!is_there(NULL), "MSI-X table in BAR %u: not bound", bar);
	}
}

static void check_named(const char *name, bool has_uuid)
{
	struct ivs_legacy wanted = named(name, has_uuid);
	struct ivs_ioc_info info = add_device(&wanted);

	check(!strcmp(info.name, name), "name \"%s\"", info.name);
	check(!memcmp(info.uuid, wanted.cap + IVS_PCI_CAP_UUID_OFFSET, IVS_UUID_LEN),
	      "UUID of \"%s\"", name);
	check(!strcmp(attribute("name"), *name ? name : "(none)"), "sysfs: name %s",
	      attribute("name"));
	check(!strcmp(attribute("uuid"),
		      has_uuid ? "10111213-1415-1617-1819-1a1b1c1d1e1f" : "(none)"),
	      "sysfs: UUID %s", attribute("uuid"));
}

static void check_nameless(struct ivs_legacy wanted, unsigned int at, uint8_t value,
			   const char *what)
{
	struct ivs_ioc_info info;

	wanted.cap[at] = value;
	info = add_device(&wanted);
	check(!*info.name && !memcmp(info.uuid, (char[IVS_UUID_LEN]){}, IVS_UUID_LEN),
	      "%s: ignored, name \"%s\"", what, info.name);
	check(*attribute("name") == '(' && *attribute("uuid") == '(', "%s: no attributes", what);
}

static void test_names(void)
{
	static const uint8_t wrong[] = {0,   ' ',  '/',	 ':',  '@',  '[', '`',
					'{', '\n', 0x7f, 0x80, 0xe9, 0xff};
	const struct ivs_legacy good = named("name", true);
	char longest[IVS_PCI_CAP_NAME_MAX + 2];
	char what[32];

	check_named("gpu0.frames_1-Z", true);
	check_named("a", true);
	check_named("only-a-name", false);
	check_named("", true);
	check_named("", false);
	memset(longest, 'x', sizeof(longest));
	longest[IVS_PCI_CAP_NAME_MAX + 1] = '\0';
	check_nameless(named(longest, true), IVS_PCI_CAP_ID_OFFSET, 0x09, "a name of 64 letters");
	longest[IVS_PCI_CAP_NAME_MAX] = '\0';
	check_named(longest, true);
	for (unsigned int i = 0; i < 4; i++) {
		snprintf(what, sizeof(what), "letter %u of the magic", i);
		check_nameless(good, IVS_PCI_CAP_MAGIC_OFFSET + i, 'X', what);
	}
	check_nameless(good, IVS_PCI_CAP_LAYOUT_OFFSET, 0, "layout 0");
	check_nameless(good, IVS_PCI_CAP_LAYOUT_OFFSET, 2, "layout 2");
	check_nameless(good, IVS_PCI_CAP_LEN_OFFSET, 0, "length 0");
	check_nameless(good, IVS_PCI_CAP_LEN_OFFSET, IVS_PCI_CAP_NAME_OFFSET - 1, "length 23");
	check_nameless(good, IVS_PCI_CAP_LEN_OFFSET, IVS_PCI_CAP_NAME_OFFSET + 64, "length 88");
	check_nameless(good, IVS_PCI_CAP_LEN_OFFSET, 255, "length 255");
	check_nameless(good, IVS_PCI_CAP_ID_OFFSET, 0x01, "another capability");
	for (size_t i = 0; i < sizeof(wrong); i++) {
		snprintf(what, sizeof(what), "character %#x", wrong[i]);
		check_nameless(good, IVS_PCI_CAP_NAME_OFFSET + (unsigned int)i % 4, wrong[i], what);
	}
}

int suite_pin(int argc, char **argv)
{
	(void)argv;
	legacy = open("/dev/ivs-legacy", O_RDWR | O_CLOEXEC);
	need(legacy >= 0, "/dev/ivs-legacy");
	test_info();
	test_interrupts();
	test_msix_table();
	test_names();
	check(!ioctl(legacy, IVS_LEGACY_REMOVE), "remove the device");
	check(open_number(device_number, O_RDWR) < 0, "the device node is gone");
	close(legacy);
	return argc != 1;
}
