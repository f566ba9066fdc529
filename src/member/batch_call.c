#include "member/batch_call.h"

#include <stdlib.h>

#include "member/outcome.h"

/*
** Out
*/

/* In one piece: the parts, and what the call points to. */
strand_batch_call *strand_batch_call_new (size_t most) {
  size_t parts = sizeof(strand_batch_call) + most * sizeof(strand_part);
  size_t outcomes = most * sizeof(strand_outcome);
  size_t records = most * sizeof(const strand_record *);
  char *piece = malloc(parts + outcomes + records
                       + most * sizeof(const atomic_bool *));
  strand_batch_call *b = (strand_batch_call *)(void *)piece;
  if (b == NULL) return NULL;
  *b = (strand_batch_call){ 0 };
  piece += parts;
  b->call.records.outcomes = (strand_outcome *)(void *)piece;
  piece += outcomes;
  b->call.records.records = (const strand_record **)(void *)piece;
  piece += records;
  b->call.stops = (void *)piece;
  return b;
}

static void add (strand_batch_call *b, const strand_lease *lease) {
  strand_part *part = &b->parts[b->part_count++];
  const strand_record *r = lease->record;
  part->lease = *lease;
  part->assigned = strand_partition_opaque(lease->partition);
  part->assigned->leases++;
  b->call.stops[b->call.stop_count++] = &part->assigned->stop;
  part->first = b->call.records.count;
  part->count = lease->count;
  part->settled = false;
  for (uint32_t i = 0; i < lease->count; i++, r = r->behind) {
    b->call.records.outcomes[b->call.records.count] = (strand_outcome){ 0 };
    b->call.records.records[b->call.records.count++] = r;
  }
}

void strand_batch_call_fill (strand_engine *engine, strand_batch_call *b,
                             const strand_lease *first, int64_t now_us) {
  size_t size = strand_partition_limits(first->partition)->batch_size;
  strand_lease lease;
  add(b, first);
  while (b->call.records.count < size
         && strand_engine_lease_more(
           engine, first, size - b->call.records.count, now_us, &lease))
    add(b, &lease);
}

/*
** Back
*/

/* That have produced nothing. */
static uint32_t count_done (const strand_outcome *v, uint32_t most) {
  uint32_t count = 0;
  while (count < most && v[count].kind == STRAND_OUTCOME_DONE
         && v[count].staged == NULL)
    count++;
  return count;
}

/* It is done when what it produced is acknowledged. */
static bool is_sending (const strand_lease *lease, const strand_outcome *v) {
  return v->kind == STRAND_OUTCOME_DONE && v->staged != NULL && !lease->expired
         && !strand_engine_is_stale(lease);
}

static strand_err take_staged (strand_outputs *outputs, strand_part *part,
                               strand_outcome *v) {
  strand_err err = strand_outputs_take(outputs, part->assigned, &part->lease,
                                       v->staged);
  if (err == STRAND_OK) v->staged = NULL;
  return err;
}

/* Ends records of the lease up to the first that does not leave it to the
** next. */
static strand_err end_records (const strand_owner *o, strand_outputs *outputs,
                               strand_batch_call *b, strand_part *part,
                               int64_t now_us) {
  strand_lease *lease = &part->lease;
  strand_err err = STRAND_OK;
  while (err == STRAND_OK && lease->count > 0) {
    uint32_t at = part->first + part->count - lease->count;
    strand_outcome *v = &b->call.records.outcomes[at];
    uint32_t done = lease->expired ? 0 : count_done(v, lease->count);
    if (is_sending(lease, v)) err = take_staged(outputs, part, v);
    else if (done == 0) err = strand_outcome_end(o, lease, v, now_us);
    else err = strand_engine_done(o->engine, lease, done, now_us);
  }
  return err;
}

static strand_err end_part (const strand_owner *o, strand_assignment *a,
                            strand_outputs *outputs, strand_batch_call *b,
                            strand_part *part, bool has_outcome,
                            int64_t now_us) {
  strand_err err = has_outcome
                     ? end_records(o, outputs, b, part, now_us)
                     : strand_engine_give_back(o->engine, &part->lease);
  if (err != STRAND_OK) return err;
  part->settled = true;
  if (--part->assigned->leases == 0 && part->assigned->partition == NULL) {
    strand_assignment_drop(a, part->assigned);
  }
  return STRAND_OK;
}

/* What goes back unstarted does so from the last on: each to the front. */
strand_err strand_batch_call_harvest (const strand_owner *o,
                                      strand_assignment *a,
                                      strand_outputs *outputs,
                                      strand_batch_call *b, bool has_outcome,
                                      int64_t now_us) {
  for (uint32_t n = 0; n < b->part_count; n++) {
    strand_part *part = &b->parts[has_outcome ? n : b->part_count - 1 - n];
    strand_err err;
    if (part->settled) continue;
    err = end_part(o, a, outputs, b, part, has_outcome, now_us);
    if (err != STRAND_OK) return err;
  }
  return STRAND_OK;
}

void strand_batch_call_expire (strand_engine *engine, strand_batch_call *b,
                               const char *reason) {
  for (uint32_t i = 0; i < b->part_count; i++) {
    strand_engine_expire(engine, &b->parts[i].lease, reason, strlen(reason));
  }
}

void strand_batch_call_free (strand_batch_call *b, strand_consumer *c) {
  for (uint32_t i = 0; i < b->call.records.count; i++) {
    free(b->call.records.outcomes[i].reason);
    free(b->call.records.outcomes[i].policy_problem);
    strand_shared_unstage(c, b->call.records.outcomes[i].staged);
  }
  free(b);
}
