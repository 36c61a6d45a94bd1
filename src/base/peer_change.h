/* SPDX-License-Identifier: BSD-3-Clause */
/* A join or a leave to be reported, received from a server or read from the roster page. */
#ifndef IVS_BASE_PEER_CHANGE_H
#define IVS_BASE_PEER_CHANGE_H

#include <stdbool.h>

/**
 * struct ivs_peer_change - a join or a leave
 * @joined:    whether the peer joined; false: it left
 * @vectors_n: number of the peer's vectors; 0 if the peer left
 */
struct ivs_peer_change {
	bool joined;
	unsigned int id;
	unsigned int vectors_n;
};

#endif
