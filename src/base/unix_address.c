/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/unix_address.h"

#include <string.h>

#include "base/error.h"

bool ivs_unix_address(const char *path, struct sockaddr_un *out, struct ivs_error *err)
{
	size_t len = strlen(path);

	*out = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (!len || len >= IVS_UNIX_PATH_LEN) {
		ivs_error_set(err, 0, "the socket's path has %zu bytes, but must have 1 to %zu: %s",
			      len, IVS_UNIX_PATH_LEN - 1, path);
		return false;
	}
	memcpy(out->sun_path, path, len);
	return true;
}
