/*
** notices.c - what the engine tells, as events
*/
#include "member/notices.h"

static const char *notice_name (strand_notice_type type) {
  switch (type) {
    case STRAND_NOTICE_FAILED: return "record_failed";
    case STRAND_NOTICE_PARKED: return "parked";
    case STRAND_NOTICE_LOST: return "records_lost";
    case STRAND_NOTICE_DEAD_LETTERED: return "dead_lettered";
    case STRAND_NOTICE_BLOCKED: return "partition_blocked";
    case STRAND_NOTICE_UNBLOCKED: return "partition_unblocked";
    case STRAND_NOTICE_WRITABLE: return "metadata_writable";
    default: return "metadata_unwritable";
  }
}

/* A record is exhausted, and its policy says so. */
static void take_stop (const strand_owner *o, const strand_notice *n) {
  char reason[sizeof(((strand_failure *)0)->message)];
  snprintf(reason, sizeof(reason),
           "%s/%d/%lld was given up after attempt "
           "%d: %.*s",
           strand_partition_topic(n->partition),
           (int)strand_partition_index(n->partition),
           (long long)n->record->offset, (int)n->record->attempt,
           (int)n->reason_length, n->reason != NULL ? n->reason : "");
  strand_shared_end(o->consumer, STRAND_CLOSE_FINISH, "STOPPED_BY_HANDLER",
                    reason);
}

void strand_notice_tell (const strand_owner *o, const strand_notice *n) {
  if (n->type == STRAND_NOTICE_SKIPPED) return; /* no event */
  if (n->type == STRAND_NOTICE_STOP) {
    take_stop(o, n);
    return;
  }
  if (n->type == STRAND_NOTICE_LOST) {
    strand_tally_lose(&o->consumer->tally, 1);
  }
  strand_event event = strand_event_of(notice_name(n->type), (int)o->index);
  strand_event_set_topic(&event, strand_partition_topic(n->partition),
                         strand_partition_index(n->partition));
  event.epoch = strand_partition_epoch(n->partition);
  if (n->reason != NULL) {
    strand_event_set_reason(&event, n->reason, n->reason_length);
  }
  if (n->record != NULL) {
    event.offset = n->record->offset;
    if (n->type == STRAND_NOTICE_FAILED) event.attempt = n->record->attempt;
    if (n->type == STRAND_NOTICE_PARKED || n->type == STRAND_NOTICE_LOST
        || n->type == STRAND_NOTICE_DEAD_LETTERED) {
      event.attempt = n->record->attempt - 1; /* the last */
    }
    if (n->record->flags & STRAND_RECORD_KEY) {
      strand_event_set_key(&event, strand_record_key(n->record),
                           n->record->key_length);
    }
  }
  if (n->delay_us >= 0 && n->type == STRAND_NOTICE_FAILED) {
    event.delay = (double)n->delay_us / 1e6;
  }
  strand_owner_emit(o, &event);
}
