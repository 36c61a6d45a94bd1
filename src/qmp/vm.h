/* SPDX-License-Identifier: BSD-3-Clause */
/* What QEMU's monitor says about its VM. Strings are untrusted, unless stated otherwise. */
#ifndef IVS_QMP_VM_H
#define IVS_QMP_VM_H

#include "qmp/connection.h"

#define IVS_QMP_STATE_LEN 32
#define IVS_QMP_TYPE_LEN 64

/** ivs_qmp_is_kvm() - whether the VM runs with KVM. Return: as ivs_qmp_execute(). */
IVS_MUST_USE int ivs_qmp_is_kvm(struct ivs_qmp *qmp, bool *out, struct ivs_error *err);

/**
 * ivs_qmp_state() - the VM's run state, from query-status
 * @out: such as "running", "paused", "prelaunch", "inmigrate", "postmigrate"; safe to print
 *
 * Return: as ivs_qmp_execute().
 */
IVS_MUST_USE int ivs_qmp_state(struct ivs_qmp *qmp, char out[IVS_QMP_STATE_LEN],
			       struct ivs_error *err);

/**
 * ivs_qmp_human() - run a command of the human monitor, such as "info ramblock"
 * @out: set to its output, which the caller frees
 *
 * Return: as ivs_qmp_execute(); -ENOMEM.
 */
IVS_MUST_USE int ivs_qmp_human(struct ivs_qmp *qmp, const char *line, char **out,
			       struct ivs_error *err);

/**
 * ivs_qmp_get() - get a property of an object: qom-get
 * @path: such as "/machine/peripheral/ID"
 * @out:  set to the value, which the caller frees with json_decref()
 *
 * Return: as ivs_qmp_execute().
 */
IVS_MUST_USE int ivs_qmp_get(struct ivs_qmp *qmp, const char *path, const char *property,
			     json_t **out, struct ivs_error *err);

/**
 * ivs_qmp_get_text() - get a property that is a string
 * @out: "" if it is not a string; IVS_QMP_E_PROTOCOL if it does not fit in @out_len bytes
 *
 * Return: as ivs_qmp_execute().
 */
IVS_MUST_USE int ivs_qmp_get_text(struct ivs_qmp *qmp, const char *path, const char *property,
				  char *out, size_t out_len, struct ivs_error *err);

/**
 * ivs_qmp_list() - list the properties of an object: qom-list
 * @out: set to an array of objects with "name" and "type", which the caller frees with
 *       json_decref(); a child has the type "child<TYPE>"
 *
 * Return: as ivs_qmp_execute().
 */
IVS_MUST_USE int ivs_qmp_list(struct ivs_qmp *qmp, const char *path, json_t **out,
			      struct ivs_error *err);

/** ivs_qmp_child_type() - whether an entry of ivs_qmp_list() is a child; @type: set to its type */
bool ivs_qmp_child_type(const json_t *entry, char type[IVS_QMP_TYPE_LEN]);

/**
 * ivs_qmp_find() - find the child @name of an object
 * @type: set to its type; "" if there is no such child
 *
 * Return: as ivs_qmp_execute().
 */
IVS_MUST_USE int ivs_qmp_find(struct ivs_qmp *qmp, const char *path, const char *name,
			      char type[IVS_QMP_TYPE_LEN], struct ivs_error *err);

#endif
