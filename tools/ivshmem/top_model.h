/* SPDX-License-Identifier: BSD-3-Clause */
/* What "ivshmem top" knows: the servers of this host with their peers, and the regions. */
#ifndef TOOLS_IVSHMEM_TOP_MODEL_H
#define TOOLS_IVSHMEM_TOP_MODEL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "host/regions.h"

#define TOP_NAME_LEN 64
#define TOP_TIME_LEN 32
#define TOP_NOTE_LEN 512
#define TOP_PATH_LEN 512
#define TOP_REASONS_MAX 16
#define TOP_SAME_MAX 3 /* samples after which a peer counts as one that does not read */

/*
 * Doorbells that all peers of a server together can have: each is a file descriptor of the server,
 * and each costs this program up to 1 KB of memory in JSON.
 */
#define TOP_DOORBELLS_MAX 131072

/**
 * enum top_reads - whether a peer reads its doorbells, as far as its unread rings tell
 * @TOP_READS_UNKNOWN: the server cannot count rings
 * @TOP_READS_ALL:     no rings are unread
 * @TOP_READS_LATE:    there are unread rings
 * @TOP_READS_NOT:     a doorbell has had unread rings in TOP_SAME_MAX successive samples, and they
 *                     have not become fewer
 */
enum top_reads { TOP_READS_UNKNOWN, TOP_READS_ALL, TOP_READS_LATE, TOP_READS_NOT };

/**
 * struct top_doorbell - one vector of a peer
 * @unread: rings since the peer last read it
 * @rate:   rings per second that were seen since the last sample; -1: this is the first sample
 * @same_n: number of samples, up to TOP_SAME_MAX, for which @unread has not been 0 or become less
 */
struct top_doorbell {
	uint64_t unread;
	float rate;
	uint8_t same_n;
};

/**
 * struct top_peer - a client of a server. All texts are safe to print
 * @pid:      0: it has none in the PID namespace of the server
 * @program:  name of the program, or ""
 * @vm:       name of the VM, or ""
 * @user:     name of the user, or the uid
 * @since:    as show_time() returns it; @since_ms: the same, in ms since 1970; 0: unknown
 * @counted:  the rings are known: the members below are valid
 * @unread:   sum of all doorbells
 * @rate:     sum of all doorbells; -1: unknown
 */
struct top_peer {
	unsigned int id;
	pid_t pid;
	uid_t uid;
	char program[TOP_NAME_LEN];
	char vm[IVS_HOST_VM_LEN];
	char user[TOP_NAME_LEN];
	char since[TOP_TIME_LEN];
	int64_t since_ms;
	unsigned int vectors_n;
	bool told_leaves;
	bool greeted;
	bool blocked;
	uint64_t behind;
	bool counted;
	uint64_t unread;
	double rate;
	enum top_reads reads;
	struct top_doorbell *doorbells;
	size_t doorbells_n;
};

/** struct top_reason - how often something happened for a reason, such as a refusal */
struct top_reason {
	char name[TOP_NAME_LEN];
	uint64_t n;
};

struct top_reasons {
	struct top_reason list[TOP_REASONS_MAX];
	size_t n;
};

/**
 * enum top_state - what is known about a server
 * @TOP_NEW:        it has not been asked yet
 * @TOP_OK:         it has answered
 * @TOP_NO_CONTROL: it has no control socket, so it cannot be asked
 * @TOP_FAILED:     it runs, but could not be asked: @note has the reason
 * @TOP_GONE:       its process has ended
 */
enum top_state { TOP_NEW, TOP_OK, TOP_NO_CONTROL, TOP_FAILED, TOP_GONE };

/**
 * struct top_server - a server. Its totals stay even if it can no longer be asked; its peers do not
 * @control:    path of its control socket, untrusted; "": none is known
 * @socket:     path of its socket for clients; "": unknown. This and all other texts are safe to
 *              print
 * @pid:        0: unknown
 * @given:      the user has named @control
 * @note:       for TOP_FAILED and TOP_NO_CONTROL, the reason
 * @sampled_ns: when it last answered; 0: never
 * @next_ns:    when to ask it again
 * @slow:       it needed long for its last reply, or did not answer
 * @gone_ms:    when it was found to be gone, in ms since 1970
 * @unread, @rate, @not_n: sums over its peers: rings, rings per second, peers that do not read
 */
struct top_server {
	char control[TOP_PATH_LEN];
	char socket[TOP_PATH_LEN];
	pid_t pid;
	bool given;
	enum top_state state;
	char note[TOP_NOTE_LEN];
	int64_t sampled_ns;
	int64_t next_ns;
	bool slow;
	int64_t gone_ms;
	char version[TOP_NAME_LEN];
	char since[TOP_TIME_LEN];
	int64_t since_ms;
	char region[TOP_PATH_LEN];
	uint64_t region_size;
	uint64_t vectors_n;
	uint64_t joined;
	struct top_reasons left;
	struct top_reasons refused;
	uint64_t messages;
	uint64_t ids_left;
	uint64_t vacant_n;
	uint64_t in_flight;
	bool waiting;
	struct top_peer *peers;
	size_t peers_n;
	uint64_t unread;
	double rate;
	unsigned int not_n;
};

/**
 * struct top_model - everything that is shown; start from {0}
 * @interval_ms: time from one sample to the next
 * @samples_n:   number of samples that have been taken
 * @wall_ms:     when the last one was taken, in ms since 1970
 * @delayed_n:   number of servers that the last one did not ask, because others were slow
 * @left_out_n:  number of servers that were found, but not taken, because there are too many
 */
struct top_model {
	unsigned int interval_ms;
	unsigned int samples_n;
	int64_t wall_ms;
	unsigned int delayed_n;
	unsigned int left_out_n;
	struct top_server *servers;
	size_t servers_n;
	struct ivs_host_regions regions;
};

/** top_reasons_sum() - how often it happened for all reasons */
uint64_t top_reasons_sum(const struct top_reasons *reasons);

/** top_reasons_add() - add @n for the reason @name; one that is too many is left out */
void top_reasons_add(struct top_reasons *reasons, const char *name, uint64_t n);

/** top_reads_of() - whether a peer reads this doorbell */
enum top_reads top_reads_of(const struct top_doorbell *doorbell);

/**
 * top_reply_take() - set what the reply of a server says
 * @server: its peers are freed and replaced. The rates are from the difference to what it had
 *          before
 * @reply:  untrusted. The doorbells of a peer are unknown if there are more than it has vectors,
 *          or, with those of the peers before it, more than TOP_DOORBELLS_MAX
 * @now_ns: when it was received
 *
 * The programs and users of the peers are copied from peers that were known, or left empty.
 *
 * Return: 0 or -ENOMEM.
 */
IVS_MUST_USE int top_reply_take(struct top_server *server, const json_t *reply, int64_t now_ns);

/** top_names_fill() - find the program, VM and user of a peer, if they have not been found yet */
void top_names_fill(struct top_peer *peer);

/** top_process_has_ended() - whether the process has ended, or is a zombie */
bool top_process_has_ended(pid_t pid);

/** top_json() - the model as JSON; NULL if memory is exhausted */
json_t *top_json(const struct top_model *model);

void top_peers_free(struct top_peer *peers, size_t n);

#endif
