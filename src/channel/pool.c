/* SPDX-License-Identifier: BSD-3-Clause */
#include "channel/pool.h"

#include <stdlib.h>

bool ivs_pool_init(struct ivs_pool *pool, const struct ivs_pool_shape *shape, uint32_t slots_n)
{
	uint32_t buffers_n = ivs_pool_buffers_n(shape, slots_n);

	*pool = (struct ivs_pool){.shape = *shape, .slots_n = slots_n, .round = 1};
	pool->in_slot = calloc(buffers_n, sizeof(*pool->in_slot));
	pool->lent_in = calloc(buffers_n, sizeof(*pool->lent_in));
	if (!pool->in_slot || !pool->lent_in) {
		ivs_pool_deinit(pool);
		return false;
	}
	pool->spares = pool->in_slot + slots_n;
	for (uint32_t i = 0; i < buffers_n; i++)
		pool->in_slot[i] = i;
	return true;
}

void ivs_pool_deinit(struct ivs_pool *pool)
{
	free(pool->in_slot);
	free(pool->lent_in);
	*pool = (struct ivs_pool){0};
}

void ivs_pool_add_loan(struct ivs_pool *pool, uint64_t word)
{
	if (word && word <= ivs_pool_buffers_n(&pool->shape, pool->slots_n))
		pool->lent_in[word - 1] = pool->round;
}

uint32_t ivs_pool_take(struct ivs_pool *pool, uint32_t slot)
{
	uint32_t spares_n = pool->shape.borrowers_n * pool->shape.loans_n;
	uint32_t former = pool->in_slot[slot];
	uint32_t i = 0;

	/* The former buffer first: it is more likely to be in the processor's cache. */
	if (!spares_n || pool->lent_in[former] != pool->round)
		return former;
	while (i + 1 < spares_n && pool->lent_in[pool->spares[i]] == pool->round)
		i++;
	pool->in_slot[slot] = pool->spares[i];
	pool->spares[i] = former;
	return pool->in_slot[slot];
}
