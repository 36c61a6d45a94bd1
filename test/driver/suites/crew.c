// SPDX-License-Identifier: BSD-3-Clause
#include "crew.h"

#include "common.h"
#include "often.h"

void crew_open(struct crew *crew)
{
	struct ivs_ioc_info info;

	memset(crew, 0, sizeof(*crew));
	crew->fd = open_device(O_RDWR);
	info = info_of(crew->fd);
	crew->len = info.memory_len;
	crew->self = (unsigned int)info.position;
	crew->vectors_n = info.vectors_n;
	crew->memory = map(crew->fd, IVS_MMAP_MEMORY, crew->len, PROT_READ | PROT_WRITE);
	crew->status = map_status(crew->fd);
	crew->registers = map(crew->fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ | PROT_WRITE);
	crew->event = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	need(crew->memory, "the memory can be mapped");
	if (crew->vectors_n)
		need(!listen_to(crew->fd, 0, crew->event), "vector 0 can be listened to");
}

/* Wherever it is, and whatever lies behind it: without a signal. */
static void *write_memory(void *data)
{
	struct crew *crew = data;
	size_t words = crew->len / 4;
	size_t at = 1024;

	while (!crew->stop) {
		crew->memory[at] = crew->memory[(at + 1024) % words] + 1;
		at = (at + 1031) % words;
		if (crew->registers)
			(void)crew->registers[IVS_REG_IV_POSITION / 4];
	}
	return NULL;
}

static void *ring_ourselves(void *data)
{
	struct crew *crew = data;

	while (!crew->stop && !crew->hush &&
	       !ring(crew->fd, crew->self, crew->rings % crew->vectors_n))
		crew->rings++;
	while (!crew->stop && !crew->status->gone)
		usleep(100);
	/* What is left to do when it has gone: writing to nobody. */
	while (!crew->stop && crew->registers) {
		crew->registers[IVS_REG_DOORBELL / 4] = IVS_DOORBELL(crew->self, 0);
		usleep(100);
	}
	return NULL;
}

/* On a file of its own, so that it waits in the kernel when nobody rings. */
static void *read_doorbells(void *data)
{
	struct crew *crew = data;
	int fd = open_number(device_number, O_RDONLY);
	char text[64];

	crew->ready_n++;
	if (fd < 0)
		return NULL;
	while (read(fd, text, sizeof(text)) > 0 && !crew->stop)
		;
	crew->read_result = errno;
	close(fd);
	return NULL;
}

static void *poll_device(void *data)
{
	struct crew *crew = data;
	struct pollfd poller = {.events = POLLIN};
	char text[64];

	poller.fd = open_number(device_number, O_RDONLY | O_NONBLOCK);
	crew->ready_n++;
	if (poller.fd < 0)
		return NULL;
	while (!crew->stop && !(poller.revents & (POLLERR | POLLHUP))) {
		if (poll(&poller, 1, TIMEOUT_MS) != 1)
			break;
		(void)!read(poller.fd, text, sizeof(text));
	}
	crew->poll_result = poller.revents;
	close(poller.fd);
	return NULL;
}

static void *wait_for_event(void *data)
{
	struct crew *crew = data;

	while (take_event(crew->event, TIMEOUT_MS) && !crew->stop && !crew->status->gone)
		;
	crew->event_result = 1;
	return NULL;
}

static void add(struct crew *crew, void *(*run)(void *data))
{
	need(!pthread_create(&crew->threads[crew->threads_n], NULL, run, crew), "a thread");
	crew->threads_n++;
}

static bool are_ready(void *data)
{
	struct crew *crew = data;

	return crew->ready_n == 2;
}

void crew_start(struct crew *crew, bool load, bool waits)
{
	if (load) {
		for (int i = 0; i < CREW_WRITERS; i++)
			add(crew, write_memory);
		if (crew->vectors_n)
			add(crew, ring_ourselves);
	}
	if (waits) {
		add(crew, read_doorbells);
		add(crew, poll_device);
		if (crew->vectors_n)
			add(crew, wait_for_event);
		need(eventually(are_ready, crew), "those who wait have opened the device");
	}
}

static bool all_told(void *data)
{
	struct crew *crew = data;

	return crew->read_result && crew->poll_result && (crew->event_result || !crew->vectors_n);
}

void crew_check_gone(struct crew *crew)
{
	struct ivs_ioc_dmabuf wanted = {.len = PAGE};
	struct pollfd poller = {.fd = crew->fd, .events = POLLIN};
	struct ivs_ioc_info info;
	char path[40];
	char text[8];
	int fd;

	often(crew->status->gone == 1, "status: gone");
	often(ioctl(crew->fd, IVS_IOC_INFO, &info) && errno == ENODEV, "gone: IVS_IOC_INFO");
	often(ring(crew->fd, 0, 0) && errno == ENODEV, "gone: IVS_IOC_RING");
	often(listen_to(crew->fd, 0, -1) && errno == ENODEV, "gone: IVS_IOC_EVENTFD");
	often(ioctl(crew->fd, IVS_IOC_DMABUF, &wanted) < 0 && errno == ENODEV,
	      "gone: IVS_IOC_DMABUF");
	often(read(crew->fd, text, sizeof(text)) < 0 && errno == ENODEV, "gone: read");
	often(poll(&poller, 1, 0) == 1 && poller.revents == (POLLERR | POLLHUP), "gone: poll");
	often(!map(crew->fd, IVS_MMAP_MEMORY, PAGE, PROT_READ) && errno == ENODEV, "gone: mmap");
	often(!map(crew->fd, IVS_MMAP_STATUS, PAGE, PROT_READ) && errno == ENODEV,
	      "gone: mmap of the status");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", crew->fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	often(fd < 0 && (errno == ENODEV || errno == ENXIO), "gone: opened once more");
	if (fd >= 0)
		close(fd);
}

void crew_stop(struct crew *crew)
{
	bool waits = crew->threads_n > CREW_WRITERS + 1;

	if (crew->status->gone && waits)
		often(eventually(all_told, crew), "gone: all who wait are told");
	crew->stop = true;
	for (unsigned int i = 0; !crew->status->gone && waits && i < 3; i++)
		for (unsigned int vector = 0; vector < crew->vectors_n; vector++)
			ring(crew->fd, crew->self, vector);
	for (unsigned int i = 0; i < crew->threads_n; i++)
		pthread_join(crew->threads[i], NULL);
	if (crew->status->gone && waits) {
		often(crew->read_result == ENODEV, "gone: who reads gets ENODEV");
		often(crew->poll_result & POLLHUP, "gone: who polls gets POLLHUP");
	}
	crew->threads_n = 0;
}

void crew_close(struct crew *crew)
{
	munmap((void *)crew->memory, crew->len);
	munmap((void *)crew->status, PAGE);
	if (crew->registers)
		munmap((void *)crew->registers, PAGE);
	close(crew->event);
	close(crew->fd);
}
