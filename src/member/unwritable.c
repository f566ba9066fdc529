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
