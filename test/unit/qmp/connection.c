/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Tests of qmp/connection.h and qmp/vm.h with a stand-in for QEMU's monitor: a thread that sends
 * given lines. The commands' real effects are tested with QEMU (test/tool/test_attach.py).
 */
#include <criterion/criterion.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/fdpass.h"
#include "qmp/vm.h"
#include "support/c/fds.h"

#define GREETING                                                                                   \
	"{\"QMP\":{\"version\":{\"qemu\":{\"micro\":3,\"minor\":1,\"major\":11}},"                 \
	"\"capabilities\":[]}}\r\n"
#define SHORT_MS 200

static char dir[] = "/tmp/ivs-qmp-XXXXXX";
static char path[64];
static struct ivs_qmp qmp = IVS_QMP_INIT;
static int listener = -1;
static pthread_t thread;
static bool running;
static unsigned int fds_before;

/*
 * What the monitor sends: first the greeting, then an answer to each line that it receives, except
 * to qmp_capabilities, which is answered without an entry in the list. NULL means that nothing is
 * sent, "" that the connection is closed, and "~" that empty lines are sent without end. In an
 * answer, "@" is replaced by the id of the command, and "#" by that of the command before it.
 */
static const char *greeting;
static const char *const *answers;
static char received[8][256];
static unsigned int received_n;
static struct ivs_fdpass_fds got = {.max = 1};

static void put(int sock, const char *text, unsigned int id)
{
	char out[4096];
	size_t len = 0;

	for (; *text && len < sizeof(out) - 16; text++) {
		if (*text == '@' || *text == '#')
			len += (size_t)sprintf(out + len, "%u", *text == '@' ? id : id - 1);
		else
			out[len++] = *text;
	}
	for (size_t at = 0; at < len;) {
		ssize_t n = send(sock, out + at, len - at, MSG_NOSIGNAL);

		if (n <= 0)
			return;
		at += (size_t)n;
	}
}

static bool get_line(int sock, char line[256])
{
	size_t len = 0;
	ssize_t n;

	for (;;) {
		struct ivs_fdpass_fds fds = {.max = 1};

		n = ivs_fdpass_recv(sock, line + len, 1, &fds);
		if (n == -EAGAIN) {
			usleep(1000);
			continue;
		}
		if (n <= 0)
			return false;
		if (fds.n)
			got = fds;
		if (line[len] == '\n') {
			line[len] = '\0';
			return true;
		}
		len += len < 254;
	}
}

static void *serve(void *unused)
{
	static char empty[64 << 10];
	IVS_OWNED_FD sock = accept(listener, NULL, NULL);
	unsigned int id = 0;

	(void)unused;
	if (sock < 0)
		return NULL;
	if (greeting)
		put(sock, greeting, 0);
	while (get_line(sock, received[received_n % 8])) {
		const char *answer = id++ ? *answers++ : "{\"return\":{},\"id\":1}\r\n";

		received_n++;
		if (answer && !*answer)
			return NULL;
		while (answer && *answer == '~') {
			if (send(sock, memset(empty, '\n', sizeof(empty)), sizeof(empty),
				 MSG_NOSIGNAL) <= 0)
				return NULL;
		}
		if (answer)
			put(sock, answer, id);
	}
	return NULL;
}

static void setup(void)
{
	struct sockaddr_un addr;

	fds_before = test_fds_open();
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/qmp", dir);
	cr_assert(ivs_unix_address(path, &addr, NULL));
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(listener, (struct sockaddr *)&addr, sizeof(addr)), 0);
	cr_assert_eq(listen(listener, 0), 0);
	greeting = GREETING;
}

static void teardown(void)
{
	ivs_qmp_close(&qmp);
	shutdown(listener, SHUT_RDWR);
	if (running)
		pthread_join(thread, NULL);
	ivs_fd_close(&listener);
	if (got.n)
		ivs_fd_close(&got.fds[0]);
	unlink(path);
	rmdir(dir);
	test_fds_check(fds_before);
}

TestSuite(qmp, .init = setup, .fini = teardown);

static int start(const char *const *list, struct ivs_error *err)
{
	answers = list;
	running = !pthread_create(&thread, NULL, serve, NULL);
	cr_assert(running);
	return ivs_qmp_connect(&qmp, path, err);
}

static void connect_to(const char *const *list)
{
	struct ivs_error err = {0};

	cr_assert_eq(start(list, &err), 0, "%s", err.text);
}

Test(qmp, connecting_learns_version_and_pid)
{
	connect_to(NULL);
	cr_expect_eq(qmp.version.major, 11);
	cr_expect_eq(qmp.version.minor, 1);
	cr_expect_eq(qmp.version.micro, 3);
	cr_expect_eq(qmp.pid, getpid());
	cr_expect(ivs_qmp_at_least(&qmp, 11, 1) && ivs_qmp_at_least(&qmp, 10, 2));
	cr_expect(!ivs_qmp_at_least(&qmp, 11, 2) && !ivs_qmp_at_least(&qmp, 12, 0));
	cr_expect(strstr(received[0], "\"execute\":\"qmp_capabilities\""));
}

Test(qmp, absent_monitors_are_reported)
{
	struct ivs_error err;
	char other[80];

	snprintf(other, sizeof(other), "%s/none", dir);
	cr_expect_eq(ivs_qmp_connect(&qmp, other, &err), IVS_QMP_E_ABSENT);
	cr_expect(strstr(err.text, "-qmp unix:"), "%s", err.text);
	ivs_qmp_close(&qmp);
	ivs_fd_close(&listener);
	cr_expect_eq(ivs_qmp_connect(&qmp, path, &err), IVS_QMP_E_ABSENT);
	cr_expect(strstr(err.text, "no process listens"), "%s", err.text);
	ivs_qmp_close(&qmp);
	cr_expect_eq(ivs_qmp_connect(&qmp, "", &err), IVS_QMP_E_ABSENT);
}

Test(qmp, no_greeting_is_a_hung_monitor)
{
	struct ivs_error err;

	greeting = NULL;
	qmp.timeout_ms = SHORT_MS;
	cr_expect_eq(start(NULL, &err), IVS_QMP_E_HUNG);
	cr_expect(strstr(err.text, "hung, with no greeting in 1 s"), "%s", err.text);
	cr_expect(strstr(err.text, "another program is connected"), "%s", err.text);
}

Test(qmp, a_full_queue_is_a_hung_monitor)
{
	struct sockaddr_un addr;
	struct ivs_error err;
	int socks[8];

	/* Connect until the listen queue is full. */
	cr_assert(ivs_unix_address(path, &addr, NULL));
	for (unsigned int i = 0; i < 8; i++) {
		socks[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		(void)!connect(socks[i], (struct sockaddr *)&addr, sizeof(addr));
	}
	qmp.timeout_ms = SHORT_MS;
	cr_expect_eq(ivs_qmp_connect(&qmp, path, &err), IVS_QMP_E_HUNG);
	for (unsigned int i = 0; i < 8; i++)
		ivs_fd_close(&socks[i]);
}

Test(qmp, other_programs_are_recognized)
{
	struct ivs_error err;

	greeting = "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ";
	cr_expect_eq(start(NULL, &err), IVS_QMP_E_PROTOCOL);
	cr_expect(strstr(err.text, "does not speak QMP"), "%s", err.text);
}

Test(qmp, results_and_refusals_reach_the_caller)
{
	static const char *const list[] = {
		"{\"return\":{\"status\":\"running\"},\"id\":@}\r\n",
		"{\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"no \\u001b[1m\"},\"id\":@}\n",
		"\r\n\n{\"return\":{\"enabled\":true,\"present\":true},\"id\":@}\n",
		"{\"return\":\"block\\r\\n\",\"id\":@}\n",
	};
	char state[IVS_QMP_STATE_LEN];
	struct ivs_error err;
	bool kvm = false;
	char *text;

	connect_to(list);
	cr_expect_eq(ivs_qmp_state(&qmp, state, NULL), 0);
	cr_expect_str_eq(state, "running");
	cr_expect_eq(ivs_qmp_execute(&qmp, NULL, &err, "device_del", "{s:s}", "id", "x"),
		     IVS_QMP_E_REFUSED);
	cr_expect_str_eq(qmp.refusal.class, "DeviceNotFound");
	cr_expect_str_eq(qmp.refusal.text, "no ?[1m");
	cr_expect_str_eq(err.text, "QEMU refuses device_del: no ?[1m");
	cr_expect(strstr(received[2], "\"arguments\":{\"id\":\"x\"}"), "%s", received[2]);
	cr_expect_eq(ivs_qmp_is_kvm(&qmp, &kvm, NULL), 0);
	cr_expect(kvm);
	cr_expect_eq(ivs_qmp_human(&qmp, "info ramblock", &text, NULL), 0);
	cr_expect_str_eq(text, "block\r\n");
	free(text);
}

Test(qmp, late_answers_are_ignored)
{
	static const char *const list[] = {
		NULL,
		"{\"return\":{\"status\":\"late\"},\"id\":#}\n"
		"{\"return\":{\"status\":\"paused\"},\"id\":@}\n",
	};
	char state[IVS_QMP_STATE_LEN];
	struct ivs_error err;

	connect_to(list);
	qmp.timeout_ms = SHORT_MS;
	cr_expect_eq(ivs_qmp_state(&qmp, state, &err), IVS_QMP_E_HUNG);
	cr_expect(qmp.hung && strstr(err.text, "hung: no answer to query-status in 1 s"), "%s",
		  err.text);
	qmp.timeout_ms = IVS_QMP_TIMEOUT_MS;
	cr_expect_eq(ivs_qmp_state(&qmp, state, NULL), 0);
	cr_expect(!qmp.hung);
	cr_expect_str_eq(state, "paused");
}

Test(qmp, replies_without_a_command_are_refused)
{
	static const char *const list[] = {"{\"return\":{},\"id\":999}\n"};

	connect_to(list);
	cr_expect_eq(ivs_qmp_execute(&qmp, NULL, NULL, "a", NULL), IVS_QMP_E_PROTOCOL);
	cr_expect_eq(ivs_qmp_execute(&qmp, NULL, NULL, "b", NULL), IVS_QMP_E_LOST);
}

Test(qmp, a_closed_connection_is_reported)
{
	static const char *const list[] = {""};
	struct ivs_error err;

	connect_to(list);
	cr_expect_eq(ivs_qmp_execute(&qmp, NULL, &err, "quit", NULL), IVS_QMP_E_LOST);
	cr_expect(strstr(err.text, "closed the connection"), "%s", err.text);
}

static const struct ivs_qmp_wanted wanted[] = {
	{"DEVICE_DELETED", "device", "d"},
	{"STOP", NULL, NULL},
};

static int wait_wanted(int timeout_ms, const char **device)
{
	json_t *event;
	int result = ivs_qmp_wait_event(&qmp, wanted, 2, ivs_clock_deadline(timeout_ms), &event,
					NULL);

	*device = "";
	if (result)
		return result;
	*device = json_object_get(event, "data") ? "d" : "none";
	json_decref(event);
	return 0;
}

Test(qmp, events_are_matched_by_name_and_data)
{
	static const char *const list[] = {
		"{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":\"other\"}}\n"
		"{\"event\":\"DEVICE_DELETED\",\"data\":{\"path\":\"d\"}}\n"
		"{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":\"d\"}}\n"
		"{\"return\":{},\"id\":@}\n{\"event\":\"STOP\"}\n",
	};
	const char *device;

	connect_to(list);
	cr_assert_eq(ivs_qmp_execute(&qmp, NULL, NULL, "a", NULL), 0);
	cr_expect_eq(wait_wanted(10000, &device), 0);
	cr_expect_str_eq(device, "d");
	cr_expect_eq(wait_wanted(10000, &device), 0);
	cr_expect_str_eq(device, "none");
	cr_expect_eq(qmp.events_n, 2);
	cr_expect_eq(wait_wanted(0, &device), IVS_QMP_E_TIMEOUT);
}

Test(qmp, events_are_bounded)
{
	static char many[IVS_QMP_EVENTS_MAX * 15 + 64];
	static const char *list[] = {many, "{\"event\":\"B\"}\n{\"return\":{},\"id\":@}\n"};
	char *at = many;
	json_t *event;

	at += sprintf(at, "{\"event\":\"STOP\"}\n");
	for (unsigned int i = 0; i < 200; i++)
		at += sprintf(at, "{\"event\":\"A\"}\n");
	sprintf(at, "{\"return\":{},\"id\":@}\n");
	connect_to(list);
	cr_assert_eq(ivs_qmp_execute(&qmp, NULL, NULL, "a", NULL), 0);
	cr_expect_eq(qmp.events_n, 201);
	/* Fill the queue: the oldest event is dropped. */
	while (qmp.events_n < IVS_QMP_EVENTS_MAX)
		qmp.events[qmp.events_n++] = json_object();
	cr_assert_eq(ivs_qmp_execute(&qmp, NULL, NULL, "b", NULL), 0);
	cr_expect_eq(qmp.events_n, IVS_QMP_EVENTS_MAX);
	cr_expect_eq(qmp.events_lost_n, 1);
	cr_expect_eq(ivs_qmp_wait_event(&qmp, wanted + 1, 1, 0, &event, NULL), IVS_QMP_E_TIMEOUT);
}

/* Act as if this line had been received @n times. */
static void feed(const char *line, unsigned int n)
{
	size_t len = strlen(line);
	char *text = realloc(qmp.text, qmp.text_len + n * len);

	cr_assert(text);
	for (unsigned int i = 0; i < n; i++)
		memcpy(text + qmp.text_len + i * len, line, len);
	qmp.text = text;
	qmp.text_room = qmp.text_len += n * len;
}

/* Make an event with a text of @len bytes. */
static const char *make_event(size_t len)
{
	static char line[IVS_QMP_EVENT_LEN_MAX + 64];
	size_t at = (size_t)sprintf(line, "{\"event\":\"A\"");

	memset(line + at, ' ', len - at);
	memcpy(line + len - 1, "}\n", 3);
	return line;
}

Test(qmp, the_text_of_events_is_bounded)
{
	const unsigned int most_n = IVS_QMP_EVENTS_LEN_MAX / IVS_QMP_EVENT_LEN_MAX;
	const struct ivs_qmp_wanted last = {"LAST", NULL, NULL};
	int64_t deadline_ns = ivs_clock_deadline(10000);
	json_t *event;

	connect_to(NULL);
	feed(make_event(IVS_QMP_EVENT_LEN_MAX), 2 * most_n);
	feed(make_event(IVS_QMP_EVENT_LEN_MAX + 1), 1);
	feed("{\"event\":\"LAST\"}\n", 1);
	cr_assert_eq(ivs_qmp_wait_event(&qmp, &last, 1, deadline_ns, &event, NULL), 0);
	json_decref(event);
	cr_expect_eq(qmp.events_n, most_n - 1);
	cr_expect_eq(qmp.events_lost_n, most_n + 2);
}

Test(qmp, events_that_arrive_late_are_kept)
{
	static const char *const list[] = {
		"{\"return\":{},\"id\":@}\n{\"event\":\"STOP\"}\n"
		"{\"event\":\"DEVICE_DELETED\",\"data\":{\"device\":\"d\"}}\n",
	};
	const char *device;
	json_t *event;

	connect_to(list);
	cr_assert_eq(ivs_qmp_execute(&qmp, NULL, NULL, "a", NULL), 0);
	cr_expect_eq(ivs_qmp_wait_event(&qmp, wanted, 1, 0, &event, NULL), IVS_QMP_E_TIMEOUT);
	cr_expect_eq(wait_wanted(0, &device), 0);
	cr_expect_str_eq(device, "none");
	cr_expect_eq(wait_wanted(0, &device), 0);
	cr_expect_str_eq(device, "d");
}

Test(qmp, lines_without_end_do_not_extend_time_limits, .timeout = 20)
{
	static const char *const list[] = {"~"};
	const char *device;

	connect_to(list);
	qmp.timeout_ms = SHORT_MS;
	cr_expect_eq(ivs_qmp_execute(&qmp, NULL, NULL, "a", NULL), IVS_QMP_E_HUNG);
	cr_expect_eq(wait_wanted(SHORT_MS, &device), IVS_QMP_E_TIMEOUT);
}

Test(qmp, waiting_can_be_interrupted)
{
	IVS_OWNED_FD stop = eventfd(1, EFD_CLOEXEC);
	const char *device;

	connect_to(NULL);
	qmp.stop_fd = stop;
	cr_expect_eq(wait_wanted(-1, &device), IVS_QMP_E_INTERRUPTED);
	qmp.stop_fd = -1;
}

Test(qmp, endless_lines_are_refused)
{
	static const char *const list[] = {NULL};
	char *text;

	connect_to(list);
	/* As if these bytes had been received, without a newline */
	text = realloc(qmp.text, IVS_QMP_LINE_MAX + 1);
	cr_assert(text);
	memset(text, ' ', IVS_QMP_LINE_MAX + 1);
	qmp.text = text;
	qmp.text_from = 0;
	qmp.text_room = qmp.text_len = IVS_QMP_LINE_MAX + 1;
	cr_expect_eq(ivs_qmp_execute(&qmp, NULL, NULL, "a", NULL), IVS_QMP_E_PROTOCOL);
}

Test(qmp, fds_are_passed)
{
	static const char *const list[] = {"{\"return\":{},\"id\":@}\n"};
	int fd = test_fds_make();

	connect_to(list);
	cr_expect_eq(ivs_qmp_send_fd(&qmp, "name", fd, NULL), 0);
	cr_expect(strstr(received[1], "\"fdname\":\"name\""), "%s", received[1]);
	cr_expect_eq(got.n, 1);
	cr_expect(got.n && test_fds_same(got.fds[0], fd));
	ivs_fd_close(&fd);
}

Test(qmp, children_and_properties_are_found)
{
	static const char objects[] =
		"{\"return\":[{\"name\":\"a\",\"type\":\"string\"},{\"type\":1},"
		"{\"name\":\"b\",\"type\":\"child<ivshmem-plain>\"}],\"id\":@}\n";
	static const char *const list[] = {
		objects,
		objects,
		"{\"return\":7,\"id\":@}\n",
		"{\"return\":\"value\",\"id\":@}\n",
		"{\"return\":\"value\",\"id\":@}\n",
		"{\"return\":{},\"id\":@}\n",
	};
	char type[IVS_QMP_TYPE_LEN];
	char text[6];

	connect_to(list);
	cr_expect_eq(ivs_qmp_find(&qmp, "/objects", "b", type, NULL), 0);
	cr_expect_str_eq(type, "ivshmem-plain");
	cr_expect_eq(ivs_qmp_find(&qmp, "/objects", "a", type, NULL), 0);
	cr_expect_str_eq(type, "");
	cr_expect_eq(ivs_qmp_find(&qmp, "/objects", "a", type, NULL), IVS_QMP_E_PROTOCOL);
	cr_expect_eq(ivs_qmp_get_text(&qmp, "/x", "p", text, 6, NULL), 0);
	cr_expect_str_eq(text, "value");
	cr_expect_eq(ivs_qmp_get_text(&qmp, "/x", "p", text, 5, NULL), IVS_QMP_E_PROTOCOL);
	cr_expect_eq(ivs_qmp_get_text(&qmp, "/x", "p", text, 6, NULL), 0);
	cr_expect_str_eq(text, "");
}
