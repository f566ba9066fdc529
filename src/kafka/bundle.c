#include "kafka/bundle.h"

#include <stdlib.h>

/*
** Out
*/

strand_bundle *strand_bundle_new (size_t most) {
  size_t parts = sizeof(strand_bundle) + most * sizeof(strand_part);
  size_t verdicts = most * sizeof(strand_verdict);
  strand_bundle *b = malloc(parts + verdicts
                            + most * sizeof(b->many.records[0]));
  if (b == NULL) return NULL;
  *b = (strand_bundle){ 0 };
  b->many.verdicts = (strand_verdict *)(void *)((char *)b + parts);
  b->many.records = (const strand_record **)(void *)((char *)b + parts
                                                     + verdicts);
  return b;
}

static void add (strand_bundle *b, const strand_lease *lease) {
  strand_part *part = &b->parts[b->part_count++];
  const strand_record *r = lease->record;
  part->lease = *lease;
  part->tag = strand_partition_tag(lease->partition);
  part->tag->leases++;
  part->first = b->many.count;
  part->count = lease->count;
  part->over = false;
  for (uint32_t i = 0; i < lease->count; i++, r = r->behind) {
    b->many.verdicts[b->many.count] = (strand_verdict){ 0 };
    b->many.records[b->many.count++] = r;
  }
}

void strand_bundle_fill (strand_member *m, strand_bundle *b,
                         const strand_lease *first, int64_t now_us) {
  size_t size = strand_partition_limits(first->partition)->batch_size;
  strand_lease lease;
  add(b, first);
  while (b->many.count < size
         && strand_engine_lease_more(m->owner.engine, first,
                                     size - b->many.count, now_us, &lease))
    add(b, &lease);
}

bool strand_bundle_stopped (const strand_bundle *b) {
  for (uint32_t i = 0; i < b->part_count; i++) {
    if (atomic_load_explicit(&b->parts[i].tag->stop, memory_order_acquire)) {
      return true;
    }
  }
  return false;
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
static strand_err end_records (strand_member *m, strand_bundle *b,
                               strand_part *part, int64_t now_us) {
  strand_lease *lease = &part->lease;
  strand_err err = STRAND_OK;
  while (err == STRAND_OK && lease->count > 0) {
    strand_verdict *v =
      &b->many.verdicts[part->first + part->count - lease->count];
    uint32_t done = lease->expired ? 0 : count_done(v, lease->count);
    strand_ending ending = { v->kind, v->delay_us, v->reason,
                             v->reason_length };
    if (ending.reason == NULL) ending.reason = "";
    if (done > 0) {
      err = strand_engine_done(m->owner.engine, lease, done, now_us);
      continue;
    }
    strand_handover_policy(m, lease, v);
    err = strand_engine_end(m->owner.engine, lease, &ending, now_us);
  }
  return err;
}

static strand_err end_part (strand_member *m, strand_bundle *b,
                            strand_part *part, bool judged, int64_t now_us) {
  strand_err err = judged
                     ? end_records(m, b, part, now_us)
                     : strand_engine_give_back(m->owner.engine, &part->lease);
  if (err != STRAND_OK) return err;
  part->over = true;
  if (--part->tag->leases == 0 && part->tag->partition == NULL) {
    strand_assignment_drop(&m->assignment, part->tag);
  }
  return STRAND_OK;
}

/* What goes back unstarted does so from the last on: each to the front. */
strand_err strand_bundle_harvest (strand_member *m, strand_bundle *b,
                                  bool judged, int64_t now_us) {
  for (uint32_t n = 0; n < b->part_count; n++) {
    strand_part *part = &b->parts[judged ? n : b->part_count - 1 - n];
    strand_err err;
    if (part->over) continue;
    err = end_part(m, b, part, judged, now_us);
    if (err != STRAND_OK) return err;
  }
  return STRAND_OK;
}

void strand_bundle_expire (strand_member *m, strand_bundle *b,
                           const char *reason) {
  for (uint32_t i = 0; i < b->part_count; i++) {
    strand_engine_expire(m->owner.engine, &b->parts[i].lease, reason,
                         strlen(reason));
  }
}

void strand_bundle_free (strand_bundle *b) {
  for (uint32_t i = 0; i < b->many.count; i++) {
    free(b->many.verdicts[i].reason);
    free(b->many.verdicts[i].policy_problem);
  }
  free(b);
}
