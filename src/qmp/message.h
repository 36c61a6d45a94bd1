/* SPDX-License-Identifier: BSD-3-Clause */
/* Parsing what QEMU sends over its control protocol (QMP): one JSON object per line. Pure. */
#ifndef IVS_QMP_MESSAGE_H
#define IVS_QMP_MESSAGE_H

#include <jansson.h>
#include <stddef.h>

#include "ivshmem/api.h"

#define IVS_QMP_LINE_MAX (1u << 20) /* maximum length in bytes, without the newline */
#define IVS_QMP_DEPTH_MAX 64	    /* maximum nesting of objects and arrays */

enum ivs_qmp_error {
	IVS_QMP_E_ABSENT = 1,  /* no process listens at the path, or the path cannot be used */
	IVS_QMP_E_HUNG,	       /* no answer in time: nothing is known about the command's effect */
	IVS_QMP_E_LOST,	       /* the connection was closed: QEMU has ended, or disconnected us */
	IVS_QMP_E_PROTOCOL,    /* the process at the other end does not speak QMP */
	IVS_QMP_E_REFUSED,     /* QEMU answered with an error: see struct ivs_qmp_refusal */
	IVS_QMP_E_TIMEOUT,     /* the event has not arrived in time; the monitor still works */
	IVS_QMP_E_INTERRUPTED, /* the user has interrupted the wait for an event */
};

/**
 * enum ivs_qmp_type - the kinds of messages
 * @IVS_QMP_GREETING: the first message; @data is the version: major, minor, micro
 * @IVS_QMP_RETURN:   a command has succeeded; @data is its result
 * @IVS_QMP_ERROR:    a command has failed; @name is the class, @text the description
 * @IVS_QMP_EVENT:    @name is the event, @data its data; NULL: it has none
 */
enum ivs_qmp_type {
	IVS_QMP_GREETING,
	IVS_QMP_RETURN,
	IVS_QMP_ERROR,
	IVS_QMP_EVENT,
};

/**
 * struct ivs_qmp_message - a message; free it with ivs_qmp_message_deinit()
 * @id:   id of the command that a return or an error answers; -1: it has none
 * @len:  length of its text
 * @json: the whole message; the other pointers are borrowed from it
 */
struct ivs_qmp_message {
	enum ivs_qmp_type type;
	json_int_t id;
	size_t len;
	json_t *json;
	const char *name;
	const char *text;
	json_t *data;
};

/**
 * ivs_qmp_message_parse() - parse one line
 * @line: any bytes
 * @len:  length of @line, without the newline
 * @out:  unchanged unless 0 is returned
 *
 * Return: 0; IVS_QMP_E_PROTOCOL, with the reason in @err.
 */
IVS_MUST_USE int ivs_qmp_message_parse(const char *line, size_t len, struct ivs_qmp_message *out,
				       struct ivs_error *err);

void ivs_qmp_message_deinit(struct ivs_qmp_message *message);

#endif
