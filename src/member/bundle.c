#include "member/bundle.h"

#include <stdlib.h>

#include "member/outcome.h"

/*
** Out
*/

/* In one piece: the parts, and what the call points to. */
strand_bundle *strand_bundle_new (size_t most) {
  size_t parts = sizeof(strand_bundle) + most * sizeof(strand_part);
  size_t verdicts = most * sizeof(strand_verdict);
  size_t records = most * sizeof(const strand_record *);
  char *piece = malloc(parts + verdicts + records
                       + most * sizeof(const atomic_bool *));
  strand_bundle *b = (strand_bundle *)(void *)piece;
  if (b == NULL) return NULL;
  *b = (strand_bundle){ 0 };
  piece += parts;
  b->call.records.verdicts = (strand_verdict *)(void *)piece;
  piece += verdicts;
  b->call.records.records = (const strand_record **)(void *)piece;
  piece += records;
  b->call.stops = (void *)piece;
  return b;
}

static void add (strand_bundle *b, const strand_lease *lease) {
  strand_part *part = &b->parts[b->part_count++];
  const strand_record *r = lease->record;
  part->lease = *lease;
  part->tag = strand_partition_tag(lease->partition);
  part->tag->leases++;
  b->call.stops[b->call.stop_count++] = &part->tag->stop;
  part->first = b->call.records.count;
  part->count = lease->count;
  part->over = false;
  for (uint32_t i = 0; i < lease->count; i++, r = r->behind) {
    b->call.records.verdicts[b->call.records.count] = (strand_verdict){ 0 };
    b->call.records.records[b->call.records.count++] = r;
  }
}

void strand_bundle_fill (strand_engine *engine, strand_bundle *b,
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

static uint32_t count_done (const strand_verdict *v, uint32_t most) {
  uint32_t count = 0;
  while (count < most && v[count].kind == STRAND_VERDICT_DONE) count++;
  return count;
}

/* Ends records of the lease up to the first that does not leave it to the
** next. */
static strand_err end_records (const strand_owner *o, strand_bundle *b,
                               strand_part *part, int64_t now_us) {
  strand_lease *lease = &part->lease;
  strand_err err = STRAND_OK;
  while (err == STRAND_OK && lease->count > 0) {
    uint32_t at = part->first + part->count - lease->count;
    strand_verdict *v = &b->call.records.verdicts[at];
    uint32_t done = lease->expired ? 0 : count_done(v, lease->count);
    if (done == 0) err = strand_outcome_end(o, lease, v, now_us);
    else err = strand_engine_done(o->engine, lease, done, now_us);
  }
  return err;
}

static strand_err end_part (const strand_owner *o, strand_assignment *a,
                            strand_bundle *b, strand_part *part, bool judged,
                            int64_t now_us) {
  strand_err err = judged ? end_records(o, b, part, now_us)
                          : strand_engine_give_back(o->engine, &part->lease);
  if (err != STRAND_OK) return err;
  part->over = true;
  if (--part->tag->leases == 0 && part->tag->partition == NULL) {
    strand_assignment_drop(a, part->tag);
  }
  return STRAND_OK;
}

/* What goes back unstarted does so from the last on: each to the front. */
strand_err strand_bundle_harvest (const strand_owner *o, strand_assignment *a,
                                  strand_bundle *b, bool judged,
                                  int64_t now_us) {
  for (uint32_t n = 0; n < b->part_count; n++) {
    strand_part *part = &b->parts[judged ? n : b->part_count - 1 - n];
    strand_err err;
    if (part->over) continue;
    err = end_part(o, a, b, part, judged, now_us);
    if (err != STRAND_OK) return err;
  }
  return STRAND_OK;
}

void strand_bundle_expire (strand_engine *engine, strand_bundle *b,
                           const char *reason) {
  for (uint32_t i = 0; i < b->part_count; i++) {
    strand_engine_expire(engine, &b->parts[i].lease, reason, strlen(reason));
  }
}

void strand_bundle_free (strand_bundle *b) {
  for (uint32_t i = 0; i < b->call.records.count; i++) {
    free(b->call.records.verdicts[i].reason);
    free(b->call.records.verdicts[i].policy_problem);
  }
  free(b);
}
