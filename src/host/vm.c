/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * QEMU's options may come in any order, so a first pass collects memory backends and character
 * devices, and a second pass handles the devices that use them.
 */
#include "host/vm.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "host/qemu_option.h"

#define OBJECTS_MAX 1024 /* maximum of each kind; QEMU has fewer memory slots */

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

bool ivs_host_vm_is_qemu(const char *program)
{
	static const char *const names[] = {"qemu-kvm", "kvm", "qemu"};
	const char *name = base_name(program);

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!strcmp(name, names[i]))
			return true;
	}
	return !strncmp(name, "qemu-system-", strlen("qemu-system-"));
}

static bool is_on(const char *value)
{
	static const char *const words[] = {"on", "yes", "true", "y"};

	for (size_t i = 0; value && i < sizeof(words) / sizeof(*words); i++) {
		if (!strcmp(value, words[i]))
			return true;
	}
	return false;
}

/* Return: the value of a key, or "". If memory runs out, *result is set. */
static char *take(const struct ivs_qemu_option *option, const char *key, int *result)
{
	char *value = NULL;

	if (!*result)
		*result = ivs_qemu_option_get(option, key, &value);
	if (!*result && !value) {
		value = strdup("");
		*result = value ? 0 : -ENOMEM;
	}
	return value;
}

/* Return: whether the value of a key is "on". If memory runs out, *result is set. */
static bool take_flag(const struct ivs_qemu_option *option, const char *key, int *result)
{
	char *value = take(option, key, result);
	bool on = !*result && is_on(value);

	free(value);
	return on;
}

/* Return: the value of a key, up to @max; @other without a valid one. */
static unsigned int take_number(const struct ivs_qemu_option *option, const char *key,
				unsigned int max, unsigned int other, int *result)
{
	char *value = take(option, key, result);
	uint64_t number = other;

	if (!*result && !ivs_parse_uint(value, 0, max, &number))
		number = other;
	free(value);
	return (unsigned int)number;
}

static uint64_t take_size(const struct ivs_qemu_option *option, const char *key, int *result)
{
	char *value = take(option, key, result);
	uint64_t size = 0;

	if (!*result && !ivs_parse_size(value, &size))
		size = 0;
	free(value);
	return size;
}

static int take_name(const char *text, struct ivs_host_vm *vm)
{
	struct ivs_qemu_option option;
	char *name;
	int result;

	ivs_qemu_option_init(&option, text, "guest");
	result = ivs_qemu_option_get(&option, "guest", &name);
	if (name)
		ivs_text_shown(name, vm->name, sizeof(vm->name));
	free(name);
	ivs_qemu_option_deinit(&option);
	return result;
}

static int add_memory(const struct ivs_qemu_option *option, bool has_path, struct ivs_host_vm *vm)
{
	struct ivs_host_memory *memory;
	struct ivs_host_memory *grown;
	int result = 0;
	char *share;

	if (vm->memories_n == OBJECTS_MAX)
		return 0;
	grown = reallocarray(vm->memories, vm->memories_n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	vm->memories = grown;
	memory = &vm->memories[vm->memories_n++];
	*memory = (struct ivs_host_memory){.memfd = !has_path};
	memory->id = take(option, "id", &result);
	memory->discard = take_flag(option, "discard-data", &result);
	memory->path = has_path ? take(option, "mem-path", &result) : strdup("");
	share = take(option, "share", &result);
	memory->size = take_size(option, "size", &result);
	if (!result && !memory->path)
		result = -ENOMEM;
	if (!result)
		memory->shared = *share ? is_on(share) : !has_path;
	free(share);
	if (!result && strlen(memory->path) >= PATH_MAX) { /* no file has such a path */
		free(memory->id);
		free(memory->path);
		vm->memories_n--;
	}
	return result;
}

static int take_object(const char *text, struct ivs_host_vm *vm)
{
	struct ivs_qemu_option option;
	int result = 0;
	char *type;

	ivs_qemu_option_init(&option, text, "qom-type");
	type = take(&option, "qom-type", &result);
	if (!result && !strcmp(type, "memory-backend-file"))
		result = add_memory(&option, true, vm);
	else if (!result && !strcmp(type, "memory-backend-memfd"))
		result = add_memory(&option, false, vm);
	free(type);
	ivs_qemu_option_deinit(&option);
	return result;
}

/* Add a socket with the path at @key, if the option has one. */
static int add_socket(const struct ivs_qemu_option *option, const char *key, bool vfio,
		      struct ivs_host_vm *vm)
{
	struct ivs_host_socket *grown;
	int result = 0;
	char *path;
	char *id;

	path = take(option, key, &result);
	id = take(option, "id", &result);
	grown = NULL;
	if (!result && *path && vm->sockets_n < OBJECTS_MAX) {
		grown = reallocarray(vm->sockets, vm->sockets_n + 1, sizeof(*grown));
		result = grown ? 0 : -ENOMEM;
	}
	if (!grown) {
		free(path);
		free(id);
		return result;
	}
	vm->sockets = grown;
	vm->sockets[vm->sockets_n++] = (struct ivs_host_socket){
		.id = id, .path = path, .vfio = vfio};
	return 0;
}

/* QEMU 9.2 and later has reconnect-ms beside reconnect; 0 means never. */
static bool is_reconnecting(const struct ivs_qemu_option *option, int *result)
{
	return take_number(option, "reconnect", UINT_MAX, 0, result) ||
	       take_number(option, "reconnect-ms", UINT_MAX, 0, result);
}

static int take_chardev(const char *text, struct ivs_host_vm *vm)
{
	struct ivs_qemu_option option;
	int result = 0;
	char *backend;

	ivs_qemu_option_init(&option, text, "backend");
	backend = take(&option, "backend", &result);
	if (!result && !strcmp(backend, "socket")) {
		size_t before_n = vm->sockets_n;

		result = add_socket(&option, "path", false, vm);
		if (vm->sockets_n > before_n)
			vm->sockets[before_n].reconnects = is_reconnecting(&option, &result);
	}
	free(backend);
	ivs_qemu_option_deinit(&option);
	return result;
}

static void link_memory(const char *id, struct ivs_host_vm *vm)
{
	for (size_t i = 0; i < vm->memories_n; i++)
		vm->memories[i].ivshmem |= !strcmp(vm->memories[i].id, id);
}

static void link_socket(const char *id, struct ivs_host_vm *vm)
{
	for (size_t i = 0; i < vm->sockets_n; i++)
		vm->sockets[i].doorbell |= !vm->sockets[i].vfio && !strcmp(vm->sockets[i].id, id);
}

static void device_deinit(struct ivs_host_device *device)
{
	free(device->driver);
	free(device->id);
	free(device->memdev);
	free(device->chardev);
	free(device->shm);
}

static int add_device(const struct ivs_qemu_option *option, struct ivs_host_vm *vm)
{
	struct ivs_host_device *grown;
	struct ivs_host_device *device;
	int result = 0;

	if (vm->devices_n == OBJECTS_MAX)
		return 0;
	grown = reallocarray(vm->devices, vm->devices_n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	vm->devices = grown;
	device = &vm->devices[vm->devices_n++];
	*device = (struct ivs_host_device){0};
	device->driver = take(option, "driver", &result);
	device->id = take(option, "id", &result);
	device->memdev = take(option, "memdev", &result);
	device->chardev = take(option, "chardev", &result);
	device->shm = take(option, "shm", &result);
	device->size = take_size(option, "size", &result);
	device->vectors = take_number(option, "vectors", UINT16_MAX, 1, &result);
	device->master = take_flag(option, "master", &result);
	return result;
}

/* Note the kind of device. Return: whether it is an ivshmem device. */
static bool look_at_driver(const char *driver, struct ivs_host_vm *vm)
{
	vm->has_virtiofs |= !strncmp(driver, "vhost-user-fs", strlen("vhost-user-fs"));
	vm->has_vfio |= !strcmp(driver, "vfio-pci");
	return !strcmp(driver, "ivshmem") || !strcmp(driver, "ivshmem-plain") ||
	       !strcmp(driver, "ivshmem-doorbell");
}

/*
 * QEMU expects the socket of vfio-user-pci as an object; its path has the key "socket.path" in both
 * notations.
 */
static int take_device(const char *text, struct ivs_host_vm *vm)
{
	struct ivs_qemu_option option;
	int result = 0;
	char *chardev;
	char *memdev;
	char *driver;

	ivs_qemu_option_init(&option, text, "driver");
	driver = take(&option, "driver", &result);
	memdev = take(&option, "memdev", &result);
	chardev = take(&option, "chardev", &result);
	if (!result && !strcmp(driver, "ivshmem-plain"))
		link_memory(memdev, vm);
	else if (!result && !strcmp(driver, "ivshmem-doorbell"))
		link_socket(chardev, vm);
	else if (!result && !strcmp(driver, "vfio-user-pci"))
		result = add_socket(&option, "socket.path", true, vm);
	if (!result && look_at_driver(driver, vm))
		result = add_device(&option, vm);
	free(driver);
	free(memdev);
	free(chardev);
	ivs_qemu_option_deinit(&option);
	return result;
}

static int take_cpu(const char *text, struct ivs_host_vm *vm)
{
	struct ivs_qemu_option option;
	int result = 0;

	ivs_qemu_option_init(&option, text, "model");
	vm->phys_bits = take_number(&option, "phys-bits", 64, 0, &result);
	ivs_qemu_option_deinit(&option);
	return result;
}

/* A number without a suffix is in MiB. */
static int take_memory(const char *text, struct ivs_host_vm *vm)
{
	struct ivs_qemu_option option;
	uint64_t size = 0;
	int result = 0;
	char *value;

	ivs_qemu_option_init(&option, text, "size");
	value = take(&option, "size", &result);
	if (!result && ivs_parse_uint(value, 0, UINT64_MAX >> 20, &size))
		size <<= 20;
	else if (!result && !ivs_parse_size(value, &size))
		size = 0;
	vm->ram_size = size;
	free(value);
	ivs_qemu_option_deinit(&option);
	return result;
}

static int take_overcommit(const char *text, struct ivs_host_vm *vm)
{
	struct ivs_qemu_option option;
	int result = 0;

	ivs_qemu_option_init(&option, text, "");
	vm->locks_memory |= take_flag(&option, "mem-lock", &result);
	ivs_qemu_option_deinit(&option);
	return result;
}

/* The QEMU options that are examined; @pass is 0 or 1. */
static const struct {
	const char *name;
	int pass;
	int (*take)(const char *value, struct ivs_host_vm *vm);
} options[] = {
	{"name", 0, take_name},	    {"object", 0, take_object}, {"chardev", 0, take_chardev},
	{"cpu", 0, take_cpu},	    {"m", 0, take_memory},	{"overcommit", 0, take_overcommit},
	{"device", 1, take_device},
};

static int take_option(const char *option, const char *value, int pass, struct ivs_host_vm *vm)
{
	if (*option != '-')
		return 0;
	option += option[1] == '-' ? 2 : 1;
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		if (options[i].pass == pass && !strcmp(option, options[i].name))
			return options[i].take(value, vm);
	}
	return 0;
}

static int take_options(const char *text, size_t len, int pass, struct ivs_host_vm *vm)
{
	const char *end = text + len;
	int result = 0;

	while (!result) {
		const char *value = text + strlen(text) + 1;

		if (value >= end || value + strlen(value) == end) /* the last one is cut off */
			break;
		result = take_option(text, value, pass, vm);
		text = value;
	}
	return result;
}

int ivs_host_vm_parse(const char *cmdline, size_t len, struct ivs_host_vm *out)
{
	struct ivs_host_vm vm = {0};
	char *text = calloc(1, len + 1); /* the copy ends with a NUL, even if @cmdline does not */
	int result;

	if (!text)
		return -ENOMEM;
	memcpy(text, cmdline, len);
	result = ivs_host_vm_is_qemu(text) ? 0 : IVS_HOST_VM_E_OTHER;
	for (int pass = 0; !result && pass < 2; pass++)
		result = take_options(text, len, pass, &vm);
	free(text);
	if (result)
		ivs_host_vm_deinit(&vm);
	else
		*out = vm;
	return result;
}

void ivs_host_vm_deinit(struct ivs_host_vm *vm)
{
	for (size_t i = 0; i < vm->memories_n; i++) {
		free(vm->memories[i].id);
		free(vm->memories[i].path);
	}
	for (size_t i = 0; i < vm->sockets_n; i++) {
		free(vm->sockets[i].id);
		free(vm->sockets[i].path);
	}
	for (size_t i = 0; i < vm->devices_n; i++)
		device_deinit(&vm->devices[i]);
	free(vm->memories);
	free(vm->sockets);
	free(vm->devices);
	*vm = (struct ivs_host_vm){0};
}
