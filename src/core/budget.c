#include <assert.h>

#include "core/engine.h"
#include "core/state.h"

#define CHUNKS_NEAR (512u * 1024u) /* bytes of open chunks, of all */

/*
** A share is budget / partitions, and guaranteed. What partitions that are
** reading may still claim is reserved; the rest is first come. So the total
** never passes the budget, but for the one record that a partition which
** holds nothing may always take.
**
** What is reserved is kept as it changes, and counted anew when the number of
** partitions has: by who asks next, so that thousands that come or go at once
** are counted once.
*/

static size_t share_of (size_t budget, const strand_engine *e) {
  size_t n = e->partition_count > 0 ? e->partition_count : 1;
  return budget / n > 0 ? budget / n : 1;
}

static size_t left_of (size_t share, size_t used) {
  return used < share ? share - used : 0;
}

static bool reads (const strand_partition *p) {
  return p->state == PARTITION_RUNNING && !p->paused && !p->drained;
}

void strand_budget_reserve (strand_partition *p, int sign) {
  strand_engine *e = p->engine;
  size_t records, bytes;
  if (e->budget.is_old || !reads(p)) return;
  records = left_of(e->budget.share_records, p->used.buffered_records);
  bytes = left_of(e->budget.share_bytes, p->used.buffered_bytes);
  e->budget.reserved_records += sign > 0 ? records : (size_t)0 - records;
  e->budget.reserved_bytes += sign > 0 ? bytes : (size_t)0 - bytes;
}

void strand_budget_charge (strand_partition *p, bool waiting, long records,
                           long bytes) {
  strand_engine *e = p->engine;
  if (waiting) {
    p->used.waiting_records += (size_t)records;
    p->used.waiting_bytes += (size_t)bytes;
    e->budget.used.waiting_records += (size_t)records;
    e->budget.used.waiting_bytes += (size_t)bytes;
    return;
  }
  if (reads(p) && !e->budget.is_old) { /* as reserve does */
    e->budget.reserved_records += left_of(e->budget.share_records,
                                          p->used.buffered_records
                                            + (size_t)records)
                                  - left_of(e->budget.share_records,
                                            p->used.buffered_records);
    e->budget.reserved_bytes += left_of(e->budget.share_bytes,
                                        p->used.buffered_bytes + (size_t)bytes)
                                - left_of(e->budget.share_bytes,
                                          p->used.buffered_bytes);
  }
  p->used.buffered_records += (size_t)records;
  p->used.buffered_bytes += (size_t)bytes;
  e->budget.used.buffered_records += (size_t)records;
  e->budget.used.buffered_bytes += (size_t)bytes;
}

static void recount (strand_engine *e) {
  e->budget.is_old = false;
  e->budget.share_records = share_of(e->config.max_buffered_records, e);
  e->budget.share_bytes = share_of(e->config.max_buffered_bytes, e);
  e->budget.reserved_records = e->budget.reserved_bytes = 0;
  for (strand_link *l = e->partitions.next; l != &e->partitions; l = l->next) {
    strand_budget_reserve(strand_list_entry(l, strand_partition, link), 1);
  }
}

void strand_budget_outdate (strand_engine *e) {
  e->budget.is_old = true;
}

strand_engine *strand_budget_settle (strand_engine *e) {
  if (e->budget.is_old) recount(e);
  return e;
}

bool strand_budget_waiting_full (const strand_partition *p) {
  const strand_engine *e = p->engine;
  return p->used.waiting_records >= share_of(e->config.max_waiting_records, e)
         || p->used.waiting_bytes >= share_of(e->config.max_waiting_bytes, e);
}

/* Each partition fills one: together they should stay in the caches. */
size_t strand_budget_chunk (strand_engine *e) {
  size_t fair = strand_budget_settle(e)->budget.share_bytes / 8;
  size_t near = CHUNKS_NEAR / (e->partition_count + 1);
  if (near < fair) fair = near;
  size_t size = STRAND_CHUNK_MAX;
  while (size > fair && size > STRAND_CHUNK_MIN) size /= 2;
  return size;
}

/* What 'p' may still take of one budget: its share, or what nobody claims;
** never more than there is. */
static size_t left (const strand_partition *p, size_t budget, size_t share,
                    size_t total, size_t reserved, size_t used) {
  size_t own = left_of(share, used);
  size_t others = reads(p) ? reserved - own : reserved;
  size_t unclaimed = left_of(budget, total + others);
  size_t room = left_of(budget, total);
  size_t most = own > unclaimed ? own : unclaimed;
  return most < room ? most : room;
}

static size_t left_records (const strand_partition *p) {
  const strand_engine *e = strand_budget_settle(p->engine);
  return left(p, e->config.max_buffered_records, e->budget.share_records,
              e->budget.used.buffered_records, e->budget.reserved_records,
              p->used.buffered_records);
}

static size_t left_bytes (const strand_partition *p) {
  const strand_engine *e = strand_budget_settle(p->engine);
  return left(p, e->config.max_buffered_bytes, e->budget.share_bytes,
              e->budget.used.buffered_bytes, e->budget.reserved_bytes,
              p->used.buffered_bytes);
}

bool strand_engine_may_read (const strand_engine *e,
                             const strand_partition *p) {
  if (p->state != PARTITION_RUNNING || p->paused || e->intake_stopped) {
    return false;
  }
  if (strand_budget_waiting_full(p)) return false;
  if (p->used.buffered_records == 0) return true;
  return left_records(p) > 0 && left_bytes(p) > 0;
}

/* At most once the next window is read while commits are on their way. */
static size_t unready (size_t outside, size_t partitions) {
  return left_of(outside, partitions * STRAND_WINDOW_RECORDS);
}

size_t strand_engine_startable (const strand_engine *e,
                                const strand_partition *p) {
  bool by_key = e->config.ordering == STRAND_BY_KEY;
  size_t outside = p == NULL ? e->outside : p->windows.outside;
  size_t more = unready(outside, p == NULL ? e->partition_count : 1);
  if (p == NULL) {
    return more
           + (by_key ? e->ready
                     : left_of(e->budget.used.buffered_records,
                               e->in_flight + e->waiting.sending + outside));
  }
  return more
         + (by_key ? p->ready_count
                   : left_of(p->used.buffered_records,
                             p->in_flight + p->waiting.sending + outside));
}

size_t strand_engine_read_limit (const strand_engine *e,
                                 const strand_partition *p, size_t most) {
  size_t records = left_records(p), bytes = left_bytes(p);
  size_t fit = bytes / (p->average > 0 ? p->average : 256);
  (void)e;
  if (fit < records) records = fit;
  if (records > most) records = most;
  return records > 0 ? records : 1;
}

void strand_engine_drained (strand_engine *e, strand_partition *p,
                            bool drained) {
  (void)e;
  assert(p->engine == e && p->state != PARTITION_GONE);
  if (p->drained == drained) return;
  strand_budget_reserve(p, -1);
  p->drained = drained;
  strand_budget_reserve(p, 1);
}
