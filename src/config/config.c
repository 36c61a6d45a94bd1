/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/config.h"

#include <string.h>

#include "config/private.h"

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGITS "0123456789"

bool ivs_config_id(const char *id)
{
	return *id && strchr(LETTERS, *id) && !id[strspn(id, LETTERS DIGITS "-._")] &&
	       strlen(id) <= IVS_CONFIG_ID_MAX;
}

bool ivs_config_unit_name(const char *name, unsigned int max)
{
	return *name && !name[strspn(name, LETTERS DIGITS "-_")] && strlen(name) <= max;
}

void ivs_config_check(const struct ivs_config *config, struct ivs_pieces *pieces)
{
	for (unsigned int i = 0; i < config->devices_n; i++) {
		const struct ivs_config_device *device = &config->devices[i];
		const char *const texts[] = {device->name,   device->id,     device->region,
					     device->path,   device->server, device->socket,
					     device->owner,  device->group,  config->domain,
					     config->program};

		for (size_t k = 0; k < sizeof(texts) / sizeof(*texts); k++)
			ivs_escape_check(&pieces->out, texts[k] ? texts[k] : "");
	}
}
