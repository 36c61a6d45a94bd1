/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/publish.h"

#include <string.h>

#include "base/error.h"

#define PUBLISH_AGAIN_MS 1000

static void list_client(struct ivs_server *server, const struct ivs_client *client)
{
	uint64_t since = ivs_roster_note(server->roster, client->id, NOTE_GENERATION);

	ivs_roster_page_writer_join(server->page, client->id, client->vectors_n, since);
	since = ivs_roster_page_writer_since(server->page, client->id);
	ivs_roster_set_note(server->roster, client->id, NOTE_GENERATION, since);
}

/* List all greeted clients. Clients that were resumed keep the generation at which they joined. */
static void list_greeted(struct ivs_server *server)
{
	for (unsigned int id = 0; id < server->ids_end; id++) {
		if (server->clients[id] && ivs_roster_greeted(server->roster, id) &&
		    !ivs_roster_page_writer_since(server->page, id))
			list_client(server, server->clients[id]);
	}
}

static const char *failure_text(int result)
{
	if (result == IVS_ROSTER_PAGE_WRITER_E_CUT)
		return "another process has truncated the region";
	if (result == IVS_ROSTER_PAGE_WRITER_E_NO_PAGE)
		return "the region has a hole, and no memory (or space on the disk) is free for it";
	return strerrordesc_np(-result);
}

static int report_failure(int result, struct ivs_error *err)
{
	return ivs_error_set(err, result < 0 ? result : IVS_PUBLISH_E_REGION,
			     "cannot write the roster into the region: %s", failure_text(result));
}

int ivs_server_open_roster_page(struct ivs_server *server, uint32_t entries_n,
				struct ivs_error *err)
{
	int result;

	if (!entries_n)
		return 0;
	result = ivs_roster_page_writer_new(server->region, entries_n, &server->page, err);
	if (result)
		return result < 0 ? result : IVS_PUBLISH_E_REGION;
	list_greeted(server);
	result = ivs_roster_page_writer_flush(server->page);
	if (!result)
		return 0;
	/* No complete roster page was written, so none needs to be marked as unmaintained. */
	ivs_roster_page_writer_free(server->page);
	server->page = NULL;
	return report_failure(result, err);
}

void ivs_server_close_roster_page(struct ivs_server *server)
{
	if (!server->page)
		return;
	ivs_roster_page_writer_finish(server->page);
	if (ivs_roster_page_writer_flush(server->page))
		ivs_log(IVS_LOG_WARNING,
			"cannot mark the roster in the region as no longer maintained");
	ivs_roster_page_writer_free(server->page);
	server->page = NULL;
}

static void log_change(struct ivs_server *server, int result)
{
	if (result && !server->publish_failed)
		ivs_log(IVS_LOG_WARNING,
			"cannot publish the roster in the region, retrying once a second: %s",
			failure_text(result));
	if (!result && server->publish_failed)
		ivs_log(IVS_LOG_WARNING, "the roster is published again");
	server->publish_failed = result;
}

/* P-6: a client is listed once it has been greeted. No client is dropped if publishing fails. */
void ivs_server_publish(struct ivs_server *server)
{
	int result;

	if (!server->page)
		return;
	if (server->greeted)
		list_greeted(server);
	server->greeted = false;
	if (ivs_loop_timer_is_set(&server->publish_timer))
		return;
	result = ivs_roster_page_writer_flush(server->page);
	log_change(server, result);
	if (result)
		ivs_loop_set_timer(&server->loop, &server->publish_timer,
				   ivs_clock_deadline(PUBLISH_AGAIN_MS));
}

void ivs_server_publish_again(struct ivs_loop_timer *timer)
{
	ivs_server_publish(IVS_CONTAINER_OF(timer, struct ivs_server, publish_timer));
}
