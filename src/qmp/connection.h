/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A connection to QEMU's monitor (QMP) on a UNIX socket. Each call has a time limit, and memory is
 * bounded whatever the monitor sends. A monitor that does not answer is reported, and nothing else
 * is done about it: QEMU may be busy, and its VM may be fine.
 */
#ifndef IVS_QMP_CONNECTION_H
#define IVS_QMP_CONNECTION_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/unix_address.h"
#include "qmp/message.h"

#define IVS_QMP_TIMEOUT_MS 10000
#define IVS_QMP_EVENTS_MAX 256
#define IVS_QMP_EVENT_LEN_MAX (64u << 10)
#define IVS_QMP_EVENTS_LEN_MAX (1u << 20)
#define IVS_QMP_CLASS_LEN 64
#define IVS_QMP_TEXT_LEN 320

/** struct ivs_qmp_version - QEMU's version, such as 7.2.22 */
struct ivs_qmp_version {
	unsigned int major;
	unsigned int minor;
	unsigned int micro;
};

/**
 * struct ivs_qmp_refusal - QEMU's last error; both texts are safe to print
 * @class: such as "DeviceNotFound", or "GenericError", which says nothing
 * @text:  the description
 */
struct ivs_qmp_refusal {
	char class[IVS_QMP_CLASS_LEN];
	char text[IVS_QMP_TEXT_LEN];
};

/**
 * struct ivs_qmp - a connection; start from IVS_QMP_INIT
 * @sock:       the connected socket; -1: not connected
 * @timeout_ms: time limit of each call; the caller may change it
 * @stop_fd:    while it is readable, waiting for events fails with IVS_QMP_E_INTERRUPTED; -1: none.
 *              The caller may change it; a signalfd(2) of blocked signals is suitable. Commands
 *              are not interrupted, so that their result is always known
 * @path:       path of the monitor's socket
 * @pid:        the process that listened at the socket; this is QEMU, unless it was passed the
 *              socket
 * @version:    QEMU's version
 * @refusal:    set when a call fails with IVS_QMP_E_REFUSED
 * @events:     the events that have arrived and not been taken, oldest first
 * @events_len: the lengths of their texts; a parsed event needs several times as much memory as its
 *              text
 * @events_lost_n: events that were dropped: those whose text is longer than IVS_QMP_EVENT_LEN_MAX,
 *              and the oldest ones if otherwise more than IVS_QMP_EVENTS_MAX, or texts of more than
 *              IVS_QMP_EVENTS_LEN_MAX bytes, would be waiting
 * @hung:       the last call has received no answer
 * @broken:     the connection cannot be used any more
 */
struct ivs_qmp {
	int sock;
	int timeout_ms;
	int stop_fd;
	char path[IVS_UNIX_PATH_LEN];
	pid_t pid;
	struct ivs_qmp_version version;
	struct ivs_qmp_refusal refusal;
	json_t *events[IVS_QMP_EVENTS_MAX];
	size_t events_len[IVS_QMP_EVENTS_MAX];
	unsigned int events_n;
	unsigned int events_lost_n;
	bool hung;
	bool broken;
	json_int_t last_id;
	char *text;
	size_t text_from;
	size_t text_len;
	size_t text_room;
};

#define IVS_QMP_INIT                                                                               \
	{                                                                                          \
		.sock = -1, .timeout_ms = IVS_QMP_TIMEOUT_MS, .stop_fd = -1                        \
	}

/**
 * ivs_qmp_connect() - connect, wait for the greeting, and negotiate capabilities
 * @path: path of the monitor's socket (-qmp unix:PATH,server=on,wait=off)
 *
 * Close the connection with ivs_qmp_close() even if this fails.
 *
 * Return: 0, IVS_QMP_E_ABSENT, _HUNG, _LOST, _PROTOCOL, _REFUSED; -errno.
 */
IVS_MUST_USE int ivs_qmp_connect(struct ivs_qmp *qmp, const char *path, struct ivs_error *err);

void ivs_qmp_close(struct ivs_qmp *qmp);

/**
 * ivs_qmp_execute() - run a command, and wait for its result
 * @out:    set to the result, which the caller frees with json_decref(); may be NULL
 * @format: of json_pack(3), for the arguments; NULL: the command has none
 *
 * After IVS_QMP_E_HUNG the connection can still be used: an answer that comes later is ignored.
 *
 * Return: 0, IVS_QMP_E_HUNG, _LOST, _PROTOCOL, _REFUSED; -errno.
 */
IVS_MUST_USE int ivs_qmp_execute(struct ivs_qmp *qmp, json_t **out, struct ivs_error *err,
				 const char *command, const char *format, ...);

/**
 * ivs_qmp_send_fd() - run the command getfd: QEMU keeps a copy of @fd, with this name
 *
 * An fd that QEMU has with the same name is closed.
 *
 * Return: as ivs_qmp_execute().
 */
IVS_MUST_USE int ivs_qmp_send_fd(struct ivs_qmp *qmp, const char *name, int fd,
				 struct ivs_error *err);

/**
 * struct ivs_qmp_wanted - which events to wait for
 * @name:  name of the event
 * @key:   a string of the event's data; NULL: any data
 * @value: what that string must be
 */
struct ivs_qmp_wanted {
	const char *name;
	const char *key;
	const char *value;
};

/**
 * ivs_qmp_wait_event() - take the oldest event that @wanted describes, or wait for it
 * @wanted:      @wanted_n descriptions, one of which must match
 * @deadline_ns: on the clock of ivs_clock_ns(); if it has passed, only what has arrived is taken
 * @out:         set to the event: an object with "event" and "data", which the caller frees with
 *               json_decref()
 *
 * Other events are kept.
 *
 * Return: 0, IVS_QMP_E_TIMEOUT, _INTERRUPTED, _LOST, _PROTOCOL; -errno.
 */
IVS_MUST_USE int ivs_qmp_wait_event(struct ivs_qmp *qmp, const struct ivs_qmp_wanted *wanted,
				    unsigned int wanted_n, int64_t deadline_ns, json_t **out,
				    struct ivs_error *err);

/** ivs_qmp_forget_events() - drop all events that have arrived */
void ivs_qmp_forget_events(struct ivs_qmp *qmp);

/** ivs_qmp_at_least() - whether QEMU's version is at least @major.@minor */
static inline bool ivs_qmp_at_least(const struct ivs_qmp *qmp, unsigned int major,
				    unsigned int minor)
{
	return qmp->version.major > major ||
	       (qmp->version.major == major && qmp->version.minor >= minor);
}

#endif
