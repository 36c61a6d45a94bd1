/* SPDX-License-Identifier: BSD-3-Clause */
#include "server/observe/control.h"

#include <assert.h>
#include <jansson.h>

#include "base/fd.h"
#include "server/observe/request.h"
#include "server/observe/status.h"

static_assert(IVS_REQUEST_LINE_MAX == IVS_CONTROL_LINE_MAX,
	      "the parser and the socket have the same limit");

static int answer_request(void *context, const char *line, size_t len, char **text,
			  size_t *text_len)
{
	struct ivs_request request;
	struct ivs_error err;

	if (ivs_request_parse(line, len, &request, &err))
		return ivs_status_error(err.text, text, text_len);
	return ivs_status_reply(context, &request, text, text_len);
}

int ivs_server_open_control(struct ivs_server *server, const struct ivs_listener_options *opts,
			    struct ivs_error *err)
{
	struct stat name;
	IVS_OWNED_FD fd = ivs_handover_take_control(server->handover, &name);
	bool is_new = fd < 0;
	int result;
	const struct ivs_control_options control_opts = {
		.listener = opts,
		.inherited_fd = &fd,
		.name = &name,
		.loop = &server->loop,
		.answer = answer_request,
		.context = server,
	};

	json_object_seed(0); /* this reads a file, so do it before chroot(2) */
	result = ivs_control_open(&control_opts, &server->control, err);
	if (result)
		return result;
	if (is_new || fd >= 0)
		ivs_handover_note_control(server->handover,
					  &ivs_control_listener(server->control)->ours);
	return 0;
}
