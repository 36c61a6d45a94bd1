/* SPDX-License-Identifier: BSD-3-Clause */
/* Tests of peer/core.c: limits in the code that all transports share. */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "peer/private.h"
#include "support/c/fds.h"

Test(peer_core, no_own_vector_beyond_16_bits_is_added)
{
	struct ivs_peer peer = {.epoll_fd = -1, .vectors_n = IVS_VECTOR_MAX};
	IVS_OWNED_FD last = test_fds_make();
	IVS_OWNED_FD surplus = test_fds_make();

	pthread_mutex_init(&peer.lock, NULL);
	peer.vectors_max = IVS_VECTOR_MAX + 8;
	peer.vectors = malloc(peer.vectors_max * sizeof(*peer.vectors));
	/* epoll cannot watch a regular file, so add a copy of the peer's eventfd as a vector. */
	cr_assert_eq(ivs_peer_watch_changes(&peer), 0);
	close(last);
	last = dup(peer.pending_fd);
	cr_assert_eq(ivs_peer_add_vector(&peer, &last), 0);
	cr_expect_eq(last, -1, "vector 65535 was not added");
	cr_expect_eq(peer.vectors_n, IVS_VECTOR_MAX + 1);
	cr_assert_eq(ivs_peer_add_vector(&peer, &surplus), 0);
	cr_expect_geq(surplus, 0, "a vector that no peer can ring was added");
	cr_expect_eq(peer.vectors_n, IVS_VECTOR_MAX + 1);
	close(peer.vectors[IVS_VECTOR_MAX]);
	close(peer.pending_fd);
	close(peer.epoll_fd);
	free(peer.vectors);
}
