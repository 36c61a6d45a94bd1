/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ZeroMQ over ipc. The library is loaded when it is needed, so that the benchmark also starts on
 * machines that do not have it.
 */
#include <stdint.h>

#include "process.h"
#include "ways.h"

#ifdef HAVE_ZEROMQ
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include <zmq.h>

static struct {
	__typeof__(&zmq_ctx_new) ctx_new;
	__typeof__(&zmq_ctx_term) ctx_term;
	__typeof__(&zmq_socket) socket;
	__typeof__(&zmq_close) close;
	__typeof__(&zmq_bind) bind;
	__typeof__(&zmq_connect) connect;
	__typeof__(&zmq_setsockopt) setsockopt;
	__typeof__(&zmq_send) send;
	__typeof__(&zmq_recv) recv;
} zmq;

static char address[64];
static void *context;
static void *sock;

static void *find(void *library, const char *name)
{
	void *function = dlsym(library, name);

	if (!function)
		die_because("libzmq", dlerror());
	return function;
}

static bool load(void)
{
	void *library = zmq.recv ? NULL : dlopen("libzmq.so.5", RTLD_NOW | RTLD_LOCAL);

	if (!library)
		return zmq.recv;
	zmq.ctx_new = (__typeof__(zmq.ctx_new))find(library, "zmq_ctx_new");
	zmq.ctx_term = (__typeof__(zmq.ctx_term))find(library, "zmq_ctx_term");
	zmq.socket = (__typeof__(zmq.socket))find(library, "zmq_socket");
	zmq.close = (__typeof__(zmq.close))find(library, "zmq_close");
	zmq.bind = (__typeof__(zmq.bind))find(library, "zmq_bind");
	zmq.connect = (__typeof__(zmq.connect))find(library, "zmq_connect");
	zmq.setsockopt = (__typeof__(zmq.setsockopt))find(library, "zmq_setsockopt");
	zmq.send = (__typeof__(zmq.send))find(library, "zmq_send");
	zmq.recv = (__typeof__(zmq.recv))find(library, "zmq_recv");
	return true;
}

static const char *zeromq_prepare(size_t len)
{
	(void)len;
	if (!load())
		return "not installed: apt install libzmq3-dev";
	/* An abstract name, which needs no file. */
	snprintf(address, sizeof(address), "ipc://@ivs-bench-%d", (int)getpid());
	return NULL;
}

static void zeromq_start(enum side side)
{
	context = zmq.ctx_new();
	sock = context ? zmq.socket(context, ZMQ_PAIR) : NULL;
	if (!sock)
		die("zmq_socket");
	if (side ? zmq.connect(sock, address) : zmq.bind(sock, address))
		die("zmq_bind");
}

static void zeromq_send(const void *from, size_t len)
{
	while (zmq.send(sock, from, len, 0) < 0) {
		if (errno != EINTR)
			die("zmq_send");
	}
}

static void zeromq_receive(void *to, size_t len)
{
	while (zmq.recv(sock, to, len, 0) < 0) {
		if (errno != EINTR)
			die("zmq_recv");
	}
}

/* zmq_ctx_term() returns when the last message has been sent. */
static void zeromq_finish(void)
{
	zmq.close(sock);
	zmq.ctx_term(context);
}

#else

static const char *zeromq_prepare(size_t len)
{
	(void)len;
	return "not installed when this was built: apt install libzmq3-dev, then meson setup "
	       "--reconfigure --clearcache build";
}

#define zeromq_start NULL
#define zeromq_send NULL
#define zeromq_receive NULL
#define zeromq_finish NULL
#endif

const struct way zeromq_way = {
	.name = "ZeroMQ ipc",
	.kind = WAY_OTHER,
	.len_max = SIZE_MAX,
	.prepare = zeromq_prepare,
	.start = zeromq_start,
	.send = zeromq_send,
	.receive = zeromq_receive,
	.finish = zeromq_finish,
};
