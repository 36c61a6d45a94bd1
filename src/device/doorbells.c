/* SPDX-License-Identifier: BSD-3-Clause */
/* Doorbells: the device's own vectors, and those of other peers. */
#include "base/eventfd.h"
#include "base/fd.h"
#include "device/private.h"

static void receive_doorbell(struct ivs_device *device, unsigned int vector)
{
	device->totals.rung++;
	ivs_pci_doorbell(&device->function, vector);
}

static void close_vector(struct ivs_device_vector *vector)
{
	ivs_loop_remove(&vector->source);
	ivs_dispose(&vector->device->server.disposal, &vector->fd);
}

static void stop_vector(struct ivs_device *device, unsigned int vector)
{
	close_vector(&device->server.vectors[vector]);
	if (ivs_log_allows(&device->server.limit))
		ivs_log(IVS_LOG_WARNING,
			"%s: reading the doorbell of vector %u takes too long, because too many "
			"epoll instances watch it; it is ignored until the device joins its server "
			"again",
			device->name, vector);
}

/* Send one interrupt per event, because a peer may ring without pause. */
static void read_vector(struct ivs_device *device, unsigned int vector)
{
	int result;

	ivs_slow_begin(&device->server.slow);
	result = ivs_eventfd_take(device->server.vectors[vector].fd);
	if (ivs_slow_check(&device->server.slow))
		stop_vector(device, vector);
	if (result <= 0)
		return;
	receive_doorbell(device, vector);
	ivs_vfio_user_deliver(device->session);
}

static void handle_vector(struct ivs_loop_source *source, uint32_t events)
{
	struct ivs_device_vector *vector = IVS_CONTAINER_OF(source, struct ivs_device_vector,
							    source);

	(void)events;
	read_vector(vector->device, (unsigned int)(vector - vector->device->server.vectors));
}

int ivs_device_doorbells_add(struct ivs_device *device, int *fd)
{
	struct ivs_device_server *server = &device->server;
	struct ivs_device_vector *vector = &server->vectors[server->vectors_n];
	int result;

	if (server->vectors_n == device->opts.doorbells_n) /* ignore surplus vectors */
		return 0;
	vector->device = device;
	vector->source.handle = handle_vector;
	result = ivs_loop_add(device->loop, &vector->source, *fd, EPOLLIN);
	if (!result) {
		vector->fd = ivs_fd_take(fd);
		server->vectors_n++;
	}
	return result;
}

void ivs_device_doorbells_close(struct ivs_device *device)
{
	struct ivs_device_server *server = &device->server;

	for (unsigned int i = 0; i < server->vectors_n; i++)
		close_vector(&server->vectors[i]);
	server->vectors_n = 0;
}

void ivs_device_doorbells_replace(struct ivs_device *device)
{
	for (unsigned int i = 0; i < device->server.vectors_n; i++)
		read_vector(device, i);
	ivs_device_doorbells_close(device);
}

/* Ring a doorbell. If writing to its eventfd blocks or takes too long, close the eventfd. */
static void ring_eventfd(struct ivs_device *device, int *fd)
{
	bool is_slow;
	int result;

	ivs_slow_begin(&device->server.slow);
	result = ivs_eventfd_signal(*fd);
	is_slow = ivs_slow_check(&device->server.slow);
	if (result)
		device->totals.lost++;
	if (result != -EINTR && !is_slow)
		return;
	if (ivs_log_allows(&device->server.limit))
		ivs_log(IVS_LOG_WARNING, "%s: a peer %s; that doorbell is no longer rung",
			device->name,
			is_slow ? "watches a doorbell with too many epoll instances"
				: "filled a doorbell and made it blocking");
	ivs_dispose(&device->server.disposal, fd);
}

/* Return: whether the peer exists and has that vector. */
static bool ring_other(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	struct ivs_doorbell_set *doorbells = ivs_doorbells_get(&device->server.connection.doorbells,
							       peer);
	bool exists = doorbells && vector < doorbells->fds_n;

	if (exists)
		ring_eventfd(device, &doorbells->fds[vector]);
	ivs_doorbell_set_put(doorbells);
	return exists;
}

bool ivs_device_doorbells_ring(struct ivs_device *device, unsigned int peer, unsigned int vector)
{
	const struct ivs_device_server *server = &device->server;

	if (server->last_id < 0 || peer != (unsigned int)server->last_id ||
	    vector >= server->vectors_n)
		return ring_other(device, peer, vector);
	receive_doorbell(device, vector); /* the interrupt follows the guest's write */
	return true;
}
