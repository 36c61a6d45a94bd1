/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/handover/resume.h"

#include <string.h>

#include "server/clients.h"
#include "server/departed.h"
#include "server/seats.h"
#include "server/service_manager.h"

/* Return: 0, IVS_HANDOVER_E_ABSENT, -errno; if not 0, the client has left the roster. */
static int resume_client(struct ivs_server *server, unsigned int id)
{
	const struct ivs_handover_client which = {
		.id = id,
		.serial = ivs_roster_serial(server->roster, id),
		.seat_serial = ivs_roster_seat_serial(server->roster, id),
		.vectors_n = ivs_roster_vectors(server->roster, id),
	};
	struct ivs_client *client;
	int result;

	result = ivs_handover_take_client(server->handover, &which, &client);
	if (result) {
		(void)ivs_roster_leave(server->roster, id);
		return result;
	}
	client->since_ms = (int64_t)ivs_roster_note(server->roster, id, NOTE_SINCE);
	client->quiet = ivs_roster_quiet(server->roster, id);
	return ivs_server_add(server, client);
}

void ivs_server_resume(struct ivs_server *server)
{
	unsigned int before_n = ivs_roster_peers(server->roster);
	struct ivs_client *rest;
	int result;

	for (unsigned int id = 0; id < (IVS_ID_MAX + 1); id++) {
		if (!ivs_roster_present(server->roster, id))
			continue;
		result = resume_client(server, id);
		if (result < 0 && ivs_log_allows(&server->others))
			ivs_log(IVS_LOG_WARNING, "cannot resume client %u: %s", id,
				strerrordesc_np(-result));
	}
	ivs_server_resume_seats(server);
	rest = ivs_handover_take_rest(server->handover);
	if (rest)
		ivs_server_depart(server, rest);
	ivs_server_store_again(&server->store_timer);
	if (server->handover->resumed)
		ivs_log(IVS_LOG_INFO, "resumed %u of %u clients", ivs_roster_peers(server->roster),
			before_n);
}
