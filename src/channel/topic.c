/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/topic.h"

#include <stdlib.h>

int ivs_topic_check(struct ivs_channels *channels, const char *name)
{
	int result = ivs_channels_poll(channels);

	if (result)
		return result;
	return ivs_endpoint_name_is_valid(name) ? 0 : IVS_CHANNEL_E_NAME;
}

void ivs_topic_close(struct ivs_topic *topic)
{
	if (!topic)
		return;
	ivs_channel_remove(&topic->base);
	topic->close(topic);
	free(topic);
}
