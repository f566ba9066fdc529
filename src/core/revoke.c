/*
** revoke.c - a partition goes: at once, or when the last of its leases ends
*/
#include <assert.h>
#include <stdlib.h>

#include "core/engine.h"
#include "core/state.h"

static void free_shard (strand_shard *s, void *unused) {
  (void)unused;
  s->head = NULL;
  strand_shard_free(s);
}

void strand_partition_free (strand_partition *p) {
  p->state = PARTITION_GONE;
  strand_shards_clear(p, free_shard, NULL); /* the unordered ones are left */
  strand_offsets_free(p->offsets);
  free(p->orphan_offsets);
  free(p->topic);
  free(p);
}

typedef struct revocation {
  void (*visit)(void *arg, const strand_orphan *);
  void *arg;
} revocation;

/* Frees what no lease borrows; a shard that is out stays, as stale. */
static void revoke_shard (strand_shard *s, void *arg) {
  const revocation *to = arg;
  strand_partition *p = s->partition;
  strand_orphan orphan;
  uint32_t leased = strand_shard_keyed(s) ? s->leased : 0;
  strand_record *r, *last = NULL;
  if (!strand_list_empty(&s->ready)) strand_shard_unready(s, SHARD_EMPTY);
  if (!strand_shard_keyed(s)) return; /* its records go one by one */
  for (r = s->head; leased > 0; leased--, r = r->behind) {
    strand_list_remove(&r->link);
    last = r;
  }
  s->tail = last;
  while (r != NULL) {
    strand_record *next = r->behind;
    strand_record_free(p, r);
    r = next;
  }
  if (last == NULL) {
    s->head = NULL;
    strand_shard_free(s);
    return;
  }
  strand_shard_describe(s, NULL, &orphan);
  to->visit(to->arg, &orphan);
  strand_shard_forget(s);
  s->state = SHARD_STALE;
}

static void revoke_record (strand_partition *p, strand_record *r,
                           const revocation *to) {
  strand_orphan orphan;
  strand_list_remove(&r->link);
  if (!(r->flags & STRAND_RECORD_LEASED)) {
    strand_record_free(p, r);
    return;
  }
  strand_shard_describe(r->shard, r, &orphan);
  to->visit(to->arg, &orphan);
}

static bool is_of (const strand_record *r, void *partition) {
  return r->shard->partition == partition;
}

static void revoke_records (strand_partition *p, revocation to) {
  strand_shards_clear(p, revoke_shard, &to);
  while (!strand_list_empty(&p->records)) { /* the unordered ones */
    revoke_record(p, strand_list_entry(p->records.next, strand_record, link),
                  &to);
  }
}

/* Frees a partition that is gone once no lease and no commit names it. */
void strand_partition_drop (strand_partition *p) {
  if (p->state != PARTITION_GONE || p->leases > 0 || p->committed.pins > 0)
    return;
  strand_list_remove(&p->link);
  strand_partition_free(p);
}

void strand_engine_revoke (strand_engine *e, strand_partition *p,
                           void (*visit)(void *arg, const strand_orphan *),
                           void *arg) {
  assert(p->engine == e && p->state != PARTITION_GONE);
  p->state = PARTITION_GONE;
  strand_partition_runnable(p);
  strand_retry_filter(&e->retry, is_of, p);
  strand_windows_end(p);
  revoke_records(p, (revocation){ visit, arg });
  strand_chunk_close(p);
  e->in_flight -= p->in_flight;
  e->stale += p->in_flight;
  strand_partition_forget_waiting(p);
  strand_list_remove(&p->link);
  strand_list_push(&e->gone, &p->link);
  e->partition_count--;
  strand_budget_outdate(e);
  strand_partition_drop(p);
}
