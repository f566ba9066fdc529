/*
** throttle.c - who may lease now: rates, handlers at once, batches that fill
**
** A partition whose throttle is closed leaves the runnable ones and waits in
** the throttle's list; nobody sleeps for it. It comes back when a call of its
** route ends, tokens are there, or its batch may start (strand_engine_throttle
** says when). Tokens of the consumer's rate are for the first of the runnable
** ones: it keeps its place until they suffice, or else a batch would never
** have its tokens beside a route of single records.
*/
#include <assert.h>
#include <stdlib.h>

#include "core/engine.h"
#include "core/state.h"

size_t strand_throttle_tokens (strand_engine *e, size_t most, int64_t now_us) {
  return strand_bucket_tokens(&e->bucket, &e->config.rate, most, now_us);
}

/*
** Throttles
*/

bool strand_throttles_new (strand_engine *e) {
  size_t count = e->config.route_count;
  assert(count > 0);
  e->throttles = calloc(count, sizeof(*e->throttles));
  if (e->throttles == NULL) return false;
  for (size_t i = 0; i < count; i++) strand_list_init(&e->throttles[i].closed);
  strand_throttles_configure(e, &e->config);
  strand_bucket_open(&e->bucket, &e->config.rate);
  return true;
}

static void open_one (strand_partition *p) {
  strand_list_remove(&p->runnable);
  p->closed = false;
  strand_list_push(&p->engine->runnable, &p->runnable);
}

static void open_some (strand_throttle *t, size_t most) {
  for (; most > 0 && !strand_list_empty(&t->closed); most--) {
    open_one(strand_list_entry(t->closed.next, strand_partition, runnable));
  }
}

static void linger_again (strand_engine *e) {
  for (strand_link *l = e->partitions.next; l != &e->partitions; l = l->next) {
    strand_linger_again(strand_list_entry(l, strand_partition, link));
  }
}

/* Calls that are out when the limit gets less may end. */
static void settle_calls (strand_throttle *t) {
  size_t most = t->limits.max_in_flight;
  if (most == 0) t->most_calls = SIZE_MAX;
  else t->most_calls = t->calls > most ? t->calls : most;
}

void strand_throttles_configure (strand_engine *e,
                                 const strand_engine_config *config) {
  strand_bucket_set(&e->bucket, &e->config.rate, config->rate);
  for (size_t i = 0; i < e->config.route_count; i++) {
    strand_throttle *t = &e->throttles[i];
    strand_bucket_set(&t->bucket, &t->limits.rate, config->routes[i].rate);
    t->limits = config->routes[i];
    settle_calls(t);
    open_some(t, SIZE_MAX);
  }
  linger_again(e);
}

void strand_engine_stop_intake (strand_engine *e) {
  e->intake_stopped = true;
  for (size_t i = 0; i < e->config.route_count; i++) {
    open_some(&e->throttles[i], SIZE_MAX); /* what lingered */
  }
}

static size_t calls_left (const strand_throttle *t) {
  size_t most = t->limits.max_in_flight;
  if (most == 0) return SIZE_MAX;
  return t->calls < most ? most - t->calls : 0;
}

size_t strand_throttle_more (strand_throttle *t, size_t most, int64_t now_us) {
  return strand_bucket_tokens(&t->bucket, &t->limits.rate, most, now_us);
}

/*
** A partition at its throttle
*/

static void close_one (strand_partition *p) {
  strand_list_remove(&p->runnable);
  strand_list_push(&p->throttle->closed, &p->runnable);
  p->closed = true;
}

/* When 'p' may begin a call, for all that its route says. */
static int64_t call_due (strand_partition *p, int64_t now_us,
                         strand_start *start) {
  strand_throttle *t = p->throttle;
  strand_linger_due(p, now_us);
  *start = strand_linger_start(p, now_us);
  if (start->due_us > 0) return start->due_us;
  if (strand_bucket_tokens(&t->bucket, &t->limits.rate, start->tokens, now_us)
      >= start->tokens)
    return 0;
  return strand_bucket_due(&t->bucket, &t->limits.rate, start->tokens);
}

/* A mixed batch is that of all: what it waits for, they all do. */
static void close_route (strand_engine *e, const strand_throttle *t) {
  strand_link *l = e->runnable.next, *after;
  for (; l != &e->runnable; l = after) {
    strand_partition *p = strand_list_entry(l, strand_partition, runnable);
    after = l->next;
    if (p->throttle == t) close_one(p);
  }
}

size_t strand_throttle_room (strand_partition *p, size_t most,
                             int64_t now_us) {
  strand_throttle *t = p->throttle;
  strand_start start;
  if (calls_left(t) == 0 || call_due(p, now_us, &start) > 0) {
    if (t->limits.by == STRAND_BATCH_MIXED) close_route(p->engine, t);
    else close_one(p);
    return 0;
  }
  if (strand_throttle_tokens(p->engine, start.tokens, now_us) < start.tokens) {
    return 0;
  }
  return strand_bucket_tokens(&t->bucket, &t->limits.rate, most, now_us);
}

void strand_throttle_leased (strand_partition *p, const strand_lease *lease) {
  strand_throttle *t = p->throttle;
  if (!lease->continuation) t->calls++;
  strand_bucket_spend(&t->bucket, &t->limits.rate, lease->count);
  strand_bucket_spend(&p->engine->bucket, &p->engine->config.rate,
                      lease->count);
}

void strand_throttle_left (strand_partition *p, const strand_lease *lease,
                           uint32_t unstarted) {
  strand_throttle *t = p->throttle;
  if (!lease->continuation) {
    t->calls--;
    settle_calls(t);
  }
  if (unstarted > 0) {
    strand_bucket_refund(&t->bucket, &t->limits.rate, unstarted);
    strand_bucket_refund(&p->engine->bucket, &p->engine->config.rate,
                         unstarted);
  }
  if (t->limits.max_in_flight == 0 || strand_list_empty(&t->closed)) return;
  /* The first may linger, while another need not. */
  open_some(t, t->limits.linger_us > 0 ? SIZE_MAX : calls_left(t));
}

void strand_throttle_record_entered (strand_shard *s) {
  strand_partition *p = s->partition;
  strand_linger_record_entered(s);
  if (p->closed && p->throttle->limits.linger_us > 0
      && calls_left(p->throttle) > 0 && strand_linger_full(p))
    open_one(p);
}

void strand_throttle_join (strand_throttle *t) {
  open_some(t, SIZE_MAX);
}

static int64_t tick_route (strand_throttle *t, int64_t now_us) {
  bool mixed = t->limits.by == STRAND_BATCH_MIXED;
  int64_t next = INT64_MAX;
  strand_link *l = t->closed.next, *after;
  if (calls_left(t) == 0) return next; /* until one ends */
  if (strand_bucket_tokens(&t->bucket, &t->limits.rate, 1, now_us) == 0) {
    return strand_bucket_due(&t->bucket, &t->limits.rate, 1);
  }
  for (; l != &t->closed; l = after) {
    strand_partition *p = strand_list_entry(l, strand_partition, runnable);
    strand_start start;
    int64_t due = call_due(p, now_us, &start);
    after = l->next;
    if (due == 0) open_one(p);
    else if (due < next) next = due;
    if (due > 0 && mixed) return next; /* the batch is that of all */
  }
  return next;
}

/* The first of the runnable ones has no tokens of the consumer's rate. */
static int64_t tick_first (strand_engine *e, int64_t now_us) {
  const strand_partition *p;
  size_t wanted;
  if (strand_list_empty(&e->runnable)) return INT64_MAX;
  p = strand_list_entry(e->runnable.next, strand_partition, runnable);
  wanted = strand_linger_start(p, now_us).tokens;
  if (strand_throttle_tokens(e, wanted, now_us) >= wanted) return INT64_MAX;
  return strand_bucket_due(&e->bucket, &e->config.rate, wanted);
}

int64_t strand_engine_throttle (strand_engine *e, int64_t now_us) {
  int64_t next = INT64_MAX, due;
  for (size_t i = 0; i < e->config.route_count; i++) {
    strand_throttle *t = &e->throttles[i];
    due = strand_list_empty(&t->closed) ? INT64_MAX : tick_route(t, now_us);
    if (due < next) next = due;
  }
  due = tick_first(e, now_us);
  return due < next ? due : next;
}
