/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that access the device while it is unbound, reset or suspended. */
#ifndef DRIVER_TEST_CREW_H
#define DRIVER_TEST_CREW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CREW_WRITERS 2

/**
 * struct crew - threads that use a device, and what they share
 * @device_fd:    the device node, O_RDWR
 * @event_fd:     eventfd of vector 0
 * @memory:       mapping of the region, @len bytes
 * @path_fd:      the sysfs attribute "memory", O_RDWR
 * @by_path:      mapping of the region through @path_fd
 * @registers:    mapping of the registers, or NULL
 * @status:       mapping of the status page
 * @self:         the guest's own id
 * @hush:         set to true to keep the threads from ringing until the device is removed
 * @ready_n:      number of waiting threads that have opened the device
 * @rings:        number of doorbells rung so far
 * @read_result:  errno that ended the reading thread; 0 while it runs
 * @poll_result:  events that ended the polling thread; 0 while it runs
 * @event_result: 1 once the thread that reads the eventfd has ended
 */
struct crew {
	int device_fd;
	int event_fd;
	size_t len;
	volatile uint32_t *memory;
	int path_fd;
	volatile uint32_t *by_path;
	volatile uint32_t *registers;
	const struct ivs_driver_status *status;
	unsigned int self;
	unsigned int vectors_n;
	atomic_bool stop;
	atomic_bool hush;
	atomic_uint ready_n;
	atomic_ulong rings;
	atomic_int read_result;
	atomic_int poll_result;
	atomic_int event_result;
	unsigned int threads_n;
	pthread_t threads[8];
};

/* Open the device, and map the region, the registers and the status page. */
void crew_open(struct crew *crew);

/*
 * With @load, start threads that write to the region and ring doorbells. With @waits, start threads
 * that wait for doorbells.
 */
void crew_start(struct crew *crew, bool load, bool waits);

/* Check that all calls on the open file behave as specified for a removed device. */
void crew_check_gone(struct crew *crew);

/* Stop and join all threads. */
void crew_stop(struct crew *crew);
void crew_close(struct crew *crew);

#endif
