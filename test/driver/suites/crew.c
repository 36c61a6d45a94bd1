// SPDX-License-Identifier: BSD-3-Clause
#include "crew.h"

#include "common.h"

void crew_open(struct crew *crew)
{
	struct ivs_ioc_info info;

	memset(crew, 0, sizeof(*crew));
	crew->device_fd = open_device(O_RDWR);
	info = info_of(crew->device_fd);
	crew->len = info.memory_len;
	crew->self = (unsigned int)info.position;
	crew->vectors_n = info.vectors_n;
	crew->memory = map(crew->device_fd, IVS_MMAP_MEMORY, crew->len, PROT_READ | PROT_WRITE);
	crew->status = map_status(crew->device_fd);
	crew->registers = map(crew->device_fd, IVS_MMAP_REGISTERS, PAGE, PROT_READ | PROT_WRITE);
	crew->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	crew->path_fd = open_memory(O_RDWR);
	crew->by_path = map(crew->path_fd, 0, crew->len, PROT_READ | PROT_WRITE);
	need(crew->memory && crew->by_path, "the region can be mapped by the node and by path");
	if (crew->vectors_n)
		need(!listen_to(crew->device_fd, 0, crew->event_fd), "listen to vector 0");
}

/* These accesses must not cause a signal, not even after the device is removed. */
static void *write_memory(void *data)
{
	struct crew *crew = data;
	size_t words = crew->len / 4;
	size_t at = 1024;

	while (!crew->stop) {
		crew->memory[at] = crew->by_path[(at + 1024) % words] + 1;
		crew->by_path[at] = crew->memory[at] + 1;
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
	       !ring(crew->device_fd, crew->self, crew->rings % crew->vectors_n))
		crew->rings++;
	while (!crew->stop && !crew->status->gone)
		usleep(100);
	/*
	 * After the device has been removed, the mapping of the registers refers to a page of
	 * zeroes. Writing to it must not fail.
	 */
	while (!crew->stop && crew->registers) {
		crew->registers[IVS_REG_DOORBELL / 4] = IVS_DOORBELL(crew->self, 0);
		usleep(100);
	}
	return NULL;
}

/*
 * This thread opens the device itself, without O_NONBLOCK, so that read(2) blocks until a doorbell
 * arrives.
 */
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

	while (take_event(crew->event_fd, TIMEOUT_MS) && !crew->stop && !crew->status->gone)
		;
	crew->event_result = 1;
	return NULL;
}

static void add(struct crew *crew, void *(*run)(void *data))
{
	need(!pthread_create(&crew->threads[crew->threads_n], NULL, run, crew), "start a thread");
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
		need(eventually(are_ready, crew), "the waiting threads have opened the device");
	}
}

static bool have_all_ended(void *data)
{
	struct crew *crew = data;

	return crew->read_result && crew->poll_result && (crew->event_result || !crew->vectors_n);
}

void crew_check_gone(struct crew *crew)
{
	struct ivs_ioc_dmabuf wanted = {.len = PAGE};
	struct pollfd poller = {.fd = crew->device_fd, .events = POLLIN};
	struct ivs_ioc_info info;
	char path[40];
	char text[8];
	int fd;

	check_repeated(crew->status->gone == 1, "gone: status page");
	check_repeated(ioctl(crew->device_fd, IVS_IOC_INFO, &info) && errno == ENODEV,
		       "gone: IVS_IOC_INFO");
	check_repeated(ring(crew->device_fd, 0, 0) && errno == ENODEV, "gone: IVS_IOC_RING");
	check_repeated(listen_to(crew->device_fd, 0, -1) && errno == ENODEV,
		       "gone: IVS_IOC_EVENTFD");
	check_repeated(ioctl(crew->device_fd, IVS_IOC_DMABUF, &wanted) < 0 && errno == ENODEV,
		       "gone: IVS_IOC_DMABUF");
	check_repeated(read(crew->device_fd, text, sizeof(text)) < 0 && errno == ENODEV,
		       "gone: read");
	check_repeated(poll(&poller, 1, 0) == 1 && poller.revents == (POLLERR | POLLHUP),
		       "gone: poll");
	check_repeated(!map(crew->device_fd, IVS_MMAP_MEMORY, PAGE, PROT_READ) && errno == ENODEV,
		       "gone: mmap");
	check_repeated(!map(crew->device_fd, IVS_MMAP_STATUS, PAGE, PROT_READ) && errno == ENODEV,
		       "gone: mmap of the status page");
	check_repeated(!map(crew->path_fd, 0, PAGE, PROT_READ) && errno == ENODEV,
		       "gone: mmap by path");
	snprintf(path, sizeof(path), "/proc/self/fd/%d", crew->device_fd);
	fd = open(path, O_RDWR | O_CLOEXEC);
	check_repeated(fd < 0 && (errno == ENODEV || errno == ENXIO), "gone: open");
	if (fd >= 0)
		close(fd);
}

void crew_stop(struct crew *crew)
{
	bool waits = crew->threads_n > CREW_WRITERS + 1;

	if (crew->status->gone && waits)
		check_repeated(eventually(have_all_ended, crew),
			       "gone: all waiting threads wake up");
	crew->stop = true;
	for (unsigned int i = 0; !crew->status->gone && waits && i < 3; i++)
		for (unsigned int vector = 0; vector < crew->vectors_n; vector++)
			ring(crew->device_fd, crew->self, vector);
	for (unsigned int i = 0; i < crew->threads_n; i++)
		pthread_join(crew->threads[i], NULL);
	if (crew->status->gone && waits) {
		check_repeated(crew->read_result == ENODEV, "gone: a blocked read gets ENODEV");
		check_repeated(crew->poll_result & POLLHUP, "gone: a blocked poll gets POLLHUP");
	}
	crew->threads_n = 0;
}

void crew_close(struct crew *crew)
{
	munmap((void *)crew->memory, crew->len);
	munmap((void *)crew->by_path, crew->len);
	munmap((void *)crew->status, PAGE);
	if (crew->registers)
		munmap((void *)crew->registers, PAGE);
	close(crew->event_fd);
	close(crew->path_fd);
	close(crew->device_fd);
}
