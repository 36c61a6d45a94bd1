/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_arguments.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "host/vm.h"

#define ARGUMENTS_LEN (256u << 10)
#define PROGRAM_WORDS 4 /* QEMU's name is among the first words, even if a loader runs it */

/* Return: the bytes of /proc/PID/cmdline with a NUL at the end, to be freed; NULL: not readable. */
static char *read_arguments(pid_t pid, size_t *len)
{
	char path[64];
	char *text = malloc(ARGUMENTS_LEN + 1);
	ssize_t n = -1;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	IVS_OWNED_FD fd = open(path, O_RDONLY | O_CLOEXEC);
	*len = 0;
	while (text && fd >= 0 && *len < ARGUMENTS_LEN &&
	       (n = read(fd, text + *len, ARGUMENTS_LEN - *len)) > 0)
		*len += (size_t)n;
	if (!text || fd < 0 || n < 0) {
		free(text);
		return NULL;
	}
	text[*len] = '\0';
	return text;
}

bool arguments_learn(pid_t pid, struct ivs_migration_side *out)
{
	size_t len;
	char *text = pid > 0 ? read_arguments(pid, &len) : NULL;
	const char *before = "";
	unsigned int i = 0;

	if (!text)
		return false;
	for (const char *word = text; word < text + len; word += strlen(word) + 1) {
		if (i++ < PROGRAM_WORDS && ivs_host_vm_is_qemu(word))
			out->arguments = true;
		if (!strcmp(before, "-incoming") || !strcmp(before, "--incoming"))
			out->defer = !strcmp(word, "defer");
		if (!strcmp(word, "-only-migratable") || !strcmp(word, "--only-migratable"))
			out->only_migratable = true;
		if (strstr(word, "id=charmonitor,"))
			out->libvirt = true;
		before = word;
	}
	free(text);
	return out->arguments;
}
