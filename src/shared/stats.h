/*
** stats.h - what a consumer says of itself
**
** Thread: any; values.
*/
#ifndef STRAND_STATS_H
#define STRAND_STATS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "core/engine.h"
#include "shared/event.h"
#include "shared/staged.h"

typedef struct strand_place {
  char *topic;
  int32_t partition;
  int64_t offset;
  const char *state; /* unfinished records: as strand_record_state */
} strand_place;

typedef struct strand_report {
  uint64_t done;
  uint64_t failed; /* attempts */
  uint64_t skipped;
  uint64_t dead_lettered;
  uint64_t parked; /* now, or at the end */
  uint64_t lost;   /* partitions' records cut off without a commit */
  strand_output_counts outputs;
  double seconds;           /* since start */
  bool detached;            /* something ends in the background */
  strand_place *unfinished; /* polled and not done, lowest first, at most
                                STRAND_REPORT_UNFINISHED_MAX */
  size_t unfinished_count;
  uint64_t unfinished_total;
  strand_place *committed; /* the last acknowledged offset of each partition
                                that was ever committed */
  size_t committed_count;
  strand_failure failure; /* of the last commit, say; code "" for none */
} strand_report;

#define STRAND_REPORT_UNFINISHED_MAX 1000

/* A copy of a parked record. Times are seconds since 1970. */
typedef struct strand_parked {
  struct strand_parked *next;
  strand_record *record; /* of no partition; its attempt is the one that
                              parked it */
  char topic[250];
  int32_t partition;
  double first_failure;
  double last_failure;
  double since;
  size_t reason_length;
  char reason[STRAND_REASON_MAX];
} strand_parked;

/* A page of them: one record, or as many as fit. */
#define STRAND_PARKED_PAGE_RECORDS 256
#define STRAND_PARKED_PAGE_BYTES (1024u * 1024u)

typedef struct strand_partition_snapshot {
  strand_partition_stats stats; /* its strings are owned by the copy */
  int64_t end;                  /* the partition's end; -1: not known */
  char topic[250];
  unsigned member;
} strand_partition_snapshot;

typedef struct strand_blocker {
  char topic[250];
  int32_t partition;
  int64_t offset;
  bool has_key;
  char key[STRAND_EVENT_KEY_MAX];
  size_t key_length;
  double age;        /* seconds since it was polled */
  unsigned attempts; /* that have failed */
  const char *state;
  char reason[STRAND_REASON_MAX];
  size_t reason_length;
} strand_blocker;

typedef struct strand_stats {
  strand_engine_stats engine; /* sums */
  unsigned members;
  unsigned workers; /* threads that serve */
  unsigned busy;    /* of them, in a handler */
  unsigned lost;    /* past their deadline: spares serve for them */
  strand_output_counts outputs;
  size_t prefetch_bytes; /* librdkafka's own limit on top */
  uint64_t commits;      /* acknowledged */
  uint64_t commits_failed;
  uint64_t rebalances;
  uint64_t events_dropped;
  uint64_t logs_dropped;
  double idle;          /* seconds since a record ended */
  double longest_slice; /* in local mode: seconds that one handler went on, or
                           that work waited for the loop */
  strand_partition_snapshot *partitions;
  size_t partition_count;
  strand_blocker *blockers; /* that hold commits back, oldest first */
  size_t blocker_count;
} strand_stats;

void strand_report_clear (strand_report *report);
void strand_stats_clear (strand_stats *stats);
/* All of a page. */
void strand_parked_free (strand_parked *page);

#endif
