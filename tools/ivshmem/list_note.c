/* SPDX-License-Identifier: BSD-3-Clause */
/* The notes of "ivshmem list", which say what is wrong with a region and what to do about it. */
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/shell.h"
#include "tools/ivshmem/list_note.h"

#define USERS_MAX 8 /* users listed in text; JSON lists all */
#define PAGE_MIN 4096

/* Append a user to @out, a string of @len bytes. @how says how it uses the region, or is "". */
static size_t add_user(const struct ivs_host_user *user, const char *how, char *out, size_t len)
{
	char text[IVS_HOST_USER_TEXT_LEN];

	return len + (size_t)snprintf(out + len, LIST_USERS_LEN - len, "%s%s%s", len ? ", " : "",
				      ivs_host_users_text(user, text), how);
}

static const char *how_used(const struct ivs_host_user *user)
{
	if (user->named)
		return " [arguments]";
	return user->maps || user->server ? "" : " [open]";
}

static const char *users_text(const struct ivs_host_region *region, bool marked,
			      char out[LIST_USERS_LEN])
{
	size_t len = 0;

	*out = '\0';
	for (size_t i = 0; i < region->users_n && i < USERS_MAX; i++)
		len = add_user(&region->users[i], marked ? how_used(&region->users[i]) : "", out,
			       len);
	if (region->users_n > USERS_MAX)
		snprintf(out + len, LIST_USERS_LEN - len, " and %zu others",
			 region->users_n - USERS_MAX);
	return out;
}

const char *list_users(const struct ivs_host_region *region, char out[LIST_USERS_LEN])
{
	return users_text(region, true, out);
}

/* Return: the VMs that map the region without share=on. */
static const char *private_users(const struct ivs_host_region *region, char out[LIST_USERS_LEN])
{
	size_t len = 0;
	unsigned int n = 0;

	*out = '\0';
	for (size_t i = 0; i < region->users_n && n < USERS_MAX; i++) {
		const struct ivs_host_user *user = &region->users[i];

		if (!user->copies)
			continue;
		len = add_user(user, "", out, len);
		n++;
	}
	return out;
}

/* Return: the users of the removed files of the same name, which follow region @at in the list. */
static const char *split_users(const struct ivs_host_regions *regions, size_t at,
			       char out[LIST_USERS_LEN])
{
	size_t len = 0;
	unsigned int n = 0;

	*out = '\0';
	for (size_t i = at + 1; i < regions->n; i++) {
		const struct ivs_host_region *other = &regions->list[i];

		if (strcmp(other->path, regions->list[at].path) != 0)
			break;
		if (!(other->notes & IVS_HOST_NOTE_REPLACED))
			continue;
		for (size_t j = 0; j < other->users_n && n < USERS_MAX; j++, n++)
			len = add_user(&other->users[j], "", out, len);
	}
	return out;
}

static void note_size(const struct ivs_host_region *region, char *out)
{
	uint64_t lower = UINT64_C(1) << (63 - __builtin_clzll(region->size));
	char size[IVS_SIZE_TEXT_LEN];
	char below[IVS_SIZE_TEXT_LEN];
	char above[IVS_SIZE_TEXT_LEN];

	if (lower < PAGE_MIN)
		snprintf(out, LIST_NOTE_LEN,
			 "its size, %s, is not a power of two, so QEMU refuses it: use %s or more",
			 ivs_size_text(region->size, size), ivs_size_text(PAGE_MIN, above));
	else
		snprintf(out, LIST_NOTE_LEN,
			 "its size, %s, is not a power of two, so QEMU refuses it: use %s or %s",
			 ivs_size_text(region->size, size), ivs_size_text(lower, below),
			 ivs_size_text(lower * 2, above));
}

static void note_empty(const struct ivs_host_region *region, char *out)
{
	snprintf(out, LIST_NOTE_LEN,
		 "it is empty%s%s: QEMU sets its size when the VM starts; until then, programs "
		 "cannot map it",
		 region->boot ? ", as created at boot by " : "", region->boot ? region->boot : "");
}

static void note_absent(const struct ivs_host_region *region, char *out)
{
	char users[LIST_USERS_LEN];

	if (region->users_n)
		snprintf(out, LIST_NOTE_LEN,
			 "it does not exist, but the arguments of %s name it: it has been removed; "
			 "restart the VM",
			 users_text(region, false, users));
	else
		snprintf(out, LIST_NOTE_LEN,
			 "it does not exist, but %s creates it at boot; to create it now: "
			 "systemd-tmpfiles --create %s",
			 region->boot, region->boot);
}

static void note_removed(const struct ivs_host_region *region, bool replaced, char *out)
{
	char users[LIST_USERS_LEN];

	snprintf(out, LIST_NOTE_LEN,
		 "this file has been removed%s, but is in use by %s: programs that open the name "
		 "now do not share its memory; restart the programs that use it",
		 replaced ? " and replaced by another" : "", users_text(region, false, users));
}

static void note_split(const struct ivs_host_regions *regions, size_t at, char *out)
{
	char users[LIST_USERS_LEN];

	snprintf(out, LIST_NOTE_LEN,
		 "another file of this name, which has been removed, is in use by %s: the two do "
		 "not share memory; restart the programs that use the removed one",
		 split_users(regions, at, users));
}

static void note_private(const struct ivs_host_region *region, char *out)
{
	char users[LIST_USERS_LEN];

	snprintf(out, LIST_NOTE_LEN,
		 "share=on is missing in the memory-backend-file of %s: what the VM writes is not "
		 "seen by others",
		 private_users(region, users));
}

static void note_kvmfr(const struct ivs_host_region *region, char *out)
{
	snprintf(
		out, LIST_NOTE_LEN,
		"it is a regular file, which QEMU created because the kvmfr module was not loaded");
	ivs_shell_add(out, LIST_NOTE_LEN, ": stop the VM, rm ", region->path,
		      ", modprobe kvmfr, and start the VM");
}

const char *list_note(const struct ivs_host_regions *regions, size_t at, unsigned int i,
		      char out[LIST_NOTE_LEN])
{
	const struct ivs_host_region *region = &regions->list[at];

	switch ((enum ivs_host_note)(1U << i)) {
	case IVS_HOST_NOTE_SIZE:
		note_size(region, out);
		break;
	case IVS_HOST_NOTE_EMPTY:
		note_empty(region, out);
		break;
	case IVS_HOST_NOTE_REMOVED:
	case IVS_HOST_NOTE_REPLACED:
		note_removed(region, 1U << i == IVS_HOST_NOTE_REPLACED, out);
		break;
	case IVS_HOST_NOTE_SPLIT:
		note_split(regions, at, out);
		break;
	case IVS_HOST_NOTE_PRIVATE:
		note_private(region, out);
		break;
	case IVS_HOST_NOTE_KVMFR:
		note_kvmfr(region, out);
		break;
	case IVS_HOST_NOTE_ABSENT:
		note_absent(region, out);
		break;
	case IVS_HOST_NOTE_ELSEWHERE:
		snprintf(out, LIST_NOTE_LEN,
			 "it is not among the files of this host: it belongs to a container, or to "
			 "another mount namespace");
		break;
	}
	return out;
}
