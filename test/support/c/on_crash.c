/* SPDX-License-Identifier: BSD-3-Clause */
#include "support/c/on_crash.h"

#include <signal.h>
#include <stddef.h>

static const int faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
#define FAULTS_N (sizeof(faults) / sizeof(faults[0]))

static struct sigaction fault_before[FAULTS_N];
static void (*crash_say)(void);

/* Defined only in builds with a sanitizer, which can end the process without a signal. */
void __sanitizer_set_death_callback(void (*say)(void)) __attribute__((weak));

/*
 * Report the crash and restore the previous handlers. Returning repeats the faulting instruction.
 */
static void on_fault(int number)
{
	for (size_t i = 0; i < FAULTS_N; i++)
		sigaction(faults[i], &fault_before[i], NULL);
	crash_say();
	if (number == SIGABRT)
		raise(number);
}

void on_crash(void (*say)(void))
{
	static char stack[1 << 16];
	const stack_t other = {.ss_sp = stack, .ss_size = sizeof(stack)};
	struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};

	crash_say = say;
	if (__sanitizer_set_death_callback) {
		__sanitizer_set_death_callback(say);
		return;
	}
	sigaltstack(&other, NULL);
	for (size_t i = 0; i < FAULTS_N; i++)
		sigaction(faults[i], &action, &fault_before[i]);
}
