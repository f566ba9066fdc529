/*
** driver.c - see driver.h
*/
#include <assert.h>
#include <stdlib.h>

#include "consumer/driver_own.h"
#include "member/notices.h"

#define MESSAGE_MAX 1000000 /* librdkafka's default */
#define MAINTAIN_US 1000000

#ifdef NDEBUG
#define CHECKED false
#else
#define CHECKED true /* the invariants of the parts, after each turn */
#endif

static int64_t min64 (int64_t a, int64_t b) {
  return a < b ? a : b;
}

/*
** What the engine says
*/

static bool reserve_note (strand_driver *d) {
  size_t capacity = d->note_capacity > 0 ? 2 * d->note_capacity : 64;
  strand_driver_note *grown;
  if (d->note_count < d->note_capacity) return true;
  grown = realloc(d->notes, capacity * sizeof(*grown));
  if (grown == NULL) return false;
  d->notes = grown;
  d->note_capacity = capacity;
  return true;
}

static bool add_note (strand_driver *d, const strand_notice *n) {
  strand_driver_note note = { .type = n->type,
                              .partition = strand_driver_number(n->partition),
                              .offset = n->record->offset,
                              .attempt = n->record->attempt,
                              .at_us = strand_driver_elapsed_us(d),
                              .delay_us = n->delay_us };
  if (!reserve_note(d)) return false;
  if (n->reason != NULL && n->reason_length > 0) {
    note.reason = malloc(n->reason_length);
    if (note.reason == NULL) return false;
    memcpy(note.reason, n->reason, n->reason_length);
    note.reason_length = n->reason_length;
  }
  d->notes[d->note_count++] = note;
  return true;
}

static void take_notice (void *arg, const strand_notice *n) {
  strand_driver *d = arg;
  strand_notice_tell(&d->owner, n);
  if (n->record == NULL || n->type == STRAND_NOTICE_BLOCKED
      || n->type == STRAND_NOTICE_UNWRITABLE)
    return;
  if (!add_note(d, n)) d->short_of_memory = true;
}

static void no_release (void *arg, const strand_orphan *orphan) {
  (void)arg, (void)orphan;
}

static bool take_dead_letter (void *arg, strand_partition *p,
                              strand_record *record) {
  strand_driver *d = arg;
  strand_driver_dead_letter *a = calloc(1, sizeof(*a));
  (void)p;
  if (a == NULL) return false;
  a->record = record;
  *d->dead_letters_end = a;
  d->dead_letters_end = &a->next;
  return true;
}

/*
** Opening
*/

static strand_engine *open_engine (strand_driver *d) {
  const strand_settings *s = &d->owner.consumer->settings;
  strand_engine_config config = { 0 };
  strand_share share = { 0 };
  strand_shares_take(&d->shares, &config, &share);
  strand_handover_limit(&d->handover, share.max_ready);
  strand_handover_widen(&d->handover, share.batch_most);
  config.ordering = s->ordering;
  config.delivery = s->delivery;
  config.null_key_unordered = s->null_key_unordered;
  config.ordering_header = s->ordering_header;
  config.park_alone = s->park_alone;
  config.seed[0] = 1; /* the same jitter in each run */
  config.arg = d;
  config.notice = take_notice;
  config.release = no_release;
  if (s->dead_letters.topic != NULL) config.dead_letter = take_dead_letter;
  return strand_engine_new(&config);
}

/* What handlers may produce, as a producer of these properties would take. */
static void limit_outputs (strand_consumer *c) {
  const strand_dead_letters_config *l = &c->settings.dead_letters;
  c->staging.max_message = MESSAGE_MAX;
  for (size_t i = 0; i < l->kafka_count; i++) {
    if (strcmp(l->kafka[i].name, "message.max.bytes") == 0)
      c->staging.max_message = strtoull(l->kafka[i].value, NULL, 10);
  }
  strand_partitioner_find(l->partitioner != NULL ? l->partitioner
                                                 : "murmur2_random",
                          &c->staging.partitioner);
}

static void init_parts (strand_driver *d, strand_consumer *c) {
  strand_inbox *inbox = &c->inboxes.each[0];
  d->owner.consumer = c;
  strand_shares_init(&d->shares, &d->owner);
  strand_snapshot_init(&d->snapshot, &d->owner, &d->assignment);
  strand_outbox_init(&d->outbox, &d->owner, &inbox->waker);
  strand_watchdog_init(&d->watchdog, &d->owner, &d->snapshot);
  strand_outputs_init(&d->outputs, &d->owner, &d->outbox, NULL, &d->snapshot);
  strand_handover_init(&d->handover, &d->owner, &d->assignment, &d->snapshot,
                       &d->watchdog, &d->outputs, &inbox->waker,
                       &inbox->progress);
  limit_outputs(c);
}

static bool open_parts (strand_driver *d, const strand_consumer_config *config,
                        const char *group, int64_t wall_us,
                        strand_failure *failure) {
  strand_consumer *c = strand_shared_new(config);
  if (c == NULL || !strand_inboxes_init(&c->inboxes, 1)) {
    if (c != NULL) strand_shared_unref(c);
    return false;
  }
  c->time = (strand_time){ STRAND_DRIVER_BEGIN_US,
                           wall_us - STRAND_DRIVER_BEGIN_US };
  init_parts(d, c);
  for (size_t i = 0; i < config->route_count; i++) {
    if (config->routes[i].deadline_us > 0) d->has_deadlines = true;
  }
  d->group = strdup(group);
  if (d->group == NULL || !strand_routes_init(&c->routes, config, failure)
      || !strand_shares_open(&d->shares))
    return false;
  d->owner.engine = open_engine(d);
  return d->owner.engine != NULL;
}

strand_driver *strand_driver_open (const strand_consumer_config *config,
                                   const char *group, int64_t wall_us,
                                   strand_failure *failure) {
  strand_driver *d = calloc(1, sizeof(*d));
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  if (d == NULL) {
    config->handler.release(config->handler.config);
    return NULL;
  }
  d->dead_letters_end = &d->dead_letters;
  if (open_parts(d, config, group, wall_us, failure)) return d;
  strand_driver_close(d);
  return NULL;
}

/*
** Closing
*/

static void end_place (strand_driver *d, strand_driver_place *at) {
  strand_partition *p = at->assigned->partition;
  strand_outputs_forget(&d->outputs, at->assigned, strand_partition_topic(p),
                        strand_partition_index(p));
  strand_engine_revoke(d->owner.engine, p, no_release, NULL);
  strand_assignment_drop(&d->assignment, at->assigned);
  free(at->metadata);
}

/* What no handler has ended goes back unstarted; what memory ran out for is
** left behind. */
static void end_engine (strand_driver *d) {
  strand_driver_halt(d);
  if (strand_handover_out(&d->handover)) return;
  while (d->dead_letters != NULL) strand_driver_take_dead_letter(d);
  strand_driver_drop_dead_letter(d);
  for (size_t i = 0; i < d->place_count; i++) end_place(d, &d->places[i]);
  strand_outputs_free(&d->outputs);
  strand_handover_free(&d->handover);
  strand_engine_free(d->owner.engine);
}

static void free_notes (strand_driver *d) {
  for (; d->note_next < d->note_count; d->note_next++)
    free(d->notes[d->note_next].reason);
  free(d->notes);
}

void strand_driver_close (strand_driver *d) {
  strand_consumer *c;
  if (d == NULL) return;
  c = d->owner.consumer;
  if (d->owner.engine != NULL) end_engine(d);
  free_notes(d);
  if (c != NULL) {
    strand_outbox_free(&d->outbox);
    strand_snapshot_free(&d->snapshot);
    strand_shares_free(&d->shares);
    strand_assignment_free(&d->assignment);
    strand_shared_unref(c);
  }
  free(d->places);
  free(d->group);
  free(d);
}

/*
** Records in
*/

strand_consumer *strand_driver_consumer (strand_driver *d) {
  return d->owner.consumer;
}

int64_t strand_driver_elapsed_us (const strand_driver *d) {
  return strand_driver_now_us(d) - STRAND_DRIVER_BEGIN_US;
}

static strand_driver_place *add_place (strand_driver *d) {
  strand_driver_place *grown = realloc(d->places,
                                       (d->place_count + 1) * sizeof(*grown));
  if (grown == NULL) return NULL;
  d->places = grown;
  grown += d->place_count;
  *grown = (strand_driver_place){ .committed = -1 };
  grown->assigned = strand_assignment_add(&d->assignment);
  return grown->assigned != NULL ? grown : NULL;
}

int strand_driver_assign (strand_driver *d, const char *topic,
                          int32_t partition) {
  int route = strand_routes_find(&d->owner.consumer->routes, topic);
  strand_driver_place *at;
  strand_partition *p;
  if (route < 0) return route;
  at = add_place(d);
  if (at == NULL) return -2;
  p = strand_engine_assign(d->owner.engine, topic, partition,
                           (uint32_t)d->place_count + 1, (size_t)route, NULL,
                           0);
  if (p == NULL) {
    strand_assignment_drop(&d->assignment, at->assigned);
    return -2;
  }
  at->assigned->partition = p;
  at->assigned->route = (unsigned)route;
  at->assigned->epoch = (uint32_t)d->place_count + 1;
  strand_partition_set_opaque(p, at->assigned);
  d->place_count++;
  if (strand_engine_restored(d->owner.engine, p, -1, NULL) != STRAND_OK)
    return -2;
  return (int)d->place_count - 1;
}

static strand_partition *partition_of (const strand_driver *d, size_t number) {
  assert(number < d->place_count);
  return d->places[number].assigned->partition;
}

bool strand_driver_may_feed (const strand_driver *d, size_t partition) {
  return !strand_stop_halts(&d->owner.consumer->stop)
         && strand_engine_may_read(d->owner.engine,
                                   partition_of(d, partition));
}

strand_record *strand_driver_room (strand_driver *d, size_t partition,
                                   size_t length) {
  return strand_engine_room(d->owner.engine, partition_of(d, partition),
                            length);
}

strand_added strand_driver_feed (strand_driver *d, size_t partition,
                                 strand_record *record) {
  return strand_engine_admit(d->owner.engine, partition_of(d, partition),
                             record, strand_driver_now_us(d));
}

void strand_driver_drained (strand_driver *d, size_t partition, bool drained) {
  strand_engine_drained(d->owner.engine, partition_of(d, partition), drained);
}

/*
** A turn
*/

/* The answer frees the item. */
static void note_commit (strand_driver *d, const strand_commit_item *item) {
  strand_driver_place *at = &d->places[strand_driver_number(item->partition)];
  free(at->metadata);
  at->metadata = strdup(item->metadata);
  if (at->metadata == NULL) d->short_of_memory = true;
  at->committed = item->offset;
}

void strand_driver_commit (strand_driver *d) {
  int64_t now_us = strand_driver_now_us(d);
  strand_commit *commit = strand_engine_commit(d->owner.engine, now_us, NULL);
  if (commit == NULL) return;
  for (size_t i = 0; i < commit->count; i++) {
    note_commit(d, &commit->items[i]);
  }
  strand_engine_commit_answer(d->owner.engine, commit, STRAND_COMMITTED,
                              now_us);
}

void strand_driver_halt (strand_driver *d) {
  strand_handover_halt(&d->handover);
  strand_handover_harvest(&d->handover, strand_driver_now_us(d));
  strand_outputs_serve(&d->outputs, strand_driver_now_us(d));
}

static void check_parts (const strand_driver *d) {
  strand_shared_check_parts(d->owner.consumer);
  strand_outputs_check(&d->outputs);
  strand_watchdog_check(&d->watchdog);
  strand_handover_check(&d->handover);
  for (size_t i = 0; i < d->place_count; i++) {
    const strand_driver_place *at = &d->places[i];
    assert((at->committed >= 0) == (at->metadata != NULL)
           || d->short_of_memory); /* (1) */
    (void)at;
  }
  for (const strand_driver_dead_letter *a = d->dead_letters; a != NULL;
       a = a->next) {
    assert(a->record->in.past->waiting
           == STRAND_WAITING_DEAD_LETTER); /* (2) */
  }
}

/* As in member.c, without what a broker would say. */
bool strand_driver_turn (strand_driver *d) {
  int64_t now_us = strand_driver_now_us(d);
  strand_engine *e = d->owner.engine;
  bool halts = strand_stop_halts(&d->owner.consumer->stop);
  strand_driver_drop_dead_letter(d);
  strand_handover_harvest(&d->handover, now_us);
  strand_outputs_serve(&d->outputs, now_us);
  if (strand_engine_commit_due(e, now_us) <= now_us) strand_driver_commit(d);
  if (!halts) {
    (void)strand_engine_tick(e, now_us);
    strand_handover_post(&d->handover, now_us);
  }
  else strand_handover_halt(&d->handover);
  if (CHECKED) check_parts(d);
  return !d->short_of_memory;
}

/* When something can go on that cannot now. */
static int64_t next_due (strand_driver *d, int64_t sleeper_us,
                         int64_t now_us) {
  strand_engine *e = d->owner.engine;
  int64_t due = sleeper_us;
  if (d->has_deadlines)
    due = min64(due, strand_handover_watch(&d->handover, now_us));
  if (strand_stop_halts(&d->owner.consumer->stop)) return due;
  due = min64(due, strand_engine_tick(e, now_us));
  due = min64(due, strand_engine_throttle(e, now_us));
  if (strand_engine_awaits_commit(e))
    due = min64(due, strand_engine_commit_due(e, now_us));
  return due;
}

strand_driver_move strand_driver_advance (strand_driver *d, int64_t sleeper_us,
                                          int64_t limit_us) {
  strand_time *time = &d->owner.consumer->time;
  int64_t due = next_due(d, sleeper_us, time->at_us);
  if (due == INT64_MAX) return STRAND_DRIVER_NOTHING;
  due = min64(due, strand_engine_commit_due(d->owner.engine, time->at_us));
  if (due > STRAND_DRIVER_BEGIN_US + limit_us) {
    if (time->at_us < STRAND_DRIVER_BEGIN_US + limit_us)
      time->at_us = STRAND_DRIVER_BEGIN_US + limit_us;
    return STRAND_DRIVER_LIMIT;
  }
  if (due > time->at_us) time->at_us = due;
  if (time->at_us >= d->maintain_us) {
    strand_engine_maintain(d->owner.engine, time->at_us);
    d->maintain_us = time->at_us + MAINTAIN_US;
  }
  return STRAND_DRIVER_MOVED;
}
