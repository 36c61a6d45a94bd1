/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/claim.h"

#include <time.h>

#include "base/clock.h"
#include "channel/shared.h"

#define TRIES 500
#define PAUSE_NS IVS_NS_PER_MS

/* The word POSITION of the endpoint; an endpoint that has been published claims the name. */
#define HAS_NAME 1

/* Set @has_name if a rival has the name. Return: the lowest section of a rival; -1: none. */
static int find_rival(const struct ivs_channels *channels, enum ivs_endpoint_role role,
		      const char *name, unsigned int index, bool *has_name)
{
	struct ivs_endpoint_ref at = {0};
	struct ivs_endpoint_view view;
	uint64_t life;
	int rival = -1;

	*has_name = false;
	for (; ivs_channels_find(channels, role, name, false, &at, &life, &view); at.index++) {
		const void *section = ivs_channels_at(channels, at.section);

		if (at.section == channels->section && at.index == index)
			continue;
		if (ivs_shared_load(ivs_section_foreign(section, at.index) +
				    IVS_ENDPOINT_POSITION) == HAS_NAME)
			*has_name = true;
		rival = rival < 0 ? at.section : rival;
	}
	return rival;
}

/*
 * Each peer publishes its claim, and then looks for those of others. A peer gives up if another has
 * the name, or claims it with a lower section. It waits until a peer that claims with a higher
 * section has given up, or has got the name because it had not seen this claim.
 */
int ivs_claim(struct ivs_channels *channels, enum ivs_endpoint_role role, const char *name,
	      unsigned int index)
{
	const struct timespec pause = {0, PAUSE_NS};
	bool has_name;

	for (unsigned int i = 0; i < TRIES; i++) {
		int rival = find_rival(channels, role, name, index, &has_name);

		if (has_name || (rival >= 0 && rival <= (int)channels->section))
			return IVS_CHANNEL_E_BUSY;
		if (rival < 0) {
			ivs_shared_publish(ivs_section_endpoint(ivs_channels_own(channels), index) +
						   IVS_ENDPOINT_POSITION,
					   HAS_NAME);
			return 0;
		}
		(void)nanosleep(&pause, NULL);
	}
	return IVS_CHANNEL_E_BUSY;
}
