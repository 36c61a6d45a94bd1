/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/server_process.h"

#include <ctype.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"

#define DELETED " (deleted)"
#define PROGRAM_MAX (64u << 20)
#define READ_LEN (UINT64_C(64) * 1024)
#define OVERLAP 64 /* longer than each mark */

/* Strings in the program files of the servers. Ours reads a variable of this name. */
static const char our_mark[] = "IVSHMEM_SERVER_LIST";
static const char qemu_mark[] = "do not use in production";

static FILE *open_proc(pid_t pid, const char *name)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	return fopen(path, "re");
}

static void look_state(struct ivs_doctor_server *server)
{
	FILE *file = open_proc(server->pid, "stat");
	char line[512] = "";
	const char *name_end;

	if (file && fgets(line, sizeof(line), file)) {
		name_end = strrchr(line, ')');
		server->stopped = name_end && !strncmp(name_end, ") T", 3);
	}
	if (file)
		fclose(file);
}

static void look_limit(struct ivs_doctor_server *server)
{
	FILE *file = open_proc(server->pid, "limits");
	char line[256];

	while (file && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "Max open files %" SCNu64 " %" SCNu64, &server->nofile,
			   &server->nofile_top) == 2)
			break;
	}
	if (file)
		fclose(file);
}

/*
 * Find the unit in the process's control group: "0::/system.slice/ivshmem@NAME.service". A user can
 * have control groups of such names only elsewhere.
 */
static void look_unit(struct ivs_doctor_server *server)
{
	FILE *file = open_proc(server->pid, "cgroup");
	char line[1024] = "";
	const char *unit = NULL;

	while (!unit && file && fgets(line, sizeof(line), file))
		unit = strstr(line, ":/system.slice/ivshmem@");
	if (file)
		fclose(file);
	if (!unit)
		return;
	unit = strrchr(unit, '/') + 1;
	for (size_t i = 0; i + 1 < sizeof(server->unit) &&
			   (isalnum((unsigned char)unit[i]) || strchr("@-_.", unit[i])) && unit[i];
	     i++)
		server->unit[i] = unit[i];
	if (!strstr(server->unit, ".service"))
		*server->unit = '\0';
}

/* Search the program file for a string that only one of the servers has. */
static enum ivs_doctor_maker find_maker(int fd)
{
	static char bytes[OVERLAP + READ_LEN];
	size_t total = 0;
	size_t kept = 0;

	while (total < PROGRAM_MAX) {
		ssize_t n = read(fd, bytes + kept, READ_LEN);
		size_t len;

		if (n <= 0)
			break;
		len = kept + (size_t)n;
		total += (size_t)n;
		if (memmem(bytes, len, our_mark, sizeof(our_mark) - 1))
			return IVS_DOCTOR_MAKER_OURS;
		if (memmem(bytes, len, qemu_mark, sizeof(qemu_mark) - 1))
			return IVS_DOCTOR_MAKER_QEMU;
		kept = len < OVERLAP ? len : OVERLAP;
		memmove(bytes, bytes + len - kept, kept);
	}
	return IVS_DOCTOR_MAKER_UNKNOWN;
}

/* Return: whether the process sees the same files as this one. */
static bool is_same_mounts(pid_t pid)
{
	struct stat own;
	struct stat other;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)pid);
	return !stat(path, &other) && !stat("/proc/self/ns/mnt", &own) &&
	       own.st_ino == other.st_ino;
}

/* Return: whether another program has the name from which the process was started. */
static bool is_replaced(pid_t pid, const struct stat *program)
{
	char exe[64];
	char path[4200];
	struct stat st;
	ssize_t len;

	snprintf(exe, sizeof(exe), "/proc/%d/exe", (int)pid);
	len = readlink(exe, path, sizeof(path) - 1);
	if (len <= 0 || !is_same_mounts(pid))
		return false;
	path[len] = '\0';
	if ((size_t)len > strlen(DELETED) && !strcmp(path + len - strlen(DELETED), DELETED))
		path[(size_t)len - strlen(DELETED)] = '\0';
	if (stat(path, &st) || !S_ISREG(st.st_mode) || !(st.st_mode & S_IXUSR))
		return false;
	return st.st_dev != program->st_dev || st.st_ino != program->st_ino;
}

/* The program file can be read by root and by the user of the process. */
static void look_program(struct ivs_doctor_server *server)
{
	char link[64];
	struct stat st;
	IVS_OWNED_FD fd = -1;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)server->pid);
	fd = open(link, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return;
	server->maker = find_maker(fd);
	server->outdated = is_replaced(server->pid, &st);
}

void server_process_look(struct ivs_doctor_server *server)
{
	server->knows |= IVS_DOCTOR_SERVER_PROCESS;
	look_state(server);
	look_limit(server);
	look_unit(server);
	look_program(server);
}
