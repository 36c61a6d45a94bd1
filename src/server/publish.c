/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/publish.h"

#include <string.h>

#include "base/error.h"

#define PUBLISH_AGAIN_MS 1000

void ivs_server_list_client(struct ivs_server *server, unsigned int id)
{
	uint64_t since;

	if (!server->page)
		return;
	since = ivs_roster_note(server->roster, id, NOTE_GENERATION);
	ivs_roster_page_writer_join(server->page, id, server->clients[id]->vectors_n, since);
	since = ivs_roster_page_writer_since(server->page, id);
	ivs_roster_set_note(server->roster, id, NOTE_GENERATION, since);
}

int ivs_server_open_roster_page(struct ivs_server *server, uint32_t entries_n,
				struct ivs_error *err)
{
	int result;

	if (!entries_n)
		return 0;
	result = ivs_roster_page_writer_new(server->region, entries_n, &server->page, err);
	if (result)
		return result;
	/* Clients of a former process are there, at the generation at which they joined. */
	for (unsigned int id = 0; id < server->ids_end; id++) {
		if (server->clients[id] && ivs_roster_greeted(server->roster, id))
			ivs_server_list_client(server, id);
	}
	result = ivs_roster_page_writer_flush(server->page);
	if (!result)
		return 0;
	/* It is not in the region, so it does not end there either. */
	ivs_roster_page_writer_free(server->page);
	server->page = NULL;
	if (result == IVS_ROSTER_PAGE_WRITER_E_CUT)
		return ivs_error_set(err, result, "somebody truncates the region");
	return ivs_error_errno(err, -result, "cannot write the roster into the region");
}

void ivs_server_close_roster_page(struct ivs_server *server)
{
	if (!server->page)
		return;
	ivs_roster_page_writer_finish(server->page);
	if (ivs_roster_page_writer_flush(server->page))
		ivs_log(IVS_LOG_WARNING, "cannot say in the region that its roster ends");
	ivs_roster_page_writer_free(server->page);
	server->page = NULL;
}

/* Nobody is refused or dropped because the region cannot be written to. */
void ivs_server_publish(struct ivs_server *server)
{
	bool failed_before = server->publish_failed;
	int result;

	if (!server->page || ivs_loop_timer_is_set(&server->publish_timer))
		return;
	result = ivs_roster_page_writer_flush(server->page);
	if (result && !failed_before)
		ivs_log(IVS_LOG_WARNING,
			"cannot publish the roster in the region, and try again once a second: %s",
			result == IVS_ROSTER_PAGE_WRITER_E_CUT ? "a client has truncated the region"
							       : strerrordesc_np(-result));
	if (!result && failed_before)
		ivs_log(IVS_LOG_WARNING, "the roster is published again");
	server->publish_failed = result;
	if (result)
		ivs_loop_set_timer(&server->loop, &server->publish_timer,
				   ivs_clock_deadline(PUBLISH_AGAIN_MS));
}

void ivs_server_publish_again(struct ivs_loop_timer *timer)
{
	ivs_server_publish(IVS_CONTAINER_OF(timer, struct ivs_server, publish_timer));
}
