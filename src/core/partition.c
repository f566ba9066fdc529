/*
** partition.c - a partition: what is asked of it, and its ready shards
*/
#include <string.h>

#include "core/engine.h"
#include "core/state.h"

const strand_record *strand_partition_next (const strand_partition *p,
                                            const strand_record *after) {
  const strand_link *l = after == NULL ? p->records.next : after->link.next;
  if (l == &p->records) return NULL;
  return strand_list_entry(l, strand_record, link);
}

strand_partition *strand_engine_next (const strand_engine *e,
                                      const strand_partition *after) {
  const strand_link *l = after == NULL ? e->partitions.next : after->link.next;
  if (l == &e->partitions) return NULL;
  return strand_list_entry(l, strand_partition, link);
}

strand_partition *strand_engine_find (const strand_engine *e,
                                      const char *topic, int32_t index) {
  strand_partition *p = NULL;
  while ((p = strand_engine_next(e, p)) != NULL) {
    if (p->index == index && strcmp(p->topic, topic) == 0) return p;
  }
  return NULL;
}

const char *strand_partition_topic (const strand_partition *p) {
  return p->topic;
}

const strand_route_limits *
strand_partition_limits (const strand_partition *p) {
  return &p->throttle->limits;
}

int32_t strand_partition_index (const strand_partition *p) {
  return p->index;
}

uint32_t strand_partition_epoch (const strand_partition *p) {
  return p->epoch;
}

int64_t strand_partition_position (const strand_partition *p) {
  return p->offsets == NULL ? -1 : strand_offsets_position(p->offsets);
}

void *strand_partition_opaque (const strand_partition *p) {
  return p->opaque;
}

void strand_partition_set_opaque (strand_partition *p, void *opaque) {
  p->opaque = opaque;
}

bool strand_partition_unwritable (const strand_partition *p) {
  return p->committed.unwritable;
}

strand_partition *strand_record_partition (const strand_record *r) {
  return r->shard->partition;
}

void strand_record_tell (strand_partition *p, const strand_record *r,
                         strand_notice_type type, const char *reason,
                         size_t length, int64_t delay_us) {
  const strand_engine_config *c = &p->engine->config;
  strand_notice notice = { type, p, r, reason, length, delay_us };
  c->notice(c->arg, &notice);
}

void strand_partition_tell (strand_partition *p, strand_notice_type type,
                            const char *reason) {
  strand_record_tell(p, strand_partition_next(p, NULL), type, reason,
                     reason == NULL ? 0 : strlen(reason), 0);
}

/*
** Ready shards
*/

void strand_partition_runnable (strand_partition *p) {
  bool runs = p->state == PARTITION_RUNNING;
  bool should = runs && !p->paused && !p->stalled
                && (!strand_list_empty(&p->ready)
                    || !strand_list_empty(&p->lingering));
  if (should == !strand_list_empty(&p->runnable)) return;
  p->closed = false;
  if (should) strand_list_push(&p->engine->runnable, &p->runnable);
  else strand_list_remove(&p->runnable);
}

void strand_partition_unstall (strand_partition *p) {
  if (!p->stalled) return;
  p->stalled = false;
  strand_partition_runnable(p);
}

void strand_shard_enlist (strand_shard *s, bool front) {
  strand_partition *p = s->partition;
  s->state = SHARD_READY;
  if (front) strand_list_push_front(&p->ready, &s->ready);
  else strand_list_push(&p->ready, &s->ready);
  p->ready_count++;
  p->engine->ready++;
  strand_partition_runnable(p);
}

void strand_shard_give_way (strand_shard *s) {
  strand_partition *p = s->partition;
  strand_list_remove(&s->ready);
  if (strand_list_empty(&p->ready)) strand_list_push(&p->ready, &s->ready);
  else strand_list_push_front(p->ready.next, &s->ready);
}

/*
** What waits
*/

void strand_partition_count_waiting (strand_partition *p, strand_waiting kind,
                                     int by) {
  strand_engine *e = p->engine;
  size_t n = (size_t)by;
  if (kind == STRAND_WAITING_PARKED) {
    p->waiting.parked += n;
    e->waiting.parked += n;
  }
  else if (kind == STRAND_WAITING_DEAD_LETTER) {
    p->waiting.dead_letters += n;
    e->waiting.dead_letters += n;
  }
}

void strand_partition_count_sending (strand_partition *p, int by) {
  p->waiting.sending += (size_t)by;
  p->engine->waiting.sending += (size_t)by;
}

void strand_partition_forget_waiting (strand_partition *p) {
  strand_engine *e = p->engine;
  e->waiting.parked -= p->waiting.parked;
  e->waiting.dead_letters -= p->waiting.dead_letters;
  e->waiting.sending -= p->waiting.sending;
  p->waiting = (strand_waiting_counts){ 0, 0, 0 };
}

/*
** Blocked
*/

const char *strand_partition_blocked (const strand_partition *p) {
  if (p->stalled || (p->full && p->ready_count > 0)) return "metadata";
  if (p->committed.unwritable && p->windows.outside > 0) return "metadata";
  return strand_budget_waiting_full(p) ? "waiting" : NULL;
}

void strand_partition_tell_blocked (strand_partition *p, int64_t now_us) {
  const char *reason = strand_partition_blocked(p);
  if (reason == NULL) {
    if (p->blocked_reported) {
      strand_partition_tell(p, STRAND_NOTICE_UNBLOCKED, NULL);
    }
    p->blocked_us = 0;
    p->blocked_reported = false;
  }
  else if (p->blocked_us == 0) p->blocked_us = now_us > 0 ? now_us : 1;
  else if (!p->blocked_reported
           && now_us - p->blocked_us >= STRAND_BLOCKED_EVENT_US) {
    p->blocked_reported = true;
    strand_partition_tell(p, STRAND_NOTICE_BLOCKED, reason);
  }
  strand_partition_unstall(p); /* in case it was memory that ran out */
}
