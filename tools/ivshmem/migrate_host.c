/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/migrate_host.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "tools/shared/usage.h"

#define LINES_MAX 50000 /* of /proc/PID/maps */
#define FILES_MAX 32

/**
 * struct files - the files of the regions of one side
 * @paths: as in /proc/PID/maps
 */
struct files {
	unsigned int n;
	struct ivs_host_file list[FILES_MAX];
	char paths[FILES_MAX][PATH_MAX];
};

/* Whether the file belongs to a device that is unplugged before the migration. */
static bool is_unplugged(const struct side *side, dev_t dev, ino_t ino)
{
	for (unsigned int i = 0; i < side->facts.devices_n; i++) {
		const struct ivs_migration_device *device = &side->facts.devices[i];
		struct stat st;

		if (device->replug && *device->file && !stat(device->file, &st) &&
		    st.st_dev == dev && st.st_ino == ino)
			return true;
	}
	return false;
}

/* Whether a region that QEMU copies has this size. */
static bool is_size_of_region(const struct side *side, uint64_t size)
{
	for (unsigned int i = 0; i < side->facts.devices_n; i++) {
		const struct ivs_migration_device *device = &side->facts.devices[i];

		if (!device->replug && device->size == size)
			return true;
	}
	return false;
}

static bool files_has(const struct files *files, dev_t dev, ino_t ino)
{
	for (unsigned int i = 0; i < files->n; i++) {
		if (files->list[i].dev == dev && files->list[i].ino == ino)
			return true;
	}
	return false;
}

/*
 * Take a line of maps if it is a shared, writable mapping of a file with the size of a region. The
 * VM's RAM may be such a mapping, too, but rarely has that size.
 */
static void take_line(const struct side *side, const char *line, struct files *files)
{
	unsigned long long from;
	unsigned long long to;
	unsigned long long ino;
	unsigned int device[2];
	char flags[5];
	int path_at = 0;

	if (files->n == FILES_MAX ||
	    sscanf(line, "%llx-%llx %4s %*x %x:%x %llu %n", &from, &to, flags, &device[0],
		   &device[1], &ino, &path_at) != 6 ||
	    strcmp(flags, "rw-s") != 0 || !ino || !is_size_of_region(side, to - from) ||
	    files_has(files, makedev(device[0], device[1]), (ino_t)ino) ||
	    is_unplugged(side, makedev(device[0], device[1]), (ino_t)ino))
		return;
	snprintf(files->paths[files->n], PATH_MAX, "%.*s", (int)strcspn(line + path_at, "\n"),
		 line + path_at);
	files->list[files->n] = (struct ivs_host_file){
		.dev = makedev(device[0], device[1]),
		.ino = (ino_t)ino,
		.path = *files->paths[files->n] == '/' ? files->paths[files->n] : NULL,
	};
	files->n++;
}

/* Find the files of the regions that the VM has mapped. Return: whether that is possible. */
static bool find_files(const struct side *side, struct files *files)
{
	char path[64];
	char *line = NULL;
	size_t room = 0;
	FILE *maps;

	files->n = 0;
	if (!side->local)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/maps", (int)side->qmp.pid);
	maps = fopen(path, "re");
	for (unsigned int i = 0; maps && i < LINES_MAX && getline(&line, &room, maps) > 0; i++)
		take_line(side, line, files);
	free(line);
	if (maps)
		fclose(maps);
	return maps != NULL;
}

static bool is_peer(const struct side *peers, unsigned int peers_n, pid_t pid)
{
	for (unsigned int i = 0; i < peers_n; i++) {
		if (peers[i].qmp.pid == pid)
			return true;
	}
	return false;
}

/**
 * struct search - the search for other users of the regions of one side
 * @other: the other side
 */
struct search {
	const struct side *side;
	const struct side *other;
	const struct side *peers;
	unsigned int peers_n;
	bool force;
	struct ivs_migration_problems *problems;
	struct host_servers *servers;
};

static void note_server(struct host_servers *servers, const char *socket)
{
	for (unsigned int i = 0; i < servers->n; i++) {
		if (!strcmp(servers->sockets[i], socket))
			return;
	}
	if (*socket && servers->n < HOST_SERVERS_MAX)
		memcpy(servers->sockets[servers->n++], socket, IVS_HOST_SOCKET_LEN);
}

static void note_writer(const struct search *search, const struct ivs_host_user *user,
			const char *path)
{
	bool from = !strcmp(search->side->role, "source");
	char text[IVS_HOST_USER_TEXT_LEN];

	ivs_host_users_text(user, text);
	if (search->force && from)
		usage_failed("note: %s maps the region %.200s: what it writes during the "
			     "migration is lost",
			     text, path);
	else if (search->force)
		usage_failed("note: %s maps the region %.200s, which is overwritten", text, path);
	else if (from)
		ivs_migration_add(search->problems, "users",
				  "%s maps the region %.200s of the source: what it writes while "
				  "the memory is copied is lost. If it is a VM, give its monitor "
				  "with --peer, so that it is stopped for the migration; "
				  "otherwise end it, or use --force. If the device is a plain "
				  "one, you can also start the destination without it: then the "
				  "region is not copied",
				  text, path);
	else
		ivs_migration_add(search->problems, "users",
				  "%s maps the region %.200s of the destination, which the "
				  "migration overwrites: end it, or use --force",
				  text, path);
}

static void take_user(const struct search *search, const struct files *files,
		      const struct ivs_host_user *user)
{
	const char *path = files->paths[user->file];

	if (user->pid == search->side->qmp.pid)
		return;
	if (user->pid == search->other->qmp.pid) {
		if (!strcmp(search->side->role, "source") && user->maps)
			ivs_migration_add(search->problems, "region",
					  "source and destination map the same region, %.200s: "
					  "older content would come back; give the destination a "
					  "region (or server) of its own",
					  path);
	} else if (user->server) {
		if (search->servers)
			note_server(search->servers, user->socket);
	} else if ((user->maps || user->named) &&
		   !is_peer(search->peers, search->peers_n, user->pid)) {
		note_writer(search, user, path);
	}
}

static void note_unreadable(const struct search *search)
{
	const char *role = search->side->role;

	if (search->force)
		usage_failed("note: the memory maps of the %s cannot be read, so it is not checked "
			     "whether other programs use its region",
			     role);
	else
		ivs_migration_add(search->problems, "users",
				  "the memory maps of the %s cannot be read (pid %d), so it cannot "
				  "be checked whether other programs use its region: run this as "
				  "root, or use --force",
				  role, (int)search->side->qmp.pid);
}

static void search_users(const struct search *search)
{
	struct files *files = calloc(1, sizeof(*files));
	struct ivs_host_users users = {0};
	char unseen[IVS_HOST_UNSEEN_TEXT_LEN];

	if (!files)
		return;
	if (!find_files(search->side, files))
		note_unreadable(search);
	if (files->n && !ivs_host_users_find(files->list, files->n, &users)) {
		for (size_t i = 0; i < users.n; i++)
			take_user(search, files, &users.list[i]);
		ivs_host_users_unseen(users.unseen_n, users.hidden, unseen);
		if (*unseen)
			usage_failed("note: users of the regions of the %s may be missed: %s",
				     search->side->role, unseen);
		ivs_host_users_deinit(&users);
	}
	free(files);
}

void host_check(const struct side *source, const struct side *destination, const struct side *peers,
		unsigned int peers_n, bool force, struct ivs_migration_problems *problems,
		struct host_servers *servers)
{
	struct search search = {
		.side = source,
		.other = destination,
		.peers = peers,
		.peers_n = peers_n,
		.force = force,
		.problems = problems,
	};

	servers->n = 0;
	search_users(&search);
	search.side = destination;
	search.other = source;
	search.servers = servers;
	search_users(&search);
}
