/*
** unwritable.c - see unwritable.h
*/
#include "member/unwritable.h"

#include "member/partition_names.h"

bool strand_unwritable_find (const strand_owner *owner,
                             strand_failure *failure) {
  const strand_partition *p = NULL;
  strand_partition_names n = { .count = 0 };
  while ((p = strand_engine_next(owner->engine, p)) != NULL) {
    if (strand_partition_unwritable(p)) strand_partition_names_add(&n, p);
  }
  if (n.count == 0) return false;
  strand_fail(failure, "METADATA_UNWRITABLE",
              "what is done in %s does not fit in the metadata of a commit: "
              "see the event metadata_unwritable",
              strand_partition_names_end(&n));
  return true;
}

/* There may be thousands of partitions that are well. */
void strand_unwritable_publish (strand_unwritable *u,
                                const strand_owner *owner,
                                strand_problem *problem, int64_t now_us) {
  strand_failure failure;
  if (owner->consumer->settings.delivery == STRAND_AT_LEAST_ONCE
      || (u->lasts.since_us == 0 && now_us < u->search_us))
    return;
  u->search_us = now_us + STRAND_UNWRITABLE_SEARCH_US;
  if (strand_unwritable_find(owner, &failure))
    strand_alert_begin(&u->lasts, now_us, STRAND_ALERT_PATIENCE_US);
  else u->lasts = (strand_alert){ 0 };
  strand_problem_set(problem, STRAND_PROBLEM_METADATA,
                     strand_alert_is_due(&u->lasts, now_us) ? &failure : NULL);
}
