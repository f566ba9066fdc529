/*
** gate.c - who may lease now: rates, handlers at once, batches that fill
**
** A partition whose gate is closed leaves the runnable ones and waits in its
** gate's list; nobody sleeps for it. It comes back when a call of its route
** ends, a token is there, its batch is full or its oldest record has lingered
** (strand_engine_gates says when).
*/
#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"
#include "core/state.h"

#define TOKEN 0.999999999 /* sums of fractions may stay just below one */

/*
** Token buckets
*/

static void refill (strand_bucket *b, const strand_rate *rate, int64_t now_us) {
  if (now_us > b->filled_us) {
    b->tokens += (double)(now_us - b->filled_us) * rate->per_second / 1e6;
    b->filled_us = now_us;
  }
  if (b->tokens > rate->burst && !MUTANT(bucket_runs_over)) {
    b->tokens = rate->burst;
  }
}

static size_t tokens (strand_bucket *b, const strand_rate *rate, size_t most,
                      int64_t now_us) {
  double whole;
  if (rate->per_second <= 0) return most;
  refill(b, rate, now_us);
  whole = b->tokens + (1 - TOKEN);
  return whole < (double)most ? (whole < 1 ? 0 : (size_t)whole) : most;
}

static void spend (strand_bucket *b, const strand_rate *rate, uint32_t count) {
  if (rate->per_second > 0) b->tokens -= count;
}

static void refund (strand_bucket *b, const strand_rate *rate,
                    uint32_t count) {
  if (rate->per_second <= 0 || MUTANT(tokens_do_not_come_back)) return;
  b->tokens += count;
  if (b->tokens > rate->burst) b->tokens = rate->burst;
}

/* When it is worth to come again: there is a token then, and of a high rate
** those of a millisecond, or half a burst. */
static int64_t token_due (const strand_bucket *b, const strand_rate *rate) {
  double wanted = rate->per_second / 1000, missing;
  if (wanted > rate->burst / 2) wanted = rate->burst / 2;
  missing = (wanted > 1 ? wanted : 1) - (1 - TOKEN) - b->tokens;
  if (missing <= 0) return b->filled_us;
  missing = missing * 1e6 / rate->per_second;
  if (missing > 1e15) missing = 1e15;
  return b->filled_us + (int64_t)missing + 1;
}

size_t strand_gate_tokens (strand_engine *e, size_t most, int64_t now_us) {
  return tokens(&e->bucket, &e->config.rate, most, now_us);
}

/*
** Gates
*/

bool strand_gates_new (strand_engine *e) {
  size_t count = e->config.route_count;
  assert(count > 0);
  e->gates = calloc(count, sizeof(*e->gates));
  if (e->gates == NULL) return false;
  for (size_t i = 0; i < count; i++) strand_list_init(&e->gates[i].closed);
  strand_gates_configure(e, &e->config);
  e->bucket.tokens = e->config.rate.burst;
  return true;
}

static void open_one (strand_partition *p) {
  strand_list_remove(&p->runnable);
  p->closed = false;
  strand_list_push(&p->engine->runnable, &p->runnable);
}

static void open_some (strand_gate *g, size_t most) {
  for (; most > 0 && !strand_list_empty(&g->closed); most--) {
    open_one(strand_list_entry(g->closed.next, strand_partition, runnable));
  }
}

static void set_rate (strand_bucket *b, strand_rate *rate, strand_rate to) {
  if (rate->per_second <= 0) b->tokens = to.burst; /* full at first */
  *rate = to;
}

void strand_gates_configure (strand_engine *e,
                             const strand_engine_config *config) {
  set_rate(&e->bucket, &e->config.rate, config->rate);
  for (size_t i = 0; i < e->config.route_count; i++) {
    strand_gate *g = &e->gates[i];
    set_rate(&g->bucket, &g->limits.rate, config->routes[i].rate);
    g->limits = config->routes[i];
    open_some(g, SIZE_MAX);
  }
}

void strand_engine_stop_intake (strand_engine *e) {
  e->intake_stopped = true;
  for (size_t i = 0; i < e->config.route_count; i++) {
    open_some(&e->gates[i], SIZE_MAX); /* what lingered */
  }
}

static size_t calls_left (const strand_gate *g) {
  size_t most = g->limits.max_in_flight;
  if (most == 0 || MUTANT(route_has_no_limit)) return SIZE_MAX;
  return g->calls < most ? most - g->calls : 0;
}

size_t strand_gate_more (strand_gate *g, size_t most, int64_t now_us) {
  return tokens(&g->bucket, &g->limits.rate, most, now_us);
}

/*
** Lingering
*/

/* Records of the shard that a batch may take, up to 'most'. One that failed
** before comes alone: a batch ends before it, and so need not wait. */
static size_t of_shard (const strand_shard *s, size_t most) {
  size_t count = 0;
  const strand_record *r = s->head;
  for (; r != NULL && count < most; r = r->behind, count++) {
    if (r->attempt > 1) return most;
  }
  return count;
}

static size_t of_partition (const strand_partition *p, size_t most) {
  bool mixed = p->gate->limits.by == STRAND_BATCH_MIXED;
  const strand_link *l = p->ready.next;
  size_t count = 0;
  for (; l != &p->ready && count < most; l = l->next) {
    const strand_shard *s = strand_list_entry(l, strand_shard, ready);
    if (s->head->attempt > 1) return most;
    count += mixed && strand_shard_keyed(s) ? 1 : of_shard(s, most - count);
  }
  return count;
}

/* Of all partitions with that gate that may lease. */
static size_t of_gate (const strand_engine *e, const strand_gate *g,
                       size_t most) {
  const strand_link *l = e->partitions.next;
  size_t count = 0;
  for (; l != &e->partitions && count < most; l = l->next) {
    const strand_partition *p = strand_list_entry(l, strand_partition, link);
    if (p->gate != g || strand_list_empty(&p->runnable)) continue;
    count += of_partition(p, most - count);
  }
  return count;
}

/* The batch that 'p' would begin now is as large as it gets. */
static bool is_full (const strand_partition *p) {
  const strand_route_limits *limits = &p->gate->limits;
  size_t size = limits->batch_size;
  const strand_shard *s = strand_list_entry(p->ready.next, strand_shard,
                                            ready);
  switch (limits->by) {
    case STRAND_BATCH_MIXED: return of_gate(p->engine, p->gate, size) >= size;
    case STRAND_BATCH_PARTITION: return of_partition(p, size) >= size;
    case STRAND_BATCH_KEY:
      return !strand_shard_keyed(s) || of_shard(s, size) >= size;
    default: return true;
  }
}

/* When the first of the batch that 'p' would begin has lingered; 0: it has. */
static int64_t age_due (const strand_partition *p, int64_t now_us) {
  int64_t linger_ms = (p->gate->limits.linger_us + 999) / 1000, age_ms;
  const strand_shard *s = strand_list_entry(p->ready.next, strand_shard,
                                            ready);
  age_ms = (uint32_t)(now_us / 1000) - s->head->polled_ms;
  return age_ms >= linger_ms ? 0
                             : (now_us / 1000 + linger_ms - age_ms) * 1000;
}

/* Without intake nothing comes that would fill a batch. */
static bool lingers (const strand_engine *e, const strand_gate *g) {
  return g->limits.linger_us > 0 && g->limits.by != STRAND_BATCH_NONE
         && (!e->intake_stopped || MUTANT(batch_lingers_while_draining))
         && !MUTANT(batch_does_not_linger);
}

/* When the batch that 'p' would begin goes, full or not; 0: now. */
static int64_t linger_due (const strand_partition *p, int64_t now_us) {
  if (!lingers(p->engine, p->gate) || strand_list_empty(&p->ready)
      || is_full(p)) return 0;
  return age_due(p, now_us);
}

/*
** A partition at its gate
*/

size_t strand_gate_room (strand_partition *p, size_t most, int64_t now_us) {
  strand_gate *g = p->gate;
  if (calls_left(g) == 0) most = 0;
  else most = tokens(&g->bucket, &g->limits.rate, most, now_us);
  if (most > 0 && linger_due(p, now_us) > 0) most = 0;
  if (most > 0) return most;
  strand_list_remove(&p->runnable);
  strand_list_push(&g->closed, &p->runnable);
  p->closed = true;
  return 0;
}

void strand_gate_leased (strand_partition *p, const strand_lease *lease) {
  strand_gate *g = p->gate;
  if (!lease->further) g->calls++;
  spend(&g->bucket, &g->limits.rate, lease->count);
  spend(&p->engine->bucket, &p->engine->config.rate, lease->count);
}

void strand_gate_left (strand_partition *p, const strand_lease *lease,
                       uint32_t unstarted) {
  strand_gate *g = p->gate;
  if (!lease->further) g->calls--;
  if (unstarted > 0) {
    refund(&g->bucket, &g->limits.rate, unstarted);
    refund(&p->engine->bucket, &p->engine->config.rate, unstarted);
  }
  if (g->limits.max_in_flight == 0 || strand_list_empty(&g->closed)
      || MUTANT(closed_gate_stays_closed)) return;
  /* The first may linger, while another need not. */
  open_some(g, g->limits.linger_us > 0 ? SIZE_MAX : calls_left(g));
}

void strand_gate_look (strand_partition *p) {
  const strand_gate *g = p->gate;
  if (p->closed && g->limits.linger_us > 0 && calls_left(g) > 0
      && is_full(p)) open_one(p);
}

void strand_gate_join (strand_gate *g) {
  if (MUTANT(batch_leaves_behind_what_lingers)) return;
  open_some(g, SIZE_MAX);
}

/* A mixed batch that is not full is so for all partitions. */
static bool all_linger (const strand_engine *e, const strand_gate *g) {
  size_t size = g->limits.batch_size;
  return lingers(e, g) && g->limits.by == STRAND_BATCH_MIXED
         && of_gate(e, g, size) < size;
}

static int64_t tick_gate (const strand_engine *e, strand_gate *g,
                          int64_t now_us) {
  int64_t next = INT64_MAX;
  strand_link *l = g->closed.next, *after;
  bool linger;
  if (calls_left(g) == 0) return next; /* until one ends */
  if (tokens(&g->bucket, &g->limits.rate, 1, now_us) == 0) {
    return token_due(&g->bucket, &g->limits.rate);
  }
  linger = all_linger(e, g);
  for (; l != &g->closed; l = after) {
    strand_partition *p = strand_list_entry(l, strand_partition, runnable);
    int64_t due = linger ? age_due(p, now_us) : linger_due(p, now_us);
    after = l->next;
    if (due == 0) open_one(p);
    else if (due < next) next = due;
  }
  return next;
}

int64_t strand_engine_gates (strand_engine *e, int64_t now_us) {
  int64_t next = INT64_MAX;
  for (size_t i = 0; i < e->config.route_count; i++) {
    strand_gate *g = &e->gates[i];
    int64_t due = strand_list_empty(&g->closed) ? INT64_MAX
                                                : tick_gate(e, g, now_us);
    if (due < next) next = due;
  }
  if (!strand_list_empty(&e->runnable)
      && strand_gate_tokens(e, 1, now_us) == 0) {
    int64_t due = token_due(&e->bucket, &e->config.rate);
    if (due < next) next = due;
  }
  return next;
}
