/* SPDX-License-Identifier: BSD-3-Clause */
#include "tools/ivshmem/looking_glass_test.h"

#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/parse.h"
#include "base/text.h"
#include "ivshmem/region.h"
#include "looking_glass/publisher.h"
#include "looking_glass/size.h"
#include "region/watch.h"
#include "tools/ivshmem/looking_glass_events.h"
#include "tools/ivshmem/region_show.h"
#include "tools/shared/address.h"
#include "tools/shared/guard.h"
#include "tools/shared/owners.h"
#include "tools/shared/usage.h"

#define DEFAULT_ADDRESS "shm:looking-glass"
#define DEFAULT_MODE "1920x1080"
#define SHM_PREFIX "shm:"
#define FILE_PREFIX "file:"
#define SHM_DIR "/dev/shm/"
#define KVMFR_DEVICE "/dev/kvmfr0"
#define CLIENT_SIZE_MAX INT32_MAX /* the client keeps the size in an int */
#define WATCH_NS (IVS_NS_PER_S / 2)
#define LOOK_STEP_MS 10

static const char help[] =
	"usage: ivshmem looking-glass test [OPTION]... [REGION]\n"
	"\n"
	"Publishes a moving test pattern in a region, as Looking Glass B7 does in a VM, so\n"
	"that the client can show it before there is a VM. REGION is a name, a path, shm:NAME or\n"
	"file:PATH (shm:looking-glass), and must exist.\n"
	"\n"
	"  --mode WIDTHxHEIGHT  size of the picture (1920x1080)\n"
	"  --fps N              frames per second, 1 to 240 (30)\n"
	"  --frames N           end when clients have taken N frames; without this, publish\n"
	"                       until SIGINT or SIGTERM\n"
	"  --force              publish even if another program publishes in the region\n"
	"  --json               print JSON, an object per line for each event\n"
	"  -V, --version        print the version and exit\n"
	"  -h, --help           print this text and exit\n"
	"\n"
	"The exit status is 0 if a client has taken a frame, and 1 if not.\n"
	"\n"
	"Example:\n"
	"  ivshmem looking-glass test --mode 1280x720\n"
	"  looking-glass-client -s -f /dev/shm/looking-glass     (in another terminal)\n";

enum { OPTION_MODE = 256, OPTION_FPS, OPTION_FRAMES, OPTION_FORCE, OPTION_JSON };

static const struct option options[] = {
	{"mode", required_argument, NULL, OPTION_MODE},
	{"fps", required_argument, NULL, OPTION_FPS},
	{"frames", required_argument, NULL, OPTION_FRAMES},
	{"force", no_argument, NULL, OPTION_FORCE},
	{"json", no_argument, NULL, OPTION_JSON},
	{"version", no_argument, NULL, 'V'},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/**
 * struct settings - the command line
 * @address:   address of the region; "" until it is known
 * @wanted:    the size of a region for the mode, by the formula of release B7
 * @frames_n:  end after clients have taken this many frames in total; 0: no limit
 */
struct settings {
	char address[ADDRESS_LEN];
	uint64_t wanted;
	struct ivs_publisher_options publish;
	uint64_t frames_n;
	bool json;
};

/**
 * struct session - the test while it runs
 * @memory: the whole region
 */
struct session {
	const struct settings *settings;
	struct ivs_region *region;
	void *memory;
	size_t len;
	struct ivs_region_watch watch;
	struct ivs_publisher publisher;
	struct events events;
};

static int take_mode_option(struct settings *settings, const char *value)
{
	struct ivs_looking_glass_mode mode = {.release = IVS_LOOKING_GLASS_B7};
	char shown[64];

	ivs_text_shown(value, shown, sizeof(shown));
	if (ivs_looking_glass_parse(value, &mode) || mode.width < IVS_PATTERN_MIN ||
	    mode.height < IVS_PATTERN_MIN)
		return usage_error("not a mode", shown,
				   "use WIDTHxHEIGHT, each 64 to 16384, such as 1920x1080");
	if (ivs_looking_glass_size(&mode, &settings->wanted))
		return usage_error("the mode is too large", shown,
				   "it needs 2G or more, which Looking Glass's client cannot map");
	settings->publish.width = mode.width;
	settings->publish.height = mode.height;
	return 0;
}

static int take_option(void *context, int option, const char *value)
{
	struct settings *settings = context;
	uint64_t fps;

	switch (option) {
	case OPTION_MODE:
		return take_mode_option(settings, value);
	case OPTION_FPS:
		if (!ivs_parse_uint(value, 1, IVS_PUBLISHER_FPS_MAX, &fps))
			return usage_error("not a number of frames per second", value,
					   "use 1 to 240");
		settings->publish.fps = (uint32_t)fps;
		return 0;
	case OPTION_FRAMES:
		if (!ivs_parse_uint(value, 1, INT64_MAX, &settings->frames_n))
			return usage_error("not a number of frames", value, "use 1 or more");
		return 0;
	case OPTION_FORCE:
		settings->publish.force = true;
		return 0;
	case OPTION_JSON:
		settings->json = true;
		return 0;
	default:
		return STATUS_USAGE;
	}
}

static int take_region(void *context, char *value)
{
	struct settings *settings = context;
	int status;

	if (*settings->address)
		return USAGE_SURPLUS;
	status = address_complete(value, settings->address);
	return status ? status : address_check_region(settings->address);
}

static const struct usage usage = {
	.help = help,
	.letters = "Vh",
	.options = options,
	.take = take_option,
	.surplus = "give only one region",
	.operand = take_region,
};

/* Return: the path of the region's file. */
static const char *path_of(const char *address, char out[ADDRESS_LEN])
{
	if (!strncmp(address, SHM_PREFIX, strlen(SHM_PREFIX)))
		snprintf(out, ADDRESS_LEN, SHM_DIR "%s", address + strlen(SHM_PREFIX));
	else
		snprintf(out, ADDRESS_LEN, "%s", address + strlen(FILE_PREFIX));
	return out;
}

static bool is_device(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISCHR(st.st_mode);
}

/* Report that there is no region, with the commands that create exactly this one. */
static int report_absent(const struct settings *settings, const char *path)
{
	const char *name = strncmp(path, SHM_DIR, strlen(SHM_DIR)) ? path : path + strlen(SHM_DIR);
	char whole[SHOW_WORD_LEN + 128] = "";
	char shown[ADDRESS_LEN];
	char text[ADDRESS_LEN];
	char word[SHOW_WORD_LEN];
	char size[IVS_SIZE_TEXT_LEN];

	/* The command looking-glass creates regions only in /dev/shm. */
	if (!strchr(name, '/')) {
		snprintf(text, sizeof(text), "%s%s", address_is_name(name) ? "" : SHM_PREFIX, name);
		snprintf(whole, sizeof(whole),
			 " or \"ivshmem looking-glass %" PRIu32 "x%" PRIu32 " --name %s --apply\"",
			 settings->publish.width, settings->publish.height, show_word(text, word));
	}
	return usage_failed(
		"there is no region \"%s\": create it with \"ivshmem create %s --size %s\"%s%s",
		ivs_text_shown(settings->address, shown, sizeof(shown)),
		show_word(settings->address, word), ivs_size_text(settings->wanted, size), whole,
		is_device(KVMFR_DEVICE) ? " (the device " KVMFR_DEVICE " is not a region)" : "");
}

/* Report why the region could not be opened, with advice for this command. */
static int report_unopened(const struct settings *settings, int result, const struct ivs_error *err)
{
	char path[ADDRESS_LEN];
	char shown[ADDRESS_LEN];
	char word[SHOW_WORD_LEN];
	char size[IVS_SIZE_TEXT_LEN];
	struct stat st;
	bool known = !stat(path_of(settings->address, path), &st);

	ivs_text_shown(path, shown, sizeof(shown));
	if (known && S_ISCHR(st.st_mode))
		return usage_failed("%s is a device, but the test publishes only in regions: test "
				    "with a region, such as " DEFAULT_ADDRESS,
				    shown);
	if (known && !st.st_size && result == IVS_REGION_E_SIZE)
		return usage_failed("%s is empty, because its VM has not been started yet: start "
				    "it, or give the region its size: ivshmem resize %s --size %s",
				    shown, show_word(settings->address, word),
				    ivs_size_text(settings->wanted, size));
	if (result != IVS_REGION_E_ABSENT)
		return usage_failed("%s", err->text);
	return report_absent(settings, path);
}

static int check_size(const struct settings *settings, uint64_t size)
{
	uint64_t needed = ivs_publisher_size(settings->publish.width, settings->publish.height);
	char address[ADDRESS_LEN];
	char has[IVS_SIZE_TEXT_LEN];
	char wanted[IVS_SIZE_TEXT_LEN];

	ivs_text_shown(settings->address, address, sizeof(address));
	ivs_size_text(size, has);
	if (size > CLIENT_SIZE_MAX)
		return usage_failed("the size of %s is %s, and Looking Glass cannot use 2G or "
				    "more: use a smaller region",
				    address, has);
	if (size >= needed)
		return 0;
	return usage_failed("the size of %s is %s, which is too small for %" PRIu32 "x%" PRIu32
			    " (%" PRIu64
			    " bytes): choose a smaller --mode, or create a region of %s (\"ivshmem "
			    "looking-glass %" PRIu32 "x%" PRIu32 "\" says how)",
			    address, has, settings->publish.width, settings->publish.height, needed,
			    ivs_size_text(settings->wanted, wanted), settings->publish.width,
			    settings->publish.height);
}

static int open_region(struct session *session)
{
	const struct settings *settings = session->settings;
	char path[ADDRESS_LEN];
	struct ivs_error err;
	struct stat st;
	uint64_t size;
	int result;
	int status;

	/* Opening reserves the memory, so check first. */
	if (!stat(path_of(settings->address, path), &st) && st.st_size > CLIENT_SIZE_MAX)
		return check_size(settings, (uint64_t)st.st_size);
	result = ivs_region_open(settings->address, NULL, &session->region, &err);
	if (result)
		return report_unopened(settings, result, &err);
	size = ivs_region_size(session->region);
	status = check_size(settings, size);
	if (status)
		return status;
	session->len = (size_t)size;
	session->memory = mmap(NULL, session->len, PROT_READ | PROT_WRITE, MAP_SHARED,
			       ivs_region_fd(session->region), 0);
	if (session->memory == MAP_FAILED)
		return usage_failed("cannot map %s: %s", settings->address, strerror(errno));
	ivs_region_watch_init(&session->watch, ivs_region_fd(session->region), size,
			      ivs_region_path(session->region), -1);
	return 0;
}

static void close_region(struct session *session)
{
	ivs_region_watch_deinit(&session->watch);
	if (session->memory != MAP_FAILED)
		munmap(session->memory, session->len);
	ivs_region_close(session->region);
}

static int lost_region(const struct session *session)
{
	char shown[ADDRESS_LEN];

	return usage_failed("another process has truncated %s: these pages no longer exist",
			    ivs_text_shown(session->settings->address, shown, sizeof(shown)));
}

static int report_other(const struct session *session)
{
	char shown[ADDRESS_LEN];

	return usage_failed("another program publishes in %s, such as Looking Glass in a VM: stop "
			    "it, or use --force",
			    ivs_text_shown(session->settings->address, shown, sizeof(shown)));
}

/* Check that no other program publishes. Return: 0 or an exit status. */
static int check_other(const struct session *session)
{
	uint64_t first = 0;
	uint64_t beat = 0;
	bool found = false;

	for (int ms = 0; ms <= IVS_PUBLISHER_LOOK_MS; ms += LOOK_STEP_MS) {
		if (!GUARDED(found = ivs_lgmp_find_heartbeat(session->memory, session->len, &beat)))
			return lost_region(session);
		if (!found || session->settings->publish.force)
			return 0;
		if (ms && beat != first)
			return report_other(session);
		first = beat;
		poll(NULL, 0, LOOK_STEP_MS);
	}
	return 0;
}

/* Return: who can start the client, which does not run as root. Warn if no user can start it. */
static const char *find_users(const struct session *session, char *out, size_t out_len)
{
	const char *path = ivs_region_path(session->region);
	char shown[ADDRESS_LEN];
	char user[64] = "";
	struct passwd *passwd;
	struct group *group;
	struct stat st;
	bool trusted;

	snprintf(out, out_len, "as a user other than root");
	if (fstat(ivs_region_fd(session->region), &st) || (st.st_mode & 0006) == 0006)
		return out;
	passwd = getpwuid(st.st_uid);
	trusted = owner_is_trusted(st.st_uid, (uid_t)-1);
	if (st.st_uid && passwd && (st.st_mode & 0600) == 0600)
		snprintf(user, sizeof(user), "%s", passwd->pw_name);
	else if (st.st_uid && (st.st_mode & 0600) == 0600)
		snprintf(user, sizeof(user), "%u", st.st_uid);
	group = getgrgid(st.st_gid);
	if (st.st_gid && (st.st_mode & 0060) == 0060 && group)
		snprintf(out, out_len, "as %s%sa user of group %s", user, *user ? ", or as " : "",
			 group->gr_name);
	else if (st.st_gid && (st.st_mode & 0060) == 0060)
		snprintf(out, out_len, "as %s%sa user of group %u", user, *user ? ", or as " : "",
			 st.st_gid);
	else if (*user)
		snprintf(out, out_len, "as user %s", user);
	else
		usage_failed(
			"warning: only root can open %s (owner %u:%u, mode %04o), and the "
			"client does not run as root: %s",
			ivs_text_shown(path, shown, sizeof(shown)), st.st_uid, st.st_gid,
			st.st_mode & 07777,
			trusted ? "change its owner with chown -h, or chgrp -h kvm and chmod 0660"
				: "remove it and create it again");
	return out;
}

/* Print how the region's file has changed. Return: 0 or STATUS_FAILED. */
static int check_file(const struct session *session)
{
	unsigned int changes = ivs_region_watch_look(&session->watch);
	char shown[ADDRESS_LEN];
	int status = 0;

	ivs_text_shown(session->settings->address, shown, sizeof(shown));
	for (unsigned int i = 0; i < IVS_REGION_CHANGES_N; i++) {
		if (changes & 1u << i)
			status = usage_failed("%s: %s", shown, ivs_region_change_text(i));
	}
	return status;
}

/* Publish until a signal, the last frame or an error. Return: 0 or STATUS_FAILED. */
static int publish(struct session *session, int signal_fd)
{
	uint64_t frames_n = session->settings->frames_n;
	struct pollfd pollfd = {.fd = signal_fd, .events = POLLIN};
	int64_t watch_ns = ivs_clock_ns() + WATCH_NS;
	struct ivs_publisher_report report;
	bool ended = false;
	int64_t now_ns;
	int result = 0;
	int status;

	/* After a signal, a last step counts the frames that have been taken. */
	while (!ended && (!frames_n || session->events.frames_n < frames_n)) {
		struct timespec left = {.tv_nsec = 0};
		int64_t left_ns = ivs_publisher_due_ns(&session->publisher) - ivs_clock_ns();

		if (left_ns > 0)
			left = (struct timespec){left_ns / IVS_NS_PER_S, left_ns % IVS_NS_PER_S};
		ended = ppoll(&pollfd, 1, &left, NULL) > 0;
		now_ns = ivs_clock_ns();
		if (!GUARDED(result = ivs_publisher_step(&session->publisher, now_ns, &report)))
			return lost_region(session);
		events_report(&session->events, &report, now_ns);
		if (ferror(stdout))
			return usage_failed("cannot print: %s", strerror(errno));
		if (result == IVS_PUBLISHER_E_OTHER)
			return report_other(session);
		if (now_ns >= watch_ns) {
			status = check_file(session);
			if (status)
				return status;
			watch_ns = now_ns + WATCH_NS;
		}
	}
	return 0;
}

/* Publish, from the first session to the end. Return: an exit status. */
static int run(struct session *session, int signal_fd)
{
	const struct settings *settings = session->settings;
	struct event_start start = {
		.path = ivs_region_path(session->region),
		.size = session->len,
		.options = &settings->publish,
	};
	char users[256];
	int status;

	if (ivs_publisher_init(&session->publisher, &settings->publish, session->memory,
			       session->len))
		return usage_failed("the region is too small");
	start.user = find_users(session, users, sizeof(users));
	if (!GUARDED(ivs_publisher_start(&session->publisher, ivs_clock_ns())))
		return lost_region(session);
	events_started(&session->events, &start);
	status = publish(session, signal_fd);
	if (!GUARDED(ivs_publisher_end(&session->publisher)) && !status)
		status = lost_region(session);
	events_ended(&session->events);
	if (!status && !session->events.frames_n)
		return usage_failed("no client has taken a frame");
	return status;
}

/* From now on, signals that end the test are read from an fd. Return: the fd, or -1. */
static int take_signals(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -1;
	return signalfd(-1, &set, SFD_CLOEXEC);
}

int looking_glass_test(int argc, char **argv)
{
	static char name[64]; /* for messages of getopt(3) */
	struct settings settings = {.publish = {.fps = 30}};
	struct session session = {
		.settings = &settings, .memory = MAP_FAILED, .watch = IVS_REGION_WATCH_INIT};
	IVS_OWNED_FD signal_fd = -1;
	int status;

	usage_command("test");
	snprintf(name, sizeof(name), "%s", usage_name());
	argv[0] = name;
	status = take_mode_option(&settings, DEFAULT_MODE);
	if (!status)
		status = usage_parse(&usage, &settings, argc, argv);
	if (status)
		return status < 0 ? 0 : status;
	if (!*settings.address)
		snprintf(settings.address, sizeof(settings.address), DEFAULT_ADDRESS);
	if (getrandom(&settings.publish.seed, sizeof(settings.publish.seed), GRND_NONBLOCK) < 0)
		settings.publish.seed = (uint64_t)ivs_clock_ns();
	session.events.json = settings.json;
	guard_start();
	signal_fd = take_signals();
	if (signal_fd < 0)
		return usage_failed("cannot wait for signals: %s", strerror(errno));
	status = open_region(&session);
	if (!status)
		status = check_other(&session);
	if (!status)
		status = run(&session, signal_fd);
	close_region(&session);
	return status;
}
