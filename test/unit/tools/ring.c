/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of tools/shared/ring.c with functions in place of the library's, which know as many peers
 * and vectors as a roster page can list. Any peer can write such a page into the region.
 */
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ivshmem/registers.h"
#include "tools/shared/ring.h"

#define RINGS_MAX (1u << 20)

/* What the stand-ins below for functions of the library report, and what they count. */
static unsigned int peers_n;
static unsigned int vectors_n;
static unsigned int later_vectors_n; /* number of vectors from the second query on */
static unsigned int asked_n;
static uint64_t rung_n;
static bool endless;

unsigned int ivs_peer_caps(const struct ivs_peer *peer)
{
	(void)peer;
	return IVS_CAP_ROSTER | IVS_CAP_RING;
}

const char *ivs_peer_cap_reason(const struct ivs_peer *peer, enum ivs_peer_cap cap)
{
	(void)peer;
	(void)cap;
	return NULL;
}

unsigned int ivs_peer_roster(struct ivs_peer *peer, unsigned int *ids, unsigned int max)
{
	(void)peer;
	for (unsigned int i = 0; i < peers_n && i < max; i++)
		ids[i] = i;
	return peers_n;
}

unsigned int ivs_peer_vectors(const struct ivs_peer *peer)
{
	(void)peer;
	return vectors_n;
}

unsigned int ivs_peer_vectors_of(struct ivs_peer *peer, unsigned int id)
{
	(void)peer;
	(void)id;
	return asked_n++ < peers_n ? vectors_n : later_vectors_n;
}

int ivs_peer_ring(struct ivs_peer *peer, unsigned int id, unsigned int vector)
{
	(void)peer;
	(void)id;
	(void)vector;
	rung_n++;
	if (endless) {
		kill(getppid(), SIGUSR1);
		pause();
	}
	return rung_n > RINGS_MAX ? IVS_PEER_E_ABSENT : 0; /* so that the test ends */
}

const char *ivs_peer_strerror(int result)
{
	(void)result;
	return "";
}

static enum outcome ring_all(unsigned int peers, unsigned int vectors, unsigned int later)
{
	peers_n = peers;
	vectors_n = vectors;
	later_vectors_n = later;
	asked_n = 0;
	rung_n = 0;
	return ring_by_text(NULL, "all", NULL, false);
}

Test(ring, all_vectors_of_all_peers, .init = cr_redirect_stderr)
{
	cr_expect_eq(ring_all(3, 4, 4), OUTCOME_OK);
	cr_expect_eq(rung_n, 12);
	cr_expect_eq(ring_all(IVS_ID_MAX, 16, 16), OUTCOME_OK);
	cr_expect_eq(rung_n, IVS_ID_MAX * 16);
	cr_expect_eq(ring_all(0, 0, 0), OUTCOME_OK);
	cr_expect_eq(rung_n, 0);
}

/* No peer is rung if the roster names more vectors than one command may ring. */
Test(ring, total_is_bounded, .init = cr_redirect_stderr)
{
	cr_expect_eq(ring_all(IVS_ID_MAX + 1, IVS_VECTOR_MAX + 1, 1), OUTCOME_FAILED);
	cr_expect_eq(rung_n, 0);
	fflush(stderr);
	cr_expect_stderr_eq_str(": cannot ring all peers: the roster lists 4294967296 vectors, and "
				"at most 1048576 are rung at once: it may be wrong, because every "
				"peer can write to it; ring one peer at a time\n");
}

Test(ring, roster_that_grows_meanwhile, .init = cr_redirect_stderr)
{
	cr_expect_eq(ring_all(IVS_ID_MAX, 1, IVS_VECTOR_MAX + 1), OUTCOME_OK);
	cr_expect_eq(rung_n, IVS_ID_MAX);
}

static void nothing(int number)
{
	(void)number;
}

/* SIGINT ends the ringing. */
Test(ring, interrupt)
{
	sigset_t rung;
	int status;
	int number;
	pid_t pid;

	signal(SIGUSR1, nothing);
	sigemptyset(&rung);
	sigaddset(&rung, SIGUSR1);
	sigprocmask(SIG_BLOCK, &rung, NULL);
	endless = true;
	pid = fork();
	if (!pid)
		_exit(ring_all(2, 2, 2) == OUTCOME_OK);
	cr_assert_eq(sigwait(&rung, &number), 0);
	cr_assert_eq(kill(pid, SIGINT), 0);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_expect(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
}
