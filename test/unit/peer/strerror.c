/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of peer/strerror.c: every result has its own description. */
#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "ivshmem/peer.h"

Test(peer_strerror, every_result_of_the_api_has_words_of_its_own)
{
	for (int result = 0; result <= IVS_PEER_E_STOPPED; result++) {
		cr_expect_str_neq(ivs_peer_strerror(result), "unknown result", "%d", result);
		for (int other = 0; other < result; other++)
			cr_expect_str_neq(ivs_peer_strerror(result), ivs_peer_strerror(other),
					  "%d and %d", result, other);
	}
	/* A result that is added to the API needs a description, and a new limit in this test. */
	cr_expect_str_eq(ivs_peer_strerror(IVS_PEER_E_STOPPED + 1), "unknown result");
}

Test(peer_strerror, errno_has_the_words_of_libc)
{
	cr_expect_str_eq(ivs_peer_strerror(-ENOMEM), strerror(ENOMEM));
	cr_expect_str_eq(ivs_peer_strerror(-EMFILE), strerror(EMFILE));
}

Test(peer_strerror, other_numbers_are_unknown)
{
	const int numbers[] = {INT_MIN, INT_MIN + 1, -4096, -4095, 1000, INT_MAX};

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		cr_expect_str_eq(ivs_peer_strerror(numbers[i]), "unknown result", "%d", numbers[i]);
}
