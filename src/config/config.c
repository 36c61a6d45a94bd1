/* SPDX-License-Identifier: BSD-3-Clause */
#include "config/config.h"

#include <string.h>

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
