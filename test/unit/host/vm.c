/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/vm.h"

#define ARGS_MAX 24

/* A command line, and what is found in it, as vm_text() writes it; NULL if it is not QEMU's. */
static const struct {
	const char *args[ARGS_MAX];
	const char *expected;
} lines[] = {
	/* libvirt, which writes JSON */
	{{"/usr/bin/qemu-system-x86_64", "-name", "guest=win10,debug-threads=on", "-S", "-object",
	  "{\"qom-type\":\"secret\",\"id\":\"masterKey0\",\"format\":\"raw\","
	  "\"file\":\"/var/lib/libvirt/qemu/domain-1-win10/master-key.aes\"}",
	  "-machine", "pc-q35-7.2,usb=off,dump-guest-core=off,memory-backend=pc.ram", "-object",
	  "{\"qom-type\":\"memory-backend-memfd\",\"id\":\"pc.ram\",\"share\":true,"
	  "\"x-use-canonical-path-for-ramblock-id\":false,\"size\":17179869184}",
	  "-chardev", "socket,id=charmonitor,fd=35,server=on,wait=off", "-device",
	  "{\"driver\":\"ivshmem-plain\",\"id\":\"shmem0\",\"memdev\":\"shmmem-shmem0\","
	  "\"bus\":\"pcie.0\",\"addr\":\"0x10\"}",
	  "-object",
	  "{\"qom-type\":\"memory-backend-file\",\"id\":\"shmmem-shmem0\","
	  "\"mem-path\":\"/dev/shm/looking-glass\",\"size\":33554432,\"share\":true}"},
	 "win10; pc.ram=memfd 17179869184 shared; shmmem-shmem0=/dev/shm/looking-glass 33554432 "
	 "shared ivshmem"},
	/* older libvirt */
	{{"/usr/bin/qemu-system-x86_64", "-name", "guest=old,debug-threads=on", "-object",
	  "memory-backend-file,id=shmmem-shmem0,mem-path=/dev/shm/lg,size=33554432,share=yes",
	  "-device", "ivshmem-plain,id=shmem0,memdev=shmmem-shmem0,bus=pcie.0,addr=0x10"},
	 "old; shmmem-shmem0=/dev/shm/lg 33554432 shared ivshmem"},
	{{"/usr/libexec/qemu-kvm", "-name", "guest=bell", "-chardev",
	  "socket,id=charshmem0,path=/var/lib/libvirt/shmem-net-sock", "-device",
	  "{\"driver\":\"ivshmem-doorbell\",\"id\":\"shmem0\",\"chardev\":\"charshmem0\","
	  "\"vectors\":16,\"bus\":\"pcie.0\"}",
	  "-chardev", "socket,id=charagent,path=/run/agent,server=on,wait=off"},
	 "bell; charshmem0=/var/lib/libvirt/shmem-net-sock doorbell; charagent=/run/agent"},
	/* Proxmox */
	{{"/usr/bin/kvm", "-id", "101", "-name", "win10,debug-threads=on", "-no-shutdown",
	  "-chardev", "socket,id=qmp,path=/var/run/qemu-server/101.qmp,server=on,wait=off", "-mon",
	  "chardev=qmp,mode=control", "-device", "ivshmem-plain,memdev=ivshmem,bus=pcie.0",
	  "-object",
	  "memory-backend-file,id=ivshmem,share=on,mem-path=/dev/shm/pve-shm-lg,size=32M"},
	 "win10; ivshmem=/dev/shm/pve-shm-lg 33554432 shared ivshmem; "
	 "qmp=/var/run/qemu-server/101.qmp"},
	/* vfio-user, in both notations */
	{{"qemu-system-x86_64", "-device",
	  "{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/run/d\"}}"},
	 "; =/run/d vfio"},
	{{"qemu-system-aarch64", "-device",
	  "vfio-user-pci,id=v,socket.type=unix,socket.path=/run/d,,e"},
	 "; v=/run/d,e vfio"},
	/* names */
	{{"kvm", "-name", "a,,b c"}, "a,b c"},
	{{"kvm", "--name", "a"}, "a"},
	{{"kvm", "-name", "process=x,guest=a b,,,,c"}, "a b,,c"},
	{{"kvm", "-name", "guest=first", "-name", "guest=second"}, "second"},
	{{"kvm", "-name", "guest=,debug-threads=on"}, ""},
	{{"kvm", "-name", "debug-threads=on"}, ""},
	{{"kvm", "-name", "guest=a\033[31mb"}, "a?[31mb"},
	{{"kvm", "-name"}, ""},
	{{"kvm"}, ""},
	{{"-name"}, NULL},
	/* memory: the values that QEMU accepts as on and off, and the default */
	{{"kvm", "-object", "memory-backend-file,id=m,mem-path=/m,size=1G"}, "; m=/m 1073741824"},
	{{"kvm", "-object", "memory-backend-file,id=m,mem-path=/m,share=off"}, "; m=/m 0"},
	{{"kvm", "-object", "memory-backend-file,id=m,mem-path=/m,share"}, "; m=/m 0 shared"},
	{{"kvm", "-object", "memory-backend-file,share=off,id=m,mem-path=/m,share=true"},
	 "; m=/m 0 shared"},
	{{"kvm", "-object", "memory-backend-memfd,id=m,size=4M"}, "; m=memfd 4194304 shared"},
	{{"kvm", "-object", "memory-backend-memfd,id=m,share=off"}, "; m=memfd 0"},
	{{"kvm", "-object", "memory-backend-ram,id=m,size=4M,share=on"}, ""},
	{{"kvm", "-object", "qom-type=memory-backend-file,id=m,mem-path=/a,,b,,,size=64k"},
	 "; m=/a,b, 65536"},
	{{"kvm", "-object", "memory-backend-file,id=m,mem-path=/m", "-device",
	  "ivshmem-plain,memdev=other"},
	 "; m=/m 0"},
	{{"kvm", "-object",
	  "{\"qom-type\":\"memory-backend-file\",\"id\":7,\"share\":false,"
	  "\"mem-path\":[1],\"size\":1.5}"},
	 "; 7= 0"},
	{{"kvm", "-object", "{\"qom-type\":\"memory-backend-file\""}, ""},
	{{"kvm", "-device", "{\"driver\":\"vfio-user-pci\",\"socket\":\"/run/d\"}"}, ""},
	{{"kvm", "-chardev", "pipe,id=c,path=/run/p", "-device", "ivshmem-doorbell,chardev=c"}, ""},
	{{"kvm", "-device", "vfio-user-pci,id=c,socket.path=/v", "-device",
	  "ivshmem-doorbell,chardev=c"},
	 "; c=/v vfio"},
	/* other programs */
	{{"/usr/bin/qemu-img", "info", "x"}, NULL},
	{{"bash", "-c", "qemu-system-x86_64 -name x"}, NULL},
	{{"/opt/kvm/bin/python3", "-name", "x"}, NULL},
	{{""}, NULL},
};

static char *join(const char *const *args, size_t *len)
{
	char *text = calloc(1, 8192);

	*len = 0;
	for (size_t i = 0; i < ARGS_MAX && args[i]; i++) {
		strcpy(text + *len, args[i]);
		*len += strlen(args[i]) + 1;
	}
	return text;
}

static const char *vm_text(const struct ivs_host_vm *vm, char out[2048])
{
	size_t len = (size_t)sprintf(out, "%s", vm->name);

	for (size_t i = 0; i < vm->memories_n; i++) {
		const struct ivs_host_memory *memory = &vm->memories[i];

		len += (size_t)sprintf(out + len, "; %s=%s %" PRIu64 "%s%s", memory->id,
				       memory->memfd ? "memfd" : memory->path, memory->size,
				       memory->shared ? " shared" : "",
				       memory->ivshmem ? " ivshmem" : "");
	}
	for (size_t i = 0; i < vm->sockets_n; i++)
		len += (size_t)sprintf(out + len, "; %s=%s%s%s", vm->sockets[i].id,
				       vm->sockets[i].path,
				       vm->sockets[i].doorbell ? " doorbell" : "",
				       vm->sockets[i].vfio ? " vfio" : "");
	return out;
}

Test(vm, command_lines)
{
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		struct ivs_host_vm vm = {0};
		char text[2048];
		size_t len;
		char *line = join(lines[i].args, &len);
		int result = ivs_host_vm_parse(line, len, &vm);

		cr_expect_eq(result, lines[i].expected ? 0 : IVS_HOST_VM_E_OTHER, "row %zu", i);
		cr_expect_str_eq(vm_text(&vm, text), lines[i].expected ? lines[i].expected : "",
				 "row %zu", i);
		ivs_host_vm_deinit(&vm);
		free(line);
	}
}

/* A command line, and what devices_text() writes of it. */
static const struct {
	const char *args[ARGS_MAX];
	const char *expected;
} device_lines[] = {
	{{"kvm", "-device", "ivshmem-plain,id=d,memdev=m,master=on"},
	 "ivshmem-plain d m  1 master; ram 0"},
	{{"kvm", "-device",
	  "{\"driver\":\"ivshmem-doorbell\",\"id\":\"d\",\"chardev\":\"c\",\"vectors\":16,"
	  "\"master\":\"auto\"}"},
	 "ivshmem-doorbell d  c 16; ram 0"},
	{{"kvm", "-device", "ivshmem-doorbell,chardev=c,vectors=99999999999999999999"},
	 "ivshmem-doorbell   c 1; ram 0"},
	{{"kvm", "-device", "ivshmem,shm=lg,size=32M,role=master"},
	 "ivshmem    1 shm=lg 33554432; ram 0"},
	{{"kvm", "-device", "ivshmem-test,chardev=c", "-device", "virtio-net-pci"}, "ram 0"},
	/* memory and processors */
	{{"kvm", "-m", "16"}, "ram 16777216"},
	{{"kvm", "-m", "2G,slots=4"}, "ram 2147483648"},
	{{"kvm", "-m", "size=1048576k"}, "ram 1073741824"},
	{{"kvm", "-m", "junk"}, "ram 0"},
	{{"kvm", "-m", "99999999999999999999"}, "ram 0"},
	{{"kvm", "-m", "18446744073709551615"}, "ram 18446744073709551615"},
	{{"kvm", "-cpu", "host,migratable=on,phys-bits=39"}, "ram 0 bits 39"},
	{{"kvm", "-cpu", "host,phys-bits=999"}, "ram 0"},
	{{"kvm", "-overcommit", "mem-lock=on"}, "ram 0 locks"},
	{{"kvm", "-overcommit", "mem-lock=off"}, "ram 0"},
	{{"kvm", "-device", "vhost-user-fs-pci,chardev=f"}, "ram 0 virtiofs"},
	{{"kvm", "-device", "{\"driver\":\"vfio-pci\",\"host\":\"0000:01:00.0\"}"}, "ram 0 vfio"},
	/* backends */
	{{"kvm", "-object", "memory-backend-file,id=m,mem-path=/m,discard-data=on"},
	 "ram 0 m discards"},
	{{"kvm", "-object", "memory-backend-file,id=m,mem-path=/m,discard-data=off"}, "ram 0"},
	{{"kvm", "-chardev", "socket,id=c,path=/s,reconnect=1"}, "ram 0 c reconnects"},
	{{"kvm", "-chardev", "socket,id=c,path=/s,reconnect-ms=500"}, "ram 0 c reconnects"},
	{{"kvm", "-chardev", "socket,id=c,path=/s,reconnect=0"}, "ram 0"},
};

static const char *devices_text(const struct ivs_host_vm *vm, char out[2048])
{
	size_t len = 0;

	for (size_t i = 0; i < vm->devices_n; i++) {
		const struct ivs_host_device *device = &vm->devices[i];

		len += (size_t)sprintf(out + len, "%s %s %s %s %u%s", device->driver, device->id,
				       device->memdev, device->chardev, device->vectors,
				       device->master ? " master" : "");
		if (device->size)
			len += (size_t)sprintf(out + len, " shm=%s %" PRIu64, device->shm,
					       device->size);
		len += (size_t)sprintf(out + len, "; ");
	}
	len += (size_t)sprintf(out + len, "ram %" PRIu64, vm->ram_size);
	if (vm->phys_bits)
		len += (size_t)sprintf(out + len, " bits %u", vm->phys_bits);
	len += (size_t)sprintf(out + len, "%s%s%s", vm->locks_memory ? " locks" : "",
			       vm->has_virtiofs ? " virtiofs" : "", vm->has_vfio ? " vfio" : "");
	for (size_t i = 0; i < vm->memories_n; i++)
		len += (size_t)sprintf(out + len, vm->memories[i].discard ? " %s discards" : "",
				       vm->memories[i].id);
	for (size_t i = 0; i < vm->sockets_n; i++)
		len += (size_t)sprintf(out + len, vm->sockets[i].reconnects ? " %s reconnects" : "",
				       vm->sockets[i].id);
	return out;
}

Test(vm, devices)
{
	for (size_t i = 0; i < sizeof(device_lines) / sizeof(*device_lines); i++) {
		struct ivs_host_vm vm = {0};
		char text[2048];
		size_t len;
		char *line = join(device_lines[i].args, &len);

		cr_expect_eq(ivs_host_vm_parse(line, len, &vm), 0, "row %zu", i);
		cr_expect_str_eq(devices_text(&vm, text), device_lines[i].expected, "row %zu", i);
		ivs_host_vm_deinit(&vm);
		free(line);
	}
}

/* A truncated command line lacks its last argument, and is never read beyond its end. */
Test(vm, cut_off_at_each_byte)
{
	size_t whole;
	char *line = join(lines[0].args, &whole);

	for (size_t len = 0; len <= whole; len++) {
		char *cut = malloc(len ? len : 1); /* exact size: a sanitizer detects overreads */
		struct ivs_host_vm vm = {0};
		int result;

		memcpy(cut, line, len);
		result = ivs_host_vm_parse(cut, len, &vm);
		cr_expect(result == 0 || len < strlen(lines[0].args[0]));
		cr_expect_eq(vm.memories_n, len == whole ? 2 : vm.memories_n);
		cr_expect(vm.memories_n < 2 || len == whole, "cut at %zu", len);
		ivs_host_vm_deinit(&vm);
		free(cut);
	}
	free(line);
}

Test(vm, long_names_are_cut)
{
	char line[1024] = "kvm\0-name";
	struct ivs_host_vm vm;

	memset(line + 10, 'x', 1000);
	cr_assert_eq(ivs_host_vm_parse(line, sizeof(line), &vm), 0);
	cr_expect_eq(strlen(vm.name), IVS_HOST_VM_LEN - 1);
	ivs_host_vm_deinit(&vm);
}

/* No file can have such a path, and messages that contain it would be cut off. */
Test(vm, paths_that_are_too_long_are_ignored)
{
	static const char start[] = "kvm\0-object\0memory-backend-file,id=m,mem-path=/";
	char line[sizeof(start) + PATH_MAX];
	struct ivs_host_vm vm;

	for (size_t len = PATH_MAX - 1; len <= PATH_MAX; len++) {
		memcpy(line, start, sizeof(start));
		memset(line + sizeof(start) - 1, 'x', len - 1);
		line[sizeof(start) + len - 2] = '\0';
		cr_assert_eq(ivs_host_vm_parse(line, sizeof(start) + len - 1, &vm), 0);
		cr_expect_eq(vm.memories_n, len < PATH_MAX, "a path of %zu bytes", len);
		ivs_host_vm_deinit(&vm);
	}
}

Test(vm, very_many_objects_are_bounded)
{
	static const char object[] = "-object\0memory-backend-file,id=m,mem-path=/m";
	char *line = malloc(4 + 5000 * sizeof(object));
	struct ivs_host_vm vm;

	memcpy(line, "kvm", 4);
	for (size_t i = 0; i < 5000; i++)
		memcpy(line + 4 + i * sizeof(object), object, sizeof(object));
	cr_assert_eq(ivs_host_vm_parse(line, 4 + 5000 * sizeof(object), &vm), 0);
	cr_expect_eq(vm.memories_n, 1024);
	ivs_host_vm_deinit(&vm);
	free(line);
}
