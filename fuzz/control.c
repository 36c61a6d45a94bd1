/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Fuzz target for ivs_request_parse().
 *
 * Input: a line from the control socket. Parsing must yield a request or an error message. Writing
 * a request in its shortest form and parsing it again must yield the same request.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "server/observe/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			__builtin_trap();                                                          \
	} while (0)

/* The parser never sets this type, so it shows whether a failed call changed the request. */
#define UNTOUCHED ((enum ivs_request_type)77)

static struct ivs_request parse(const char *line, size_t len, int *result)
{
	struct ivs_request request = {.type = UNTOUCHED};
	struct ivs_error err = {0};

	*result = ivs_request_parse(line, len, &request, &err);
	CHECK(*result == 0 || *result == IVS_REQUEST_E_BAD);
	CHECK((*result == 0) == (*err.text == '\0'));
	CHECK((*result == 0) == (request.type != UNTOUCHED));
	CHECK(memchr(err.text, '\0', sizeof(err.text)));
	CHECK(!strchr(err.text, '\n') || memchr(line, '\\', len) || memchr(line, '\n', len));
	return request;
}

/* Write the shortest form of @request. Return: its length. */
static size_t write_request(const struct ivs_request *request, char *out, size_t out_len)
{
	return (size_t)snprintf(out, out_len, "{\"request\":\"%s\"%s}",
				request->type == IVS_REQUEST_STATUS ? "status" : "version",
				request->doorbells ? ",\"doorbells\":true" : "");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ivs_request first, again;
	char text[64];
	int result;

	first = parse((const char *)data, size, &result);
	CHECK(result == IVS_REQUEST_E_BAD || size <= IVS_REQUEST_LINE_MAX);
	if (result)
		return 0;
	CHECK(first.type == IVS_REQUEST_STATUS || !first.doorbells);
	again = parse(text, write_request(&first, text, sizeof(text)), &result);
	CHECK(result == 0 && again.type == first.type && again.doorbells == first.doorbells);
	/* Without its last byte, the request must be rejected. */
	parse(text, strlen(text) - 1, &result);
	CHECK(result == IVS_REQUEST_E_BAD);
	return 0;
}
