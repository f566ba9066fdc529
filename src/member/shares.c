/*
** shares.c - a member's part of what the consumer may
*/
#include "member/shares.h"

#include <assert.h>
#include <stdlib.h>

void strand_shares_init (strand_shares *s, const strand_owner *owner) {
  *s = (strand_shares){ .owner = owner };
}

bool strand_shares_open (strand_shares *s) {
  s->routes = calloc(s->owner->consumer->routes.count, sizeof(*s->routes));
  return s->routes != NULL;
}

void strand_shares_free (strand_shares *s) {
  free(s->routes);
}

static size_t share_of (double part, size_t budget) {
  return (size_t)((double)budget * part + 0.999);
}

static strand_rate rate_of (double part, strand_rate rate) {
  rate.per_second *= part;
  rate.burst *= part;
  if (rate.burst < 1) rate.burst = 1;
  return rate;
}

/* Rounded down, so that all members together stay within it; but each may
** call the handler. */
static size_t calls_of (double part, size_t most) {
  size_t calls = (size_t)((double)most * part + 1e-6);
  return most > 0 && calls == 0 ? 1 : calls;
}

static void set_budgets (const strand_limits *l, double part,
                         strand_engine_config *config) {
  config->max_buffered_records = share_of(part, l->max_buffered_records);
  config->max_buffered_bytes = share_of(part, l->max_buffered_bytes);
  config->max_waiting_records = share_of(part, l->max_waiting_records);
  config->max_waiting_bytes = share_of(part, l->max_waiting_bytes);
  config->commit_interval_us = l->commit_interval_us;
  config->rate = rate_of(part, l->rate);
}

static void set_routes (strand_shares *s, double part,
                        strand_engine_config *config, strand_share *share) {
  strand_routes *routes = &s->owner->consumer->routes;
  config->routes = s->routes;
  config->route_count = routes->count;
  for (size_t i = 0; i < config->route_count; i++) {
    strand_route_limits *to = &s->routes[i];
    *to = strand_routes_limits(routes, i);
    to->rate = rate_of(part, to->rate);
    to->max_in_flight = calls_of(part, to->max_in_flight);
    if (to->by != STRAND_BATCH_NONE && to->batch_size > share->batch_most) {
      share->batch_most = to->batch_size;
    }
  }
}

void strand_shares_take (strand_shares *s, strand_engine_config *config,
                         strand_share *share) {
  strand_consumer *c = s->owner->consumer;
  double part = strand_inboxes_part(&c->inboxes, s->owner->index);
  strand_limits limits = strand_settings_limits(&c->settings);
  *share = (strand_share){ .max_ready = share_of(part, limits.max_ready),
                           .slow_after_us = limits.slow_after_us };
  config->max_metadata = c->settings.max_metadata;
  set_budgets(&limits, part, config);
  if (c->settings.delivery == STRAND_EXACTLY_ONCE)
    config->commit_interval_us = c->settings.transactional.interval_us;
  set_routes(s, part, config, share);
}

void strand_shares_change (strand_shares *s) {
  strand_engine_stats stats;
  strand_engine_stats_read(s->owner->engine, &stats);
  strand_inboxes_note_partitions(&s->owner->consumer->inboxes, s->owner->index,
                                 stats.partitions);
}

void strand_shares_check (const strand_shares *s) {
  strand_consumer *c = s->owner->consumer;
  strand_engine_stats stats;
  (void)c;
  strand_engine_stats_read(s->owner->engine, &stats);
  assert(c->inboxes.count == 1 || strand_stop_halts(&c->stop)
         || strand_inboxes_partitions(&c->inboxes, s->owner->index)
              == stats.partitions); /* (1) */
}
