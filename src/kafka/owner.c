#include "kafka/owner.h"

strand_event strand_owner_event (const strand_owner *o, const char *type,
                                 const strand_tag *tag) {
  strand_event event = strand_event_of(type, (int)o->index);
  if (tag == NULL || tag->partition == NULL) return event;
  strand_event_set_topic(&event, strand_partition_topic(tag->partition),
                         strand_partition_index(tag->partition));
  event.epoch = tag->epoch;
  return event;
}

void strand_owner_emit (const strand_owner *o, strand_event *event) {
  strand_shared_event(o->consumer, event);
}
