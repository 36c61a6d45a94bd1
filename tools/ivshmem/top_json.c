/* SPDX-License-Identifier: BSD-3-Clause */
#include "daemon/json.h"
#include "tools/ivshmem/top_cells.h"
#include "tools/shared/address.h"

static json_t *text_or_null(const char *text)
{
	return *text ? ivs_json_text(text) : json_null();
}

static json_t *rate_or_null(double rate)
{
	return rate < 0 ? json_null() : json_real(rate);
}

/* Return: whether the peer reads: null if nothing is known. */
static json_t *reading_of(enum top_reads reads)
{
	return reads == TOP_READS_UNKNOWN ? json_null() : json_boolean(reads != TOP_READS_NOT);
}

static json_t *doorbells_of(const struct top_peer *peer)
{
	json_t *list = json_array();

	for (size_t i = 0; i < peer->doorbells_n; i++) {
		const struct top_doorbell *doorbell = &peer->doorbells[i];

		(void)json_array_append_new(
			list, json_pack("{s:I, s:o, s:o}", "unread", (json_int_t)doorbell->unread,
					"seen_per_s", rate_or_null((double)doorbell->rate),
					"reading", reading_of(top_reads_of(doorbell))));
	}
	return list;
}

static json_t *peer_of(const struct top_peer *peer)
{
	return json_pack(
		"{s:I, s:I, s:o, s:o, s:o, s:I, s:o, s:I, s:b, s:b, s:b, s:I, s:o, s:o, s:o, s:o}",
		"id", (json_int_t)peer->id, "pid", (json_int_t)peer->pid, "program",
		text_or_null(peer->program), "vm", text_or_null(peer->vm), "user",
		text_or_null(peer->user), "uid", (json_int_t)peer->uid, "since",
		text_or_null(peer->since), "vectors", (json_int_t)peer->vectors_n, "told_leaves",
		peer->told_leaves, "greeted", peer->greeted, "blocked", peer->blocked, "behind",
		(json_int_t)peer->behind, "unread",
		peer->counted ? json_integer((json_int_t)peer->unread) : json_null(), "seen_per_s",
		rate_or_null(peer->rate), "reading", reading_of(peer->reads), "doorbells",
		peer->counted ? doorbells_of(peer) : json_null());
}

static json_t *peers_of(const struct top_server *server)
{
	json_t *list = json_array();

	for (size_t i = 0; i < server->peers_n; i++)
		(void)json_array_append_new(list, peer_of(&server->peers[i]));
	return list;
}

static json_t *reasons_of(const struct top_reasons *reasons)
{
	json_t *object = json_object();

	for (size_t i = 0; i < reasons->n; i++)
		(void)json_object_set_new(object, reasons->list[i].name,
					  json_integer((json_int_t)reasons->list[i].n));
	return object;
}

/* Add what only the server can say. */
static void json_add_reply(json_t *json, const struct top_server *server)
{
	json_t *reply = json_pack(
		"{s:o, s:o, s:o, s:I, s:I, s:{s:I, s:o, s:o, s:I}, s:I, s:I, s:I, s:b, s:o}",
		"version", text_or_null(server->version), "since", text_or_null(server->since),
		"region", text_or_null(server->region), "region_size",
		(json_int_t)server->region_size, "vectors", (json_int_t)server->vectors_n, "totals",
		"joined", (json_int_t)server->joined, "left", reasons_of(&server->left), "refused",
		reasons_of(&server->refused), "messages", (json_int_t)server->messages, "ids_left",
		(json_int_t)server->ids_left, "vacant_ids", (json_int_t)server->vacant_n,
		"in_flight", (json_int_t)server->in_flight, "waiting", server->waiting,
		"seen_per_s", rate_or_null(server->rate));

	(void)json_object_update(json, reply);
	json_decref(reply);
}

static json_t *server_of(const struct top_server *server)
{
	json_t *json = json_pack(
		"{s:o, s:o, s:o, s:s, s:o}", "pid",
		server->pid > 0 ? json_integer(server->pid) : json_null(), "socket",
		text_or_null(server->socket), "control", text_or_null(server->control), "state",
		top_state_name(server->state), "note",
		server->state == TOP_OK ? json_null() : text_or_null(server->note));

	if (json && server->sampled_ns)
		json_add_reply(json, server);
	if (json)
		(void)json_object_set_new(json, "peers",
					  server->state == TOP_OK ? peers_of(server) : json_null());
	return json;
}

static json_t *users_of(const struct ivs_host_region *region)
{
	json_t *list = json_array();

	for (size_t i = 0; i < region->users_n; i++) {
		const struct ivs_host_user *user = &region->users[i];

		(void)json_array_append_new(
			list, json_pack("{s:I, s:o, s:o}", "pid", (json_int_t)user->pid, "program",
					text_or_null(user->program), "vm", text_or_null(user->vm)));
	}
	return list;
}

static json_t *region_of(const struct ivs_host_region *region)
{
	char address[ADDRESS_LEN];

	ivs_host_region_address(region, address, sizeof(address));
	return json_pack("{s:o, s:o, s:s, s:o}", "address", ivs_json_text(address), "size",
			 region->known || region->size ? json_integer((json_int_t)region->size)
						       : json_null(),
			 "kind", ivs_host_kind_name(region->kind), "used_by", users_of(region));
}

json_t *top_json(const struct top_model *model)
{
	json_t *servers = json_array();
	json_t *regions = json_array();

	for (size_t i = 0; i < model->servers_n; i++)
		(void)json_array_append_new(servers, server_of(&model->servers[i]));
	for (size_t i = 0; i < model->regions.n; i++) {
		if (model->regions.list[i].why)
			(void)json_array_append_new(regions, region_of(&model->regions.list[i]));
	}
	return json_pack("{s:o, s:f, s:I, s:I, s:o, s:o}", "time", ivs_json_time(model->wall_ms),
			 "interval_s", model->interval_ms / 1000.0, "delayed",
			 (json_int_t)model->delayed_n, "left_out", (json_int_t)model->left_out_n,
			 "servers", servers, "regions", regions);
}
