/* SPDX-License-Identifier: BSD-3-Clause */
#include <criterion/criterion.h>
#include <string.h>

#include "base/unix_address.h"

static char path[200];

static bool fits(size_t len)
{
	struct sockaddr_un addr;

	memset(path, 'x', len);
	path[len] = '\0';
	return ivs_unix_address(path, &addr, NULL);
}

Test(unix_address, paths_have_1_to_107_bytes)
{
	cr_assert(!fits(0));
	cr_assert(fits(1));
	cr_assert(fits(107));
	cr_assert(!fits(108));
}

Test(unix_address, the_path_is_in_the_address)
{
	struct sockaddr_un addr;

	cr_assert(ivs_unix_address("/run/socket", &addr, NULL));
	cr_assert_eq(addr.sun_family, AF_UNIX);
	cr_assert_str_eq(addr.sun_path, "/run/socket");
}

Test(unix_address, errors_name_length_and_path)
{
	struct sockaddr_un addr;
	struct ivs_error err;

	cr_assert(!ivs_unix_address("", &addr, &err));
	cr_assert_str_eq(err.text, "the socket's path has 0 bytes, but must have 1 to 107: ");
}
