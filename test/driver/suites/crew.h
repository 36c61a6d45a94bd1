/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads that use the device in all ways while something happens to it. */
#ifndef DRIVER_TEST_CREW_H
#define DRIVER_TEST_CREW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CREW_WRITERS 2

/**
 * struct crew
 * @fd, @memory, @status, @registers: of the device; @registers may be NULL
 * @event:   of vector 0
 * @hush:    nobody rings until the device has gone
 * @ready_n: how many of those that wait have opened the device
 * @rings:   how often one of them has rung its own device
 * @result of each that waits: what ended its waiting, 0 before
 */
struct crew {
	int fd;
	int event;
	size_t len;
	volatile uint32_t *memory;
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

/* Open the device and map all of it. */
void crew_open(struct crew *crew);

/* Some threads that write and ring, if @load; and some that wait. */
void crew_start(struct crew *crew, bool load, bool waits);

/* The device has gone: look at everything that must now be so, but do not close it. */
void crew_check_gone(struct crew *crew);

/* End the threads; those who wait end by themselves when the device has gone, or here. */
void crew_stop(struct crew *crew);
void crew_close(struct crew *crew);

#endif
