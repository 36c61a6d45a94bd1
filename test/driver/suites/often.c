// SPDX-License-Identifier: BSD-3-Clause
#include "often.h"

#include <pthread.h>

#include "common.h"

#define KINDS_MAX 64

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned int kinds_n;
static struct {
	const char *what;
	unsigned int times_n;
	unsigned int wrong_n;
} kinds[KINDS_MAX];

void often(bool ok, const char *what)
{
	unsigned int i;
	int why = errno;

	pthread_mutex_lock(&lock);
	for (i = 0; i < kinds_n && strcmp(kinds[i].what, what); i++)
		;
	if (i < KINDS_MAX) {
		kinds_n += i == kinds_n;
		kinds[i].what = what;
		if (!ok && !kinds[i].wrong_n)
			note("%s: first wrong at %u, errno %d", what, kinds[i].times_n, why);
		kinds[i].times_n++;
		kinds[i].wrong_n += !ok;
	}
	pthread_mutex_unlock(&lock);
}

void often_report(void)
{
	for (unsigned int i = 0; i < kinds_n; i++)
		check(!kinds[i].wrong_n, "%s: %u times%s", kinds[i].what, kinds[i].times_n,
		      kinds[i].wrong_n ? ", not always" : "");
	check(kinds_n < KINDS_MAX, "%u kinds of checks", kinds_n);
	kinds_n = 0;
}
