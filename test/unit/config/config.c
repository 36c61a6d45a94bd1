/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of config/config.h: configurations contain no text that could begin another line. */
#include <criterion/criterion.h>
#include <string.h>

#include "config/host.h"
#include "config/libvirt.h"
#include "config/qemu.h"

static char text[65536];

typedef void make(const struct ivs_config *config, struct ivs_pieces *pieces);

static bool is_full(make *make_pieces, const struct ivs_config_device *device)
{
	struct ivs_pieces pieces = IVS_PIECES_INIT(text, sizeof(text));
	const struct ivs_config config = {
		.devices = device,
		.devices_n = 1,
		.domain = "vm",
		.program = "/usr/bin/ivshmem",
	};

	memset(text, 0, sizeof(text));
	make_pieces(&config, &pieces);
	return pieces.out.full;
}

static const struct ivs_config_device good = {
	.name = "demo",
	.id = "demo",
	.region = "shm:demo",
	.path = "/dev/shm/demo",
	.shm = true,
	.size = 1 << 20,
	.server = "/run/ivshmem/demo.sock",
	.socket = "/run/ivshmem/device-demo.sock",
	.vectors = 1,
	.owner = "root",
	.group = "kvm",
	.mode = 0660,
	.names_itself = true,
};

static make *const all[] = {ivs_config_qemu,	ivs_config_libvirt, ivs_config_tmpfiles,
			    ivs_config_systemd, ivs_config_udev,    ivs_config_apparmor};

Test(config, a_newline_in_any_text_is_refused)
{
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		for (int kind = IVS_CONFIG_PLAIN; kind <= IVS_CONFIG_VFIO_USER; kind++) {
			struct ivs_config_device device = good;
			const char **const texts[] = {&device.name, &device.id,	   &device.region,
						      &device.path, &device.owner, &device.group};

			device.kind = (enum ivs_config_kind)kind;
			cr_expect_not(is_full(all[i], &device), "%zu, kind %d: %s", i, kind, text);
			for (size_t k = 0; k < sizeof(texts) / sizeof(*texts); k++) {
				const char *before = *texts[k];

				*texts[k] = "a\nExecStart=/bin/evil";
				cr_expect(is_full(all[i], &device), "%zu, kind %d, text %zu", i,
					  kind, k);
				*texts[k] = before;
			}
		}
	}
}
