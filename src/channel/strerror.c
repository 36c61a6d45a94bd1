/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "ivshmem/channel.h"

static const char *const texts[] = {
	[0] = "success",
	[IVS_CHANNEL_E_TIMEOUT] = "the time limit expired",
	[IVS_CHANNEL_E_ENDED] = "the other side has closed the channel, left or died",
	[IVS_CHANNEL_E_BROKEN] = "the other side has stored impossible values",
	[IVS_CHANNEL_E_TOO_LONG] = "the message is too long",
	[IVS_CHANNEL_E_NAME] = "the name is empty, too long, or has control characters",
	[IVS_CHANNEL_E_BUSY] = "another peer receives from queues of this name, or listens to it",
	[IVS_CHANNEL_E_LAYOUT] = "the region has other content, or its layout is damaged",
	[IVS_CHANNEL_E_VERSION] = "the region has another version of the layout",
	[IVS_CHANNEL_E_SECTION] = "the peer has no section, or another peer has taken it",
	[IVS_CHANNEL_E_FULL] = "the peer's section has no room",
	[IVS_CHANNEL_E_READ_ONLY] = "the region is not mapped for writing",
	[IVS_CHANNEL_E_PEER] = "the device is gone, or the peer was stopped",
};

const char *ivs_channel_strerror(int result)
{
	const char *text = NULL;

	if (result >= 0 && (size_t)result < sizeof(texts) / sizeof(*texts))
		text = texts[result];
	else if (result < 0 && result >= -4095) /* the kernel's limit; -INT_MIN would overflow */
		text = strerrordesc_np(-result);
	return text ? text : "unknown result";
}
