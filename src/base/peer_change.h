/* SPDX-License-Identifier: BSD-3-Clause */
/* A join or a leave that has not been reported yet: from a server, or from the roster page. */
#ifndef IVS_BASE_PEER_CHANGE_H
#define IVS_BASE_PEER_CHANGE_H

#include <stdbool.h>

/**
 * struct ivs_peer_change - one of them
 * @joined:    false: the peer left
 * @vectors_n: how many vectors it can be rung on; 0 if it left
 */
struct ivs_peer_change {
	bool joined;
	unsigned int id;
	unsigned int vectors_n;
};

#endif
