/* SPDX-License-Identifier: BSD-3-Clause */
/* The public API: opening by address, closing, and the getters. */
#include "ivshmem/peer.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/error.h"
#include "base/fd.h"
#include "peer/private.h"

#define DEFAULT_TIMEOUT_MS 5000
#define WHY_READ_ONLY                                                                              \
	"the program opened the region for reading only: omit its option --read-only, or "         \
	"use ivs_peer_open()"

static const struct {
	const char *prefix;
	ivs_transport_open *open;
} transports[] = {
	{"unix:", ivs_unix_open}, {"shm:", ivs_shm_open},	   {"file:", ivs_file_open},
	{"pci:", ivs_pci_open},	  {"/dev/ivshmem", ivs_node_open},
};

static struct ivs_peer *peer_new(void)
{
	struct ivs_peer *peer = calloc(1, sizeof(*peer));

	if (!peer)
		return NULL;
	peer->id = -1;
	peer->epoll_fd = -1;
	peer->pending_fd = -1;
	peer->stop_fd = -1;
	peer->gone_fd = -1;
	peer->file = (struct ivs_peer_region)IVS_PEER_REGION_INIT;
	peer->roster.timer_fd = -1;
	peer->roster.reader.own_id = -1;
	pthread_mutex_init(&peer->lock, NULL);
	return peer;
}

static void peer_describe(struct ivs_peer *peer)
{
	const char *memory = ivs_peer_caps(peer) & IVS_CAP_CACHED ? "cached" : "uncached";
	char interrupts[32] = "no interrupts";

	if (ivs_peer_caps(peer) & IVS_CAP_WAIT)
		snprintf(interrupts, sizeof(interrupts), "%u vectors", peer->vectors_n);
	snprintf(peer->description, sizeof(peer->description), "%s: %s memory, %s%s%s%s",
		 peer->transport->name, memory,
		 ivs_peer_caps(peer) & IVS_CAP_WRITE ? "" : "read-only, ", interrupts,
		 *peer->region ? ", region " : "", peer->region);
}

/* Return: the index of the transport for @address; the number of transports if none matches. */
static size_t transport_find(const char *address)
{
	size_t i = 0;

	while (i < sizeof(transports) / sizeof(*transports) &&
	       strncmp(address, transports[i].prefix, strlen(transports[i].prefix)) != 0)
		i++;
	return i;
}

static int peer_open(const char *address, const struct ivs_peer_options *opts,
		     const char *read_only, struct ivs_peer **out, struct ivs_error *err)
{
	struct ivs_peer_options used = opts ? *opts : (struct ivs_peer_options){0};
	size_t i = transport_find(address);
	struct ivs_peer *peer;
	int result;

	if (err)
		*err->text = 0;
	if (i == sizeof(transports) / sizeof(*transports))
		return ivs_error_set(err, IVS_PEER_E_ADDRESS,
				     "\"%s\" is not a valid address: use unix:PATH, shm:NAME, "
				     "file:PATH, pci:BDF or /dev/ivshmemN",
				     address);
	if (!used.timeout_ms)
		used.timeout_ms = DEFAULT_TIMEOUT_MS;
	peer = peer_new();
	if (!peer)
		return ivs_error_errno(err, ENOMEM, "cannot open %s", address);
	peer->read_only = read_only;
	result = transports[i].open(peer, address + strlen(transports[i].prefix), &used, err);
	if (!result && !peer->transport->next_change)
		result = ivs_peer_roster_open(peer, err);
	if (!result) {
		result = ivs_peer_open_wait(peer);
		if (result)
			ivs_error_errno(err, -result, "cannot wait at %s", address);
	}
	if (result) {
		ivs_peer_close(peer);
		return result;
	}
	peer_describe(peer);
	*out = peer;
	return 0;
}

int ivs_peer_open(const char *address, const struct ivs_peer_options *opts, struct ivs_peer **out,
		  struct ivs_error *err)
{
	return peer_open(address, opts, NULL, out, err);
}

int ivs_peer_open_read_only(const char *address, const struct ivs_peer_options *opts,
			    struct ivs_peer **out, struct ivs_error *err)
{
	return peer_open(address, opts, WHY_READ_ONLY, out, err);
}

void ivs_peer_close(struct ivs_peer *peer)
{
	if (!peer)
		return;
	if (peer->transport)
		peer->transport->close(peer);
	free(peer->state);
	ivs_peer_roster_close(peer);
	ivs_peer_region_close(peer);
	if (peer->memory)
		munmap(peer->memory, peer->memory_len);
	for (unsigned int i = 0; i < peer->vectors_n; i++)
		ivs_fd_close(&peer->vectors[i]);
	free(peer->vectors);
	ivs_fd_close(&peer->pending_fd);
	ivs_fd_close(&peer->stop_fd);
	ivs_fd_close(&peer->epoll_fd);
	pthread_mutex_destroy(&peer->lock);
	free(peer);
}

const char *ivs_peer_transport(const struct ivs_peer *peer)
{
	return peer->transport->name;
}

const char *ivs_peer_describe(const struct ivs_peer *peer)
{
	return peer->description;
}

int ivs_peer_id(const struct ivs_peer *peer)
{
	return peer->id;
}

void *ivs_peer_memory(const struct ivs_peer *peer, size_t *len)
{
	if (len)
		*len = peer->memory_len;
	return peer->memory;
}

size_t ivs_peer_usable_len(const struct ivs_peer *peer)
{
	return peer->memory_len - (size_t)peer->roster.reserved_len;
}

int ivs_peer_fd(const struct ivs_peer *peer)
{
	return peer->epoll_fd;
}

/* Called with the lock held. */
static bool peer_is_reported(const struct ivs_peer *peer, unsigned int id)
{
	if (peer->transport->is_reported)
		return peer->transport->is_reported(peer, id);
	return ivs_roster_page_reader_is_reported(&peer->roster.reader, id);
}

unsigned int ivs_peer_roster(struct ivs_peer *peer, unsigned int *ids, unsigned int ids_n)
{
	unsigned int n = 0;

	pthread_mutex_lock(&peer->lock);
	for (unsigned int id = 0; id <= IVS_ID_MAX; id++) {
		if (!peer_is_reported(peer, id))
			continue;
		if (n < ids_n)
			ids[n] = id;
		n++;
	}
	pthread_mutex_unlock(&peer->lock);
	return n;
}

/* Called with the lock held. */
static unsigned int peer_vectors_of(const struct ivs_peer *peer, unsigned int id)
{
	const struct ivs_roster_page_peer *other;

	if (peer->id >= 0 && id == (unsigned int)peer->id)
		return peer->vectors_n;
	if (peer->transport->vectors_of)
		return peer->transport->vectors_of(peer, id);
	other = ivs_roster_page_reader_get(&peer->roster.reader, id);
	return other ? other->vectors_n : 0;
}

unsigned int ivs_peer_vectors_of(struct ivs_peer *peer, unsigned int id)
{
	unsigned int n;

	pthread_mutex_lock(&peer->lock);
	n = peer_vectors_of(peer, id);
	pthread_mutex_unlock(&peer->lock);
	return n;
}
