/*
** check.c - the engine's invariants, walked: for tests and the simulator
*/
#include "core/engine.h"
#include "core/runs.h"
#include "core/state.h"
#include "core/waiting.h"

#ifndef NDEBUG

#include <assert.h>

typedef struct tally {
  size_t buffered_records;
  size_t buffered_bytes;
  const strand_chunk *chunk; /* of the record before */
  size_t waiting[3];         /* by strand_waiting */
  size_t waiting_records;
  size_t waiting_bytes;
  size_t sending;
  size_t transacted;
  size_t in_flight;
  size_t unstarted; /* by their shards */
  size_t ready;
  size_t lingering;
} tally;

/* A dead letter is in flight until it is acknowledged; so is what was parked
** and is to be discarded or sent, once it has begun. */
static bool is_in_flight (const strand_record *r) {
  if (r->flags & STRAND_RECORD_WAITING) {
    return r->in.past->waiting == STRAND_WAITING_DEAD_LETTER;
  }
  return (r->flags & (STRAND_RECORD_LEASED | STRAND_RECORD_SENDING)) != 0
         || (strand_record_resolved(r) && strand_waiting_started(r));
}

static void check_offset (const strand_partition *p, const strand_record *r) {
  int kind = strand_offsets_kind(p->offsets, r->offset);
  assert(kind != KIND_DONE);                       /* (3) */
  assert(kind == KIND_FLIGHT || !is_in_flight(r)); /* (7) */
  assert(kind == KIND_OPEN || is_in_flight(r));
}

/* What the group was told, as far as it heard. */
static void check_committed (const strand_partition *p) {
  bool clean = strand_offsets_version(p->offsets) == p->committed.version;
  assert(p->committed.pins <= 1); /* (4) */
  if (strand_at_most_once(p->engine)) {
    strand_windows_check(p);
    return;
  }
  assert(p->transacted > 0 /* committed, and not all ended yet */
         || p->committed.offset
              <= strand_offsets_committable(p->offsets)); /* (3) */
  assert(!clean || p->committed.unwritable || strand_exactly_once(p->engine)
         || p->committed.covered
              == strand_offsets_covered(p->offsets)); /* (5) */
}

/* It has left lease and shard. */
static void check_sending (const strand_record *r, tally *t) {
  assert(!(r->flags & (STRAND_RECORD_LEASED | STRAND_RECORD_WAITING)));
  assert(!strand_shard_keyed(r->shard) && r->behind == NULL); /* (9) */
  t->sending++;
}

static void check_record (const strand_partition *p, const strand_record *r,
                          tally *t) {
  bool own = (r->flags & STRAND_RECORD_OWN) != 0;
  bool waiting = (r->flags & STRAND_RECORD_CHARGED) != 0;
  assert(r->shard != NULL || strand_at_most_once(p->engine));
  assert(r->shard == NULL || r->shard->partition == p);
  assert(own || !waiting);
  check_offset(p, r);
  if (r->flags & STRAND_RECORD_WAITING) {
    assert(own && r->in.past != NULL);
    t->waiting[r->in.past->waiting]++;
  }
  else if (r->flags & STRAND_RECORD_LEASED) t->in_flight++;
  if (r->flags & STRAND_RECORD_SENDING) check_sending(r, t);
  if (r->transacted) t->transacted++;
  if (waiting) {
    t->waiting_records++;
    t->waiting_bytes += strand_record_size(strand_record_length(r));
    return;
  }
  t->buffered_records++;
  if (own) {
    t->buffered_bytes += strand_record_size(strand_record_length(r));
  }
  else if (r->in.chunk != t->chunk) { /* a chunk's records are neighbours */
    t->chunk = r->in.chunk;
    t->buffered_bytes += sizeof(*t->chunk) + t->chunk->size;
  }
}

/* Without an order the list holds what is ready, and no lease. */
static void check_shard (strand_shard *s, void *arg) {
  tally *t = arg;
  bool listed = !strand_list_empty(&s->ready);
  bool lingers = s->state == SHARD_LINGERING;
  uint32_t leased = 0, count = 0;
  int64_t last = -1;
  assert(listed == (s->state == SHARD_READY || lingers));
  assert(s->state != SHARD_STALE);
  assert(!lingers || strand_linger_wants(s)); /* or its batch would go */
  if (lingers) t->lingering++;
  else if (listed) t->ready++;
  for (const strand_record *r = s->head; r != NULL; r = r->behind, count++) {
    assert(r->offset > last || s->partition->reentered); /* (2) */
    last = r->offset;
    if (r->flags & STRAND_RECORD_LEASED) leased++;
    assert(r->behind != NULL || s->tail == r);
  }
  assert(count == s->count);
  assert(leased <= s->leased); /* (1) */
  t->unstarted += s->leased - leased;
  assert((s->leased > 0) == (s->state == SHARD_LEASED)); /* (1) */
}

static void check_partition (const strand_partition *p, tally *all) {
  tally t = { 0 };
  bool runs = p->state == PARTITION_RUNNING && !p->paused && !p->stalled;
  int64_t last = -1;
  for (strand_link *l = p->records.next; l != &p->records; l = l->next) {
    const strand_record *r = strand_list_entry(l, strand_record, link);
    assert(r->offset > last);
    last = r->offset;
    check_record(p, r, &t);
  }
  strand_shards_each((strand_partition *)(uintptr_t)p, check_shard, &t);
  if (p->chunk != NULL && p->chunk != t.chunk) {
    t.buffered_bytes += sizeof(*p->chunk) + p->chunk->size;
  }
  assert(t.buffered_records == p->used.buffered_records); /* (6) */
  assert(t.buffered_bytes == p->used.buffered_bytes);     /* (6) */
  assert(t.waiting_records == p->used.waiting_records);   /* (6) */
  assert(t.waiting_bytes == p->used.waiting_bytes);       /* (6) */
  assert(t.in_flight + p->unstarted == p->in_flight);     /* (1) */
  assert(t.unstarted <= p->unstarted);                    /* (1) */
  assert(strand_list_empty(&p->ready) == (t.ready == 0));
  assert(strand_list_empty(&p->lingering) == (t.lingering == 0));
  assert(t.ready == p->ready_count);
  assert(t.waiting[STRAND_WAITING_PARKED] == p->waiting.parked);
  assert(t.waiting[STRAND_WAITING_DEAD_LETTER] == p->waiting.dead_letters);
  assert(t.sending == p->waiting.sending);
  assert(t.transacted == p->transacted); /* transacted.c (1) */
  assert(strand_list_empty(&p->runnable)
         == !(runs && t.ready + t.lingering > 0));
  all->ready += t.ready;
  for (int i = 0; i < 3; i++) all->waiting[i] += t.waiting[i];
  all->sending += t.sending;
  if (p->offsets == NULL) return;
  strand_offsets_check(p->offsets);
  check_committed(p);
  assert(strand_list_empty(&p->records)
         || strand_list_entry(p->records.next, strand_record, link)->offset
              >= strand_offsets_committable(p->offsets)); /* (3) */
}

/* Counting anew changes nothing. */
static void check_reserved (const strand_engine *e) {
  size_t records = e->budget.reserved_records,
         bytes = e->budget.reserved_bytes;
  strand_engine *anew = (strand_engine *)(uintptr_t)e;
  if (e->budget.is_old) return;
  anew->budget.is_old = true;
  strand_budget_settle(anew);
  assert(records == e->budget.reserved_records
         && bytes == e->budget.reserved_bytes);
}

/* What is closed could lease, but for its throttle. */
static void check_throttles (const strand_engine *e) {
  size_t closed = 0, leases = 0, calls = 0;
  for (size_t i = 0; i < e->config.route_count; i++) {
    const strand_throttle *t = &e->throttles[i];
    const strand_link *l = t->closed.next;
    calls += t->calls;
    for (; l != &t->closed; l = l->next, closed++) {
      const strand_partition *p = strand_list_entry(l, strand_partition,
                                                    runnable);
      assert(p->closed && p->throttle == t);
    }
    assert(t->calls <= t->most_calls); /* (8) */
    strand_bucket_check(&t->bucket, &t->limits.rate);
  }
  for (int gone = 0; gone <= 1; gone++) {
    const strand_link *head = gone ? &e->gone : &e->partitions;
    for (const strand_link *l = head->next; l != head; l = l->next) {
      const strand_partition *p = strand_list_entry(l, strand_partition, link);
      closed -= p->closed;
      leases += p->leases;
    }
  }
  assert(closed == 0 && calls <= leases);
  strand_bucket_check(&e->bucket, &e->config.rate);
}

void strand_engine_check (const strand_engine *e) {
  tally all = { 0 };
  size_t pins = 0;
  size_t buffered = 0, bytes = 0, waiting = 0, in_flight = 0, stale = 0;
  size_t outside = 0;
  for (int gone = 0; gone <= 1; gone++) {
    const strand_link *head = gone ? &e->gone : &e->partitions;
    for (const strand_link *l = head->next; l != head; l = l->next) {
      const strand_partition *p = strand_list_entry(l, strand_partition, link);
      if (!gone) check_partition(p, &all);
      buffered += p->used.buffered_records;
      bytes += p->used.buffered_bytes;
      waiting += p->used.waiting_records;
      pins += p->committed.pins;
      outside += p->windows.outside;
      *(gone ? &stale : &in_flight) += p->in_flight;
    }
  }
  assert(buffered == e->budget.used.buffered_records); /* (6) */
  assert(bytes == e->budget.used.buffered_bytes);      /* (6) */
  assert(waiting == e->budget.used.waiting_records);   /* (6) */
  assert((pins > 0) == e->commits.unanswered);         /* (4) */
  assert(in_flight == e->in_flight && stale == e->stale);
  assert(all.ready == e->ready);
  assert(outside == e->outside);
  assert(all.waiting[STRAND_WAITING_BACKOFF] == e->retry.count);
  assert(all.waiting[STRAND_WAITING_PARKED] == e->waiting.parked
         && all.waiting[STRAND_WAITING_DEAD_LETTER]
              == e->waiting.dead_letters);
  assert(all.sending == e->waiting.sending);
  strand_retry_check(&e->retry);
  check_throttles(e);
  check_reserved(e);
}

#endif
