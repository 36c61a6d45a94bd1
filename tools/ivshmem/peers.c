/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands peers and dump, which show what a peer sees of the region and of other peers. */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "ivshmem/registers.h"
#include "region/watch.h"
#include "tools/ivshmem/commands.h"
#include "tools/ivshmem/json_print.h"
#include "tools/ivshmem/target.h"
#include "tools/shared/dump.h"
#include "tools/shared/memory.h"
#include "tools/shared/table.h"

#define NUMBER_LEN 16

struct view {
	struct target target;
	struct memory_place place; /* the operand of dump */
	const char *len;
};

static const struct option view_options[] = {TARGET_JSON_OPTIONS, {0}};

static int take_option(void *context, int option, const char *value)
{
	(void)value;
	return target_json_option(&((struct view *)context)->target, option);
}

static int take_address(void *context, char *value)
{
	return target_operand(&((struct view *)context)->target, value);
}

static int take_range(void *context, char *value)
{
	struct view *view = context;

	if (!target_operand(&view->target, value))
		return 0;
	if (!view->place.offset)
		view->place.offset = value;
	else if (!view->len)
		view->len = value;
	else
		return USAGE_SURPLUS;
	return 0;
}

/* Return: the ids of the other peers. Set @n to their number. */
static const unsigned int *other_peers(struct ivs_peer *peer, unsigned int *n)
{
	static unsigned int ids[IVS_ID_MAX + 1];

	*n = ivs_peer_roster(peer, ids, IVS_ID_MAX + 1);
	return ids;
}

static json_t *peers_json(struct ivs_peer *peer)
{
	json_t *list = json_array();
	unsigned int n;
	const unsigned int *ids = other_peers(peer, &n);

	for (unsigned int i = 0; i < n; i++)
		(void)json_array_append_new(list,
					    json_pack("{s:i, s:i}", "id", (int)ids[i], "vectors",
						      (int)ivs_peer_vectors_of(peer, ids[i])));
	return list;
}

static int add_peer(struct table *table, unsigned int id, unsigned int vectors_n, const char *note)
{
	char number[NUMBER_LEN];
	int result;

	snprintf(number, sizeof(number), "%u", id);
	result = table_add(table, number);
	snprintf(number, sizeof(number), "%u", vectors_n);
	if (!result)
		result = table_add(table, number);
	return result ? result : table_add(table, note);
}

static int print_peers(struct ivs_peer *peer)
{
	static const struct table_column columns[] = {
		{"ID", true}, {"VECTORS", true}, {"NOTE", false}};
	struct table table = {.columns = columns, .columns_n = 3};
	int own_id = ivs_peer_id(peer);
	int result = 0;
	unsigned int n;
	const unsigned int *ids = other_peers(peer, &n);

	if (own_id >= 0)
		result = add_peer(&table, (unsigned int)own_id, ivs_peer_vectors(peer),
				  "this command's own peer");
	for (unsigned int i = 0; i < n && !result; i++)
		result = add_peer(&table, ids[i], ivs_peer_vectors_of(peer, ids[i]), "");
	if (!result)
		result = table_print(&table);
	table_deinit(&table);
	return result ? usage_failed("%s", strerror(-result)) : 0;
}

static int run_peers(int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem peers ADDRESS [--json]\n"
		"\n"
		"Lists the peers that are connected, and how many vectors each has. With a\n"
		"server's socket, this command briefly becomes a peer itself. With a region or\n"
		"in a guest, the server has to run with --roster.\n"
		"\n" TARGET_JSON_HELP "\n" TARGET_ADDRESSES "\n"
		"Example: the peers of a server\n"
		"  ivshmem peers unix:/run/ivshmem/my-vms.sock\n";
	static const struct usage usage = {help,	TARGET_JSON_LETTERS, view_options,
					   take_option, "see --help",	     take_address};
	static struct view view;
	struct ivs_peer *peer;
	const char *why;
	int status = usage_parse(&usage, &view, argc, argv);

	if (!status)
		status = target_open(&view.target, true, &peer);
	if (status)
		return status < 0 ? 0 : status;
	target_take_joins(peer);
	why = ivs_peer_cap_reason(peer, IVS_CAP_ROSTER);
	if (why)
		status = usage_failed("%s: %s", view.target.address, why);
	else if (view.target.json)
		status = json_print(json_pack("{s:i, s:o}", "own_id", ivs_peer_id(peer), "peers",
					      peers_json(peer)));
	else
		status = print_peers(peer);
	ivs_peer_close(peer);
	return status;
}

static json_t *missing_json(const struct ivs_peer *peer)
{
	static const struct {
		enum ivs_peer_cap cap;
		const char *name;
	} caps[] = {
		{IVS_CAP_ID, "id"},	    {IVS_CAP_RING, "ring"},	{IVS_CAP_WAIT, "wait"},
		{IVS_CAP_ROSTER, "roster"}, {IVS_CAP_CACHED, "cached"}, {IVS_CAP_WRITE, "write"},
	};
	json_t *missing = json_object();

	for (unsigned int i = 0; i < sizeof(caps) / sizeof(*caps); i++) {
		const char *why = ivs_peer_cap_reason(peer, caps[i].cap);

		if (why)
			(void)json_object_set_new(missing, caps[i].name, json_string(why));
	}
	return missing;
}

static json_t *changes_json(const struct ivs_peer *peer)
{
	unsigned int changes = ivs_peer_region_changes(peer);
	json_t *list = json_array();

	for (unsigned int i = 0; i < IVS_REGION_CHANGES_N; i++) {
		if (changes & 1U << i)
			(void)json_array_append_new(list, json_string(ivs_region_change_text(i)));
	}
	return list;
}

static json_t *roster_json(struct ivs_peer *peer)
{
	struct ivs_roster_info page;

	if (ivs_peer_region_changes(peer) &
		    IVS_REGION_SHRUNK || /* the page may have been cut off */
	    ivs_peer_read_roster(peer, &page, NULL, 0))
		return json_null();
	return json_pack("{s:I, s:i, s:i, s:b}", "generation", (json_int_t)page.generation,
			 "connected", (int)page.peers_n, "listed", (int)page.listed_n, "maintained",
			 (int)page.maintained);
}

static json_t *dump_json(const struct view *view, struct ivs_peer *peer)
{
	size_t len;

	ivs_peer_memory(peer, &len);
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:o, s:o, s:o, s:o}", "address",
			 view->target.address, "transport", ivs_peer_transport(peer), "description",
			 ivs_peer_describe(peer), "size", (json_int_t)len, "usable",
			 (json_int_t)ivs_peer_usable_len(peer), "own_id", ivs_peer_id(peer),
			 "vectors", (int)ivs_peer_vectors(peer), "peers", peers_json(peer),
			 "roster", roster_json(peer), "changes", changes_json(peer), "missing",
			 missing_json(peer));
}

static int dump(const struct view *view, struct ivs_peer *peer)
{
	enum outcome outcome;

	if (view->target.json)
		return json_print(dump_json(view, peer));
	outcome = view->place.offset ? memory_dump(peer, &view->place, view->len) : dump_peer(peer);
	return outcome == OUTCOME_OK ? 0 : STATUS_FAILED;
}

static int run_dump(int argc, char **argv)
{
	static const char help[] =
		"usage: ivshmem dump ADDRESS [--json]\n"
		"       ivshmem dump ADDRESS OFFSET LEN\n"
		"\n"
		"Prints the transport, the region, the roster and the capabilities that the peer\n"
		"lacks, or bytes of the region as hexadecimal digits and characters. Offsets and\n"
		"lengths are numbers of bytes, such as 4096, 4K or 0x1000.\n"
		"\n" TARGET_JSON_HELP "\n" TARGET_ADDRESSES "\n"
		"Example: the first page of a region\n"
		"  ivshmem dump looking-glass 0 4K\n";
	static const struct usage usage = {help,	TARGET_JSON_LETTERS, view_options,
					   take_option, "see --help",	     take_range};
	static struct view view;
	struct ivs_peer *peer;
	int status = usage_parse(&usage, &view, argc, argv);

	if (!status && view.place.offset && !view.len) {
		fprintf(stderr, "%s: no LEN: see --help\n", usage_name());
		return STATUS_USAGE;
	}
	if (!status && view.place.offset && view.target.json)
		return usage_error("bytes with option", "--json", "use ivshmem get for bytes");
	/* Try to open for writing, so that "no write" is printed only if writing is impossible. */
	if (!status)
		status = target_open(&view.target, false, &peer);
	if (status)
		return status < 0 ? 0 : status;
	target_take_joins(peer);
	status = dump(&view, peer);
	ivs_peer_close(peer);
	return status;
}

const struct command command_peers = {"peers", "list the peers that are connected", run_peers};
const struct command command_dump = {"dump", "print what a peer sees, or bytes in hex", run_dump};
