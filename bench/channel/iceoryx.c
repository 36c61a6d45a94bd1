/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * iceoryx: a publisher and a subscriber for each direction, without losses. The subscriber polls,
 * which is its fastest way. The library is loaded when it is needed. iceoryx also needs its daemon
 * RouDi, which Debian packages only as a library: see roudi.cpp.
 */
#include <stdint.h>

#include "process.h"
#include "ways.h"

#ifdef HAVE_ICEORYX
#include <dlfcn.h>
#include <iceoryx_binding_c/log.h>
#include <iceoryx_binding_c/publisher.h>
#include <iceoryx_binding_c/runtime.h>
#include <iceoryx_binding_c/subscriber.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define READY_MS 60000
#define CONNECT_NS (INT64_C(10) * 1000000000)

static struct {
	__typeof__(&iox_set_loglevel) set_loglevel;
	__typeof__(&iox_runtime_init) runtime_init;
	__typeof__(&iox_runtime_shutdown) runtime_shutdown;
	__typeof__(&iox_pub_options_init) pub_options_init;
	__typeof__(&iox_pub_init) pub_init;
	__typeof__(&iox_pub_deinit) pub_deinit;
	__typeof__(&iox_pub_loan_chunk) pub_loan_chunk;
	__typeof__(&iox_pub_publish_chunk) pub_publish_chunk;
	__typeof__(&iox_pub_has_subscribers) pub_has_subscribers;
	__typeof__(&iox_sub_options_init) sub_options_init;
	__typeof__(&iox_sub_init) sub_init;
	__typeof__(&iox_sub_deinit) sub_deinit;
	__typeof__(&iox_sub_get_subscription_state) sub_state;
	__typeof__(&iox_sub_take_chunk) sub_take_chunk;
	__typeof__(&iox_sub_release_chunk) sub_release_chunk;
} iox;

static size_t slots;
static pid_t parent;
static pid_t roudi;
static iox_pub_storage_t pub_storage;
static iox_sub_storage_t sub_storage;
static iox_pub_t pub;
static iox_sub_t sub;

static void *find(void *library, const char *name)
{
	void *function = dlsym(library, name);

	if (!function)
		die_because("libiceoryx_binding_c", dlerror());
	return function;
}

static bool load(void)
{
	void *lib = iox.runtime_init ? NULL
				     : dlopen("libiceoryx_binding_c.so.2", RTLD_NOW | RTLD_LOCAL);

	if (!lib)
		return iox.runtime_init;
	iox.set_loglevel = (__typeof__(iox.set_loglevel))find(lib, "iox_set_loglevel");
	iox.pub_options_init = (__typeof__(iox.pub_options_init))find(lib, "iox_pub_options_init");
	iox.pub_init = (__typeof__(iox.pub_init))find(lib, "iox_pub_init");
	iox.pub_deinit = (__typeof__(iox.pub_deinit))find(lib, "iox_pub_deinit");
	iox.pub_loan_chunk = (__typeof__(iox.pub_loan_chunk))find(lib, "iox_pub_loan_chunk");
	iox.pub_publish_chunk = (__typeof__(iox.pub_publish_chunk))find(lib,
									"iox_pub_publish_chunk");
	iox.pub_has_subscribers = (__typeof__(iox.pub_has_subscribers))find(
		lib, "iox_pub_has_subscribers");
	iox.sub_options_init = (__typeof__(iox.sub_options_init))find(lib, "iox_sub_options_init");
	iox.sub_init = (__typeof__(iox.sub_init))find(lib, "iox_sub_init");
	iox.sub_deinit = (__typeof__(iox.sub_deinit))find(lib, "iox_sub_deinit");
	iox.sub_state = (__typeof__(iox.sub_state))find(lib, "iox_sub_get_subscription_state");
	iox.sub_take_chunk = (__typeof__(iox.sub_take_chunk))find(lib, "iox_sub_take_chunk");
	iox.sub_release_chunk = (__typeof__(iox.sub_release_chunk))find(lib,
									"iox_sub_release_chunk");
	iox.runtime_shutdown = (__typeof__(iox.runtime_shutdown))find(lib, "iox_runtime_shutdown");
	iox.runtime_init = (__typeof__(iox.runtime_init))find(lib, "iox_runtime_init");
	return true;
}

/* RouDi prints this when programs can connect: without it, iox_runtime_init() would wait. */
static bool await_roudi(int output)
{
	char text[4096] = "";
	size_t len = 0;

	while (len < sizeof(text) - 1 && !strstr(text, "ready")) {
		struct pollfd poller = {.fd = output, .events = POLLIN};
		ssize_t n = poll(&poller, 1, READY_MS) > 0
				    ? read(output, text + len, sizeof(text) - 1 - len)
				    : 0;

		if (n <= 0)
			return false;
		len += (size_t)n;
		text[len] = 0;
	}
	return true;
}

/* One RouDi serves the whole run: it takes a second to start. */
static bool start_roudi(void)
{
	static int output = -1; /* stays open: RouDi writes to it */

	if (roudi)
		return true;
	roudi = process_exec((const char *const[]){tool_path("bench/roudi"), NULL}, &output);
	if (await_roudi(output))
		return true;
	process_end(&roudi);
	close(output);
	return false;
}

/* The runtime leaves a socket and a lock in /tmp, named like the process. */
static void name_process(char out[32], enum side side)
{
	snprintf(out, 32, "ivs-bench-%d-%d", (int)parent, side);
}

static void add_names(void)
{
	for (unsigned int side = 0; side < 2; side++) {
		char name[32], path[64];

		name_process(name, side);
		snprintf(path, sizeof(path), "/tmp/%s", name);
		names_add(path);
		snprintf(path, sizeof(path), "/tmp/%s.lock", name);
		names_add(path);
	}
}

static const char *iceoryx_prepare(size_t len)
{
	slots = way_slots(len);
	parent = getpid();
	if (!load())
		return "not installed: apt install libiceoryx-binding-c-dev libiceoryx-posh-dev";
	if (!has_program(tool_path("bench/roudi")))
		return "its daemon was not built: apt install g++ libiceoryx-posh-dev";
	if (!start_roudi())
		return "its daemon RouDi does not start: is another one running?";
	add_names();
	return NULL;
}

static void iceoryx_start(enum side side)
{
	iox_pub_options_t pub_opts;
	iox_sub_options_t sub_opts;
	int64_t deadline_ns = now_ns() + CONNECT_NS;
	char name[32], service[32];

	name_process(name, side);
	snprintf(service, sizeof(service), "ivs-bench-%d", (int)parent);
	iox.set_loglevel(Iceoryx_LogLevel_Off);
	iox.runtime_init(name);
	iox.pub_options_init(&pub_opts);
	pub_opts.subscriberTooSlowPolicy = ConsumerTooSlowPolicy_WAIT_FOR_CONSUMER;
	iox.sub_options_init(&sub_opts);
	sub_opts.queueFullPolicy = QueueFullPolicy_BLOCK_PRODUCER;
	sub_opts.queueCapacity = slots;
	pub = iox.pub_init(&pub_storage, service, "1", side ? "back" : "forth", &pub_opts);
	sub = iox.sub_init(&sub_storage, service, "1", side ? "forth" : "back", &sub_opts);
	while (!iox.pub_has_subscribers(pub) || iox.sub_state(sub) != SubscribeState_SUBSCRIBED) {
		if (now_ns() > deadline_ns)
			die_because("iceoryx", "the other process does not connect");
	}
}

static void iceoryx_send(const void *from, size_t len)
{
	void *memory;

	if (iox.pub_loan_chunk(pub, &memory, (uint32_t)len) != AllocationResult_SUCCESS)
		die_because("iceoryx", "no memory for a message");
	if (from)
		memcpy(memory, from, len);
	iox.pub_publish_chunk(pub, memory);
}

static void iceoryx_receive(void *to, size_t len)
{
	const void *memory;

	while (iox.sub_take_chunk(sub, &memory) != ChunkReceiveResult_SUCCESS)
		;
	if (to)
		memcpy(to, memory, len);
	iox.sub_release_chunk(sub, memory);
}

static void iceoryx_finish(void)
{
	iox.sub_deinit(sub);
	iox.pub_deinit(pub);
	iox.runtime_shutdown();
}

#else

static const char *iceoryx_prepare(size_t len)
{
	(void)len;
	return "not installed when this was built: apt install libiceoryx-binding-c-dev "
	       "libiceoryx-posh-dev g++, then meson setup --reconfigure --clearcache build";
}

#define iceoryx_start NULL
#define iceoryx_send NULL
#define iceoryx_receive NULL
#define iceoryx_finish NULL
#define names_remove_all NULL
#endif

const struct way iceoryx_way = {
	.name = "iceoryx, polled",
	.kind = WAY_OTHER,
	.spins = true,
	.in_place = true,
	.len_max = 4 << 20, /* of RouDi's default configuration */
	.prepare = iceoryx_prepare,
	.start = iceoryx_start,
	.send = iceoryx_send,
	.receive = iceoryx_receive,
	.finish = iceoryx_finish,
	.clean = names_remove_all,
};
