/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/doctor/domain.h"

#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "tools/ivshmem/doctor/bounded.h"
#include "tools/ivshmem/doctor/server_probe.h"
#include "tools/ivshmem/virsh.h"
#include "tools/shared/usage.h"

#define QEMU_CONF "/etc/libvirt/qemu.conf"
#define DEFAULT_PATH "/var/lib/libvirt/shmem-%s-sock" /* what libvirt's code uses */
#define GROUPS_MAX 256

/* The names that distributions give libvirt's user. */
static const char *const default_users[] = {"libvirt-qemu", "qemu"};

/* Replace the entities that libvirt writes in names and paths. */
static void decode(char *text)
{
	static const struct {
		const char *entity;
		char is;
	} entities[] = {
		{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''},
	};
	char *to = text;

	while (*text) {
		size_t len = 1;
		char is = *text;

		for (size_t i = 0; *text == '&' && i < sizeof(entities) / sizeof(*entities); i++) {
			if (!strncmp(text, entities[i].entity, strlen(entities[i].entity))) {
				len = strlen(entities[i].entity);
				is = entities[i].is;
			}
		}
		*to++ = is;
		text += len;
	}
	*to = '\0';
}

static void take_value(const struct xml_part *part, const char *before, char *out, size_t out_len)
{
	xml_value(part, before, out, out_len);
	decode(out);
}

/* Get the size of an element such as <size unit='M'>32</size>; 0: none. */
static uint64_t size_of(const struct xml_part *part)
{
	static const char units[] = "bKMGT";
	const char *at = memmem(part->text, part->len, "<size", 5);
	const char *end = at ? memchr(at, '>', (size_t)(part->text + part->len - at)) : NULL;
	char unit[8];
	uint64_t size;
	const char *found;

	if (!end)
		return 0;
	xml_value(&(struct xml_part){at, (size_t)(end - at)}, " unit=", unit, sizeof(unit));
	size = strtoull(end + 1, NULL, 10);
	found = strchr(units, *unit ? *unit : 'M');
	return found && size <= UINT64_MAX >> 40 ? size << 10 * (found - units) : 0;
}

static enum ivs_doctor_model model_of(const struct xml_part *part)
{
	char model[32];

	xml_value(part, "<model type=", model, sizeof(model));
	if (!strcmp(model, "ivshmem-plain"))
		return IVS_DOCTOR_MODEL_PLAIN;
	return strcmp(model, "ivshmem-doorbell") ? IVS_DOCTOR_MODEL_OLD : IVS_DOCTOR_MODEL_DOORBELL;
}

/*
 * Return: whether libvirt's user may read and write the file. With an access control list, that
 * is assumed.
 */
static bool may_use(const struct ivs_doctor_domain *domain, const char *path, const struct stat *st)
{
	gid_t groups[GROUPS_MAX];
	int n = GROUPS_MAX;

	if (!domain->uid || getxattr(path, "system.posix_acl_access", NULL, 0) > 0)
		return true;
	if (st->st_uid == domain->uid)
		return (st->st_mode & 0600) == 0600;
	if (getgrouplist(domain->user, domain->gid, groups, &n) < 0)
		n = 0;
	for (int i = 0; i < n; i++) {
		if (groups[i] == st->st_gid)
			return (st->st_mode & 0060) == 0060;
	}
	if (st->st_gid == domain->gid)
		return (st->st_mode & 0060) == 0060;
	return (st->st_mode & 0006) == 0006;
}

static void look_file(const struct ivs_doctor_domain *domain, struct ivs_doctor_shmem *shmem)
{
	char path[sizeof(shmem->name) + 16];
	struct stat st;

	if (strchr(shmem->name, '/'))
		return;
	snprintf(path, sizeof(path), "/dev/shm/%s", shmem->name);
	shmem->file_known = true;
	shmem->has_file = !lstat(path, &st);
	if (!shmem->has_file)
		return;
	shmem->file_size = (uint64_t)st.st_size;
	shmem->file_uid = st.st_uid;
	shmem->file_gid = st.st_gid;
	shmem->file_mode = st.st_mode;
	shmem->is_denied = S_ISREG(st.st_mode) && !may_use(domain, path, &st);
}

/* Runs in a child process. */
static bool probe(const void *question, void *answer)
{
	server_probe(question, answer);
	return true;
}

static void look_socket(struct ivs_doctor_shmem *shmem)
{
	struct ivs_doctor_server server = {0};

	if (!bounded_run(probe, shmem->path, &server, sizeof(server)))
		return;
	shmem->socket_known = server.knows & IVS_DOCTOR_SERVER_SOCKET;
	shmem->socket = server.socket;
}

static void take_shmem(const char *xml, const struct xml_part *part, struct ivs_doctor_domain *out)
{
	struct ivs_doctor_shmem *shmem = &out->shmems[out->shmems_n];
	char path[sizeof(shmem->path)];
	char role[16];

	*shmem = (struct ivs_doctor_shmem){.model = model_of(part), .size = size_of(part)};
	take_value(part, "<shmem name=", shmem->name, sizeof(shmem->name));
	if (!*shmem->name)
		return;
	out->shmems_n++;
	xml_value(part, " role=", role, sizeof(role));
	shmem->master = !strcmp(role, "master");
	take_value(part, "<server path=", shmem->path, sizeof(shmem->path));
	if (shmem->model != IVS_DOCTOR_MODEL_DOORBELL) {
		look_file(out, shmem);
		return;
	}
	/* libvirt does not pass the role of such a device on; an argument of QEMU sets it. */
	shmem->master |= strstr(xml, "ivshmem-doorbell.master=on") != NULL;
	shmem->default_path = !*shmem->path;
	if (shmem->default_path) {
		snprintf(path, sizeof(path), DEFAULT_PATH, shmem->name);
		memcpy(shmem->path, path, sizeof(path));
	}
	look_socket(shmem);
}

/* Get the value of user = "..." in libvirt's settings, which only root can read. */
static void read_conf(char *out, size_t out_len)
{
	FILE *file = fopen(QEMU_CONF, "re");
	char line[512];
	char *value;

	while (file && fgets(line, sizeof(line), file)) {
		if (strncmp(line, "user", 4) != 0 || line[4 + strspn(line + 4, " \t")] != '=')
			continue;
		value = strchr(line, '"');
		if (!value)
			continue;
		value += 1 + (value[1] == '+');
		value[strcspn(value, "\"\n")] = '\0';
		if (strlen(value) < out_len)
			strcpy(out, value);
	}
	if (file)
		fclose(file);
}

static const struct passwd *find_user(const char *name)
{
	const struct passwd *user = getpwnam(name);
	uint64_t number;

	if (!user && ivs_parse_uint(name, 0, UINT32_MAX - 1, &number))
		user = getpwuid((uid_t)number);
	return user;
}

/* Find the user that runs the VMs of libvirt's system daemon. */
static const struct passwd *find_system_user(void)
{
	char name[IVS_DOCTOR_PROGRAM_LEN] = "";
	const struct passwd *user = NULL;

	read_conf(name, sizeof(name));
	if (*name)
		return find_user(name);
	for (size_t i = 0; !user && i < sizeof(default_users) / sizeof(*default_users); i++)
		user = getpwnam(default_users[i]);
	return user;
}

/* Find the user that runs the domain. If it is not known, nothing is denied: uid 0. */
static int take_user_of(struct ivs_doctor_domain *out)
{
	const struct passwd *user;
	const char *host;
	char shown[256];
	char *uri;
	int status = virsh_run((const char *[]){"uri", NULL}, NULL, &uri);

	if (status)
		return status;
	host = strstr(uri, "://");
	if (!host || host[3] != '/') {
		uri[strcspn(uri, "\n")] = '\0';
		status = usage_failed("virsh is connected to the libvirt of another host (%s): run "
				      "this command on that host",
				      ivs_text_shown(uri, shown, sizeof(shown)));
		free(uri);
		return status;
	}
	user = strstr(uri, "/session") ? getpwuid(geteuid()) : find_system_user();
	free(uri);
	if (!user)
		return 0;
	out->uid = user->pw_uid;
	out->gid = user->pw_gid;
	snprintf(out->user, sizeof(out->user), "%s", user->pw_name);
	return 0;
}

int collect_domain(const char *name, struct ivs_doctor_domain *out)
{
	struct xml_part part;
	int status;
	char *xml;

	if (!ivs_escape_valid(name) || *name == '-' || strlen(name) >= sizeof(out->name))
		return usage_error("invalid domain", name, "use its name in virsh list");
	status = virsh_run((const char *[]){"dumpxml", name, NULL}, NULL, &xml);
	if (status)
		return status;
	snprintf(out->name, sizeof(out->name), "%s", name);
	status = take_user_of(out);
	for (const char *at = xml;
	     !status && out->shmems_n < IVS_DOCTOR_SHMEMS_MAX && xml_next(at, "shmem", &part);
	     at = part.text + part.len)
		take_shmem(xml, &part, out);
	free(xml);
	return status;
}
