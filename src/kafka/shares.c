/*
** shares.c - a member's part of what the consumer may
*/
#include "kafka/shares.h"

#include <assert.h>
#include <stdlib.h>

void strand_shares_init (strand_shares *s, const strand_owner *owner) {
  *s = (strand_shares){ .owner = owner };
}

bool strand_shares_open (strand_shares *s) {
  s->routes = calloc(s->owner->consumer->route_count, sizeof(*s->routes));
  return s->routes != NULL;
}

void strand_shares_free (strand_shares *s) {
  free(s->routes);
}

/* By the partitions it has. Under lock. */
static double part_locked (const strand_shares *s) {
  size_t mine = s->partitions, all = s->owner->consumer->partitions;
  if (mine > 0) return (double)mine / (double)all;
  return 1.0 / (double)s->owner->consumer->member_count;
}

static size_t share_locked (const strand_shares *s, size_t budget) {
  return (size_t)((double)budget * part_locked(s) + 0.999);
}

static strand_rate rate_share_locked (const strand_shares *s,
                                      strand_rate rate) {
  rate.per_second *= part_locked(s);
  rate.burst *= part_locked(s);
  if (rate.burst < 1) rate.burst = 1;
  return rate;
}

/* Rounded down, so that all members together stay within it; but each may
** call the handler. */
static size_t calls_share_locked (const strand_shares *s, size_t most) {
  size_t share = (size_t)((double)most * part_locked(s) + 1e-6);
  return most > 0 && share == 0 ? 1 : share;
}

static void set_budgets_locked (const strand_shares *s,
                                strand_engine_config *config) {
  const strand_limits *l = &s->owner->consumer->limits;
  config->max_buffered_records = share_locked(s, l->max_buffered_records);
  config->max_buffered_bytes = share_locked(s, l->max_buffered_bytes);
  config->max_waiting_records = share_locked(s, l->max_waiting_records);
  config->max_waiting_bytes = share_locked(s, l->max_waiting_bytes);
  config->commit_interval_us = l->commit_interval_us;
  config->max_metadata = s->owner->consumer->max_metadata;
  config->rate = rate_share_locked(s, l->rate);
}

static void set_routes_locked (strand_shares *s, strand_engine_config *config,
                               strand_share *share) {
  config->routes = s->routes;
  config->route_count = s->owner->consumer->route_count;
  for (size_t i = 0; i < config->route_count; i++) {
    strand_route_limits *to = &s->routes[i];
    *to = s->owner->consumer->routes[i].limits;
    to->rate = rate_share_locked(s, to->rate);
    to->max_in_flight = calls_share_locked(s, to->max_in_flight);
    if (to->by != STRAND_BATCH_NONE && to->batch_size > share->batch_most) {
      share->batch_most = to->batch_size;
    }
  }
}

void strand_shares_take (strand_shares *s, strand_engine_config *config,
                         strand_share *share) {
  strand_consumer *c = s->owner->consumer;
  *share = (strand_share){ 0 };
  strand_lock_take(&c->lock);
  set_budgets_locked(s, config);
  set_routes_locked(s, config, share);
  share->max_ready = share_locked(s, c->limits.max_ready);
  share->slow_after_us = c->limits.slow_after_us;
  strand_lock_release(&c->lock);
}

void strand_shares_change (strand_shares *s) {
  strand_consumer *c = s->owner->consumer;
  strand_engine_stats stats;
  if (c->member_count == 1) return;
  strand_engine_stats_read(s->owner->engine, &stats);
  strand_lock_take(&c->lock);
  c->partitions += stats.partitions - s->partitions;
  s->partitions = stats.partitions;
  for (unsigned i = 0; i < c->member_count; i++) {
    c->inboxes[i].asked.limits = true;
  }
  strand_lock_release(&c->lock);
  strand_shared_wake(c);
}

void strand_shares_check (const strand_shares *s) {
  const strand_consumer *c = s->owner->consumer;
  (void)c;
  assert(c->member_count > 1 || s->partitions == 0); /* (1) */
  assert(c->route_count == 0 || s->routes != NULL);  /* (2) */
}
