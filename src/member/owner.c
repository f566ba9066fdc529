/*
** owner.c - see owner.h
*/
#include "member/owner.h"

strand_event strand_owner_event (const strand_owner *o, const char *type,
                                 const strand_assigned *assigned) {
  strand_event event = strand_event_of(type, (int)o->index);
  if (assigned == NULL || assigned->partition == NULL) return event;
  strand_event_set_topic(&event, strand_partition_topic(assigned->partition),
                         strand_partition_index(assigned->partition));
  event.epoch = assigned->epoch;
  return event;
}

strand_event strand_owner_lease_event (const strand_owner *o, const char *type,
                                       const strand_lease *lease) {
  const strand_partition *p = lease->partition;
  const strand_record *r = lease->record;
  strand_event event = strand_event_of(type, (int)o->index);
  strand_event_set_topic(&event, strand_partition_topic(p),
                         strand_partition_index(p));
  event.epoch = lease->epoch;
  event.offset = r->offset;
  event.attempt = r->attempt;
  if (r->flags & STRAND_RECORD_KEY) {
    strand_event_set_key(&event, strand_record_key(r), r->key_length);
  }
  return event;
}

void strand_owner_emit (const strand_owner *o, strand_event *event) {
  strand_shared_event(o->consumer, event);
}

void strand_owner_jumped (const strand_owner *o,
                          const strand_assigned *assigned, const char *type,
                          int64_t from, int64_t to) {
  strand_event event = strand_owner_event(o, type, assigned);
  event.offset = from;
  event.to = to;
  strand_owner_emit(o, &event);
}

void strand_owner_tell (const strand_owner *o, const char *type,
                        const char *code, const char *reason,
                        const char *topic, int32_t partition) {
  strand_event event = strand_owner_event(o, type, NULL);
  if (topic != NULL) strand_event_set_topic(&event, topic, partition);
  strand_event_set_reason(&event, reason, strlen(reason));
  snprintf(event.code, sizeof(event.code), "%s", code);
  strand_owner_emit(o, &event);
  strand_log_printf(o->consumer->notifier.log, STRAND_LOG_WARNING, "strand",
                    "member %u: %s%s%s: %s (%s)", o->index, type,
                    topic != NULL ? " " : "", topic != NULL ? topic : "",
                    reason, code);
}
