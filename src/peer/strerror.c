/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "ivshmem/peer.h"

static const char *const texts[] = {
	[0] = "success",
	[IVS_PEER_E_ADDRESS] = "the address is invalid",
	[IVS_PEER_E_ABSENT] = "it is not connected, or does not exist",
	[IVS_PEER_E_AMBIGUOUS] = "several devices match the address",
	[IVS_PEER_E_VECTOR] = "there is no such vector",
	[IVS_PEER_E_TIMEOUT] = "the time limit expired",
	[IVS_PEER_E_UNSUPPORTED] = "the transport does not support this",
	[IVS_PEER_E_PROTOCOL] = "the server violates the protocol, or uses another version",
	[IVS_PEER_E_SERVER_LOST] = "the server closed the connection",
	[IVS_PEER_E_BUSY] = "the roster page changes too often, or is half-written",
	[IVS_PEER_E_DEVICE_GONE] = "the device was unplugged, or unbound from its driver",
	[IVS_PEER_E_STOPPED] = "the peer was stopped",
};

const char *ivs_peer_strerror(int result)
{
	const char *text = NULL;

	if (result >= 0 && (size_t)result < sizeof(texts) / sizeof(*texts))
		text = texts[result];
	else if (result < 0 && result >= -4095) /* the kernel's limit; -INT_MIN would overflow */
		text = strerrordesc_np(-result);
	return text ? text : "unknown result";
}
