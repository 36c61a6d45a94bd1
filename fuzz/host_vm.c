/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for ivs_host_vm_parse().
 *
 * Input: the bytes of a /proc/PID/cmdline. Parsing must yield a VM whose strings are complete, or
 * report that the process is a different program. If the last argument's NUL is missing, that
 * argument is ignored, and parsing must not yield more than it would with the NUL.
 */
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "host/vm.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

static void check_vm(const struct ivs_host_vm *vm, size_t size)
{
	char shown[IVS_HOST_VM_LEN];

	CHECK(memchr(vm->name, '\0', sizeof(vm->name)));
	CHECK(!strcmp(ivs_text_shown(vm->name, shown, sizeof(shown)), vm->name));
	for (size_t i = 0; i < vm->memories_n; i++) {
		CHECK(strlen(vm->memories[i].id) < size && strlen(vm->memories[i].path) < size);
		CHECK(!vm->memories[i].memfd || !*vm->memories[i].path);
		CHECK(strlen(vm->memories[i].path) < PATH_MAX);
	}
	for (size_t i = 0; i < vm->sockets_n; i++) {
		CHECK(strlen(vm->sockets[i].id) < size && *vm->sockets[i].path);
		CHECK(strlen(vm->sockets[i].path) < size);
		CHECK(!vm->sockets[i].doorbell || !vm->sockets[i].vfio);
	}
	for (size_t i = 0; i < vm->devices_n; i++) {
		const struct ivs_host_device *device = &vm->devices[i];

		CHECK(!strncmp(device->driver, "ivshmem", strlen("ivshmem")));
		CHECK(strlen(device->id) < size && strlen(device->memdev) < size);
		CHECK(strlen(device->chardev) < size && strlen(device->shm) < size);
		CHECK(device->vectors <= UINT16_MAX);
	}
	CHECK(vm->phys_bits <= 64);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ivs_host_vm vm = {.memories_n = 77};
	struct ivs_host_vm cut;
	int result = ivs_host_vm_parse((const char *)data, size, &vm);

	CHECK(result == 0 || result == IVS_HOST_VM_E_OTHER);
	CHECK(result == 0 || vm.memories_n == 77);
	if (result)
		return 0;
	check_vm(&vm, size);
	if (!data[size - 1] && !ivs_host_vm_parse((const char *)data, size - 1, &cut)) {
		CHECK(cut.memories_n <= vm.memories_n && cut.sockets_n <= vm.sockets_n);
		ivs_host_vm_deinit(&cut);
	}
	ivs_host_vm_deinit(&vm);
	return 0;
}

/* splitmix64 */
static uint64_t rng_next(uint64_t *rng)
{
	uint64_t z = (*rng += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

/* QEMU options assembled from pieces, some of which do not fit together. */
size_t fuzz_make_input(uint64_t seed, uint8_t *out, size_t max)
{
	static const char *const pieces[] = {
		"-name",
		"-object",
		"-device",
		"-chardev",
		"guest=a,,b",
		"memory-backend-file",
		"memory-backend-memfd",
		"ivshmem-plain",
		"ivshmem-doorbell",
		"vfio-user-pci",
		"ivshmem",
		"socket",
		"id=m",
		"memdev=m",
		"chardev=m",
		"mem-path=/dev/shm/x",
		"size=4M",
		"share=on",
		"share",
		"path=/run/s",
		"socket.path=/run/d",
		"reconnect=1",
		"discard-data=on",
		"vectors=9",
		"shm=x",
		"-cpu",
		"phys-bits=39",
		"-m",
		"-overcommit",
		"mem-lock=on",
		"{\"qom-type\":\"memory-backend-file\",\"id\":\"m\",\"mem-path\":\"/"
		"x\",\"size\":1}",
		"{\"driver\":\"vfio-user-pci\",\"socket\":{\"path\":\"/run/d\"}}",
		"{\"driver\":\"ivshmem-plain\",\"memdev\":\"m\"}",
		"=",
		",",
		"{",
		"\xff\x1b",
	};
	const size_t pieces_n = sizeof(pieces) / sizeof(*pieces);
	uint64_t rng = seed;
	size_t len = 0;

	memcpy(out, "kvm", 4);
	len = rng_next(&rng) % 50 ? 4 : 3;
	while (rng_next(&rng) % 20) {
		const char *piece = pieces[rng_next(&rng) % pieces_n];
		size_t piece_len = strlen(piece);

		if (len + piece_len + 1 > max)
			break;
		memcpy(out + len, piece, piece_len);
		len += piece_len;
		out[len++] = *piece == '-' || rng_next(&rng) % 3 == 0 ? '\0' : ',';
	}
	return len;
}
