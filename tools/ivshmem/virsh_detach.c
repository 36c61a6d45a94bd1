/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/virsh_detach.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/parse.h"
#include "base/text.h"
#include "config/escape.h"
#include "daemon/json.h"
#include "tools/ivshmem/detach_check.h"
#include "tools/ivshmem/progress.h"
#include "tools/ivshmem/signals.h"
#include "tools/ivshmem/virsh.h"
#include "tools/shared/usage.h"

#define POLL_NS (250 * IVS_NS_PER_MS)
#define STAYS "leave it until the VM is shut down, which is safe"

/*
 * Find the libvirt that virsh is connected to, which must be on this host: pids and servers of
 * another host mean nothing here.
 */
static int check_local(bool *system)
{
	const char *host;
	char shown[256];
	int status;
	char *uri;

	status = virsh_run((const char *[]){"uri", NULL}, NULL, &uri);
	if (status)
		return status;
	uri[strcspn(uri, "\n")] = '\0';
	host = strstr(uri, "://");
	*system = strstr(uri, "/system") != NULL;
	if (!host || host[3] != '/')
		status = usage_failed("virsh is connected to the libvirt of another host (%s), "
				      "so it is not known whether the VM would die: run this "
				      "command on that host",
				      ivs_text_shown(uri, shown, sizeof(shown)));
	free(uri);
	return status;
}

/* Read QEMU's pid from libvirt's file. Return: 0 if it is not known. */
static pid_t find_pid(const char *domain, bool system)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char path[4096];
	char text[32] = "";
	uint64_t pid = 0;
	FILE *file;

	if (system)
		snprintf(path, sizeof(path), "/run/libvirt/qemu/%s.pid", domain);
	else
		snprintf(path, sizeof(path), "%s/libvirt/qemu/run/%s.pid", runtime ? runtime : "",
			 domain);
	file = fopen(path, "re");
	if (!file)
		return 0;
	if (fgets(text, sizeof(text), file))
		text[strcspn(text, "\n")] = '\0';
	fclose(file);
	return ivs_parse_uint(text, 1, INT32_MAX, &pid) ? (pid_t)pid : 0;
}

/* Without KVM, QEMU has to be given placeholders for the closed fds, which libvirt cannot do. */
static int check_doorbell(const char *domain, const struct detach *detach, const char *xml)
{
	struct server_view view;
	const struct unplug_facts facts = {.kvm = true, .server = &view};
	char why[UNPLUG_WHY_LEN];
	unsigned int devices_n = 0;
	struct xml_part part;
	struct ivs_error err;
	char type[16];
	bool system;
	int status;

	if (xml_next(xml, "domain", &part)) {
		xml_value(&part, " type=", type, sizeof(type));
		if (strcmp(type, "kvm"))
			return usage_failed("the domain runs without KVM (type '%s'), where QEMU "
					    "keeps polling the device's file descriptors after "
					    "the unplug and may die, and libvirt cannot prevent "
					    "that: " STAYS,
					    type);
	}
	status = check_local(&system);
	if (status)
		return status;
	for (const char *at = xml; xml_next(at, "shmem", &part); at = part.text + part.len)
		devices_n += memmem(part.text, part.len, "ivshmem-doorbell", 16) != NULL;
	if (server_view_get(detach->control, find_pid(domain, system), devices_n, &view, &err))
		return usage_failed("%s", err.text);
	return *unplug_why_not(&facts, detach->id, why) ? usage_failed("%s", why) : 0;
}

static int pending(const struct detach *detach, bool interrupted)
{
	usage_failed("%sthe unplug of %s was requested, but the guest has not released it%s. The "
		     "request stays pending: the guest may release the device at any later time, "
		     "or at its next reboot. Repeat this command to wait again",
		     interrupted ? "interrupted: " : "", detach->id, interrupted ? "" : " in time");
	return STATUS_PENDING;
}

/* Wait until libvirt no longer lists the device. */
static int await_gone(const char *domain, const struct detach *detach)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};
	int64_t deadline_ns = ivs_clock_deadline(detach->timeout_ms);
	struct xml_part part;
	char *xml;
	bool gone;
	int status;

	for (;;) {
		if (signals_pending())
			return pending(detach, true);
		status = virsh_run((const char *[]){"dumpxml", domain, NULL}, NULL, &xml);
		if (status)
			return status;
		gone = !xml_find_shmem(xml, detach->id, &part);
		free(xml);
		if (gone)
			return 0;
		if (!ivs_clock_left_ms(deadline_ns))
			return pending(detach, false);
		nanosleep(&pause, NULL);
	}
}

/* Request the unplug. libvirt does not show whether there is a request of an earlier run. */
static int request(const char *domain, const struct detach *detach, const char *element)
{
	char error[VIRSH_ERROR_LEN];
	char *said;
	int status = virsh_try(
		(const char *[]){"detach-device", domain, "/dev/stdin", "--live", NULL}, element,
		&said, error);

	free(said);
	if (!strstr(error, "in the process of unplug")) {
		if (*error)
			usage_failed("virsh: %s", error);
		return status;
	}
	usage_failed("note: an earlier request to release %s is still pending; waiting for the "
		     "guest",
		     detach->id);
	return 0;
}

static int request_and_wait(const char *domain, const struct detach *detach, const char *element)
{
	sigset_t before;
	int status;

	signals_hold(&before);
	progress_start("waiting for the guest to release the device");
	status = request(domain, detach, element);
	if (!status)
		status = await_gone(domain, detach);
	progress_end();
	signals_release(&before);
	return status;
}

static int detach_with(const char *domain, struct detach *detach, const char *xml)
{
	struct xml_part part;
	char *element;
	int status = 0;

	if (!xml_find_shmem(xml, detach->id, &part))
		return usage_failed("the domain %s has no shared memory with the alias \"%s\": "
				    "virsh dumpxml shows the aliases. If its unplug was "
				    "requested earlier, the guest has released it, and nothing "
				    "is left to do",
				    domain, detach->id);
	snprintf(detach->type, sizeof(detach->type), "%s",
		 memmem(part.text, part.len, "ivshmem-doorbell", 16) ? "ivshmem-doorbell"
								     : "ivshmem-plain");
	if (!strcmp(detach->type, "ivshmem-doorbell"))
		status = check_doorbell(domain, detach, xml);
	if (status)
		return status;
	element = strndup(part.text, part.len);
	if (!element)
		return usage_failed("%s", strerror(ENOMEM));
	status = request_and_wait(domain, detach, element);
	free(element);
	return status;
}

static int print_result(const struct detach *detach, bool pending, bool json)
{
	json_t *object;

	if (!json && !pending) {
		printf("detached %s\n", detach->id);
	} else if (json) {
		object = json_pack("{s:s, s:s, s:b}", "id", detach->id, "driver", detach->type,
				   "pending", pending);
		if (!object || ivs_json_write(object, JSON_INDENT(2), stdout))
			usage_failed("cannot print");
		json_decref(object);
		putchar('\n');
	}
	return fflush(stdout) ? usage_failed("cannot print: %s", strerror(errno)) : 0;
}

int virsh_detach(const char *domain, struct detach *detach, bool json)
{
	int printed = 0;
	int status;
	char *xml;

	if (!ivs_escape_valid(domain) || *domain == '-' || strchr(domain, '/'))
		return usage_error("invalid domain", domain, "use its name in virsh list");
	status = virsh_run((const char *[]){"dumpxml", domain, NULL}, NULL, &xml);
	if (status)
		return status;
	status = detach_with(domain, detach, xml);
	free(xml);
	if (!status || status == STATUS_PENDING)
		printed = print_result(detach, status == STATUS_PENDING, json);
	return printed ? printed : status;
}
