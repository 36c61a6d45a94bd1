/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Notes in the VM that the unplug of a device was requested, and what else the tool has created
 * there for a device. Neither QEMU nor its monitor shows that a request is pending.
 */
#ifndef TOOLS_IVSHMEM_DETACH_NOTE_H
#define TOOLS_IVSHMEM_DETACH_NOTE_H

#include "tools/ivshmem/monitor.h"

/*
 * What the tool creates in the VM is named after the device: its id, one of these strings, and a
 * number. With the last string it is the note: an unused character device, whose number is the
 * highest fd that may have to be replaced when the device is gone; 0: none. The note is made before
 * the request, and is removed when everything is done.
 */
#define BACKEND_MEMORY "-mem-"
#define BACKEND_CHARDEV "-chr-"
#define BACKEND_FDS "-fds-"

#define DETACH_NOTE_LEN (MONITOR_BACKEND_LEN + 16)

/**
 * struct detach_note - a note
 * @name:    the character device; "" if there is none
 * @highest: the number; -1: there is no note
 */
struct detach_note {
	char name[DETACH_NOTE_LEN];
	int highest;
};

/** detach_note_find() - find the note about a device. Return: as ivs_qmp_execute(). */
IVS_MUST_USE int detach_note_find(struct ivs_qmp *qmp, const char *id, struct detach_note *out,
				  struct ivs_error *err);

/**
 * detach_note_make() - make a note, unless @note is one with the same number or a higher one
 *
 * A note of an earlier run is removed only after the new one has been made. Return: as
 * ivs_qmp_execute().
 */
IVS_MUST_USE int detach_note_make(struct ivs_qmp *qmp, const char *id, int highest,
				  struct detach_note *note, struct ivs_error *err);

/**
 * detach_note_next() - find the next device that has a note
 * @chardevs: output of query-chardev
 * @at:       0 at first; advanced
 * @id:       set to the id of the next such device
 *
 * Return: whether there is one.
 */
bool detach_note_next(const json_t *chardevs, size_t *at, char id[IVS_CONFIG_ID_MAX + 1]);

/**
 * detach_find_backend() - find what the tool has created for a device; of several, the last one
 * @chardev: a character device, not an object
 * @out:     its id; "" if there is none
 *
 * Return: as ivs_qmp_execute().
 */
IVS_MUST_USE int detach_find_backend(struct ivs_qmp *qmp, const char *id, bool chardev, char *out,
				     size_t out_len, struct ivs_error *err);

#endif
