/*
** seats.c - see seats.h
*/
#include "lua/local/seats.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/fork.h"

bool strand_seats_open (strand_seats *p, strand_consumer *c,
                        strand_worker_slot *worker_slot) {
  p->generation = strand_fork_generation();
  return strand_local_open(&p->local, c, worker_slot);
}

/*
** Lists
*/

static void append (strand_seat_list *list, strand_seat *seat) {
  seat->next = NULL;
  if (list->first == NULL) list->first = seat;
  else list->last->next = seat;
  list->last = seat;
}

static strand_seat *pop (strand_seat_list *list) {
  strand_seat *seat = list->first;
  if (seat == NULL) return NULL;
  list->first = seat->next;
  seat->next = NULL;
  return seat;
}

void strand_seats_put (strand_seats *p, strand_seat *seat) {
  seat->body = NULL;
  append(&p->ready, seat);
}

void strand_seats_put_back (strand_seats *p, strand_seat *seat) {
  seat->body = NULL;
  seat->next = p->ready.first;
  if (p->ready.first == NULL) p->ready.last = seat;
  p->ready.first = seat;
}

void strand_seats_leave (strand_seats *p, strand_seat *seat) {
  seat->body = NULL;
  seat->next = p->free.first; /* the last one is warm */
  if (p->free.first == NULL) p->free.last = seat;
  p->free.first = seat;
}

void strand_seats_drop (strand_seats *p, strand_seat *seat) {
  seat->body = NULL;
  append(&p->dropped, seat);
}

strand_seat *strand_seats_dropped (strand_seats *p) {
  return pop(&p->dropped);
}

/*
** Seats
*/

static bool grow (strand_seats *p) {
  uint32_t capacity = p->capacity > 0 ? 2 * p->capacity : 64;
  strand_seat **each = realloc(p->each, capacity * sizeof(*each));
  if (each == NULL) return false;
  p->each = each;
  p->capacity = capacity;
  /* a seat begins with its current */
  p->currents.each = (strand_current *const *)(const void *)each;
  return true;
}

static strand_seat *new_seat (strand_seats *p) {
  strand_seat *seat;
  if (p->count == p->capacity && !grow(p)) return NULL;
  seat = calloc(1, sizeof(*seat));
  if (seat == NULL) return NULL;
  strand_current_init(&seat->current, p->count);
  seat->current.batch = &seat->batch;
  p->each[p->count++] = seat;
  p->currents.count = p->count;
  return seat;
}

void strand_seats_bare (strand_seats *p, unsigned route) {
  if (route < STRAND_BARE_ROUTES) p->bare |= UINT64_C(1) << route;
}

strand_seat *strand_seats_take (strand_seats *p, bool *short_of_memory) {
  strand_seat *seat = pop(&p->ready);
  if (seat != NULL) return seat;
  if (!strand_local_has_room(&p->local)) return NULL;
  seat = pop(&p->free);
  if (seat == NULL) seat = new_seat(p);
  if (seat == NULL) {
    *short_of_memory = true;
    return NULL;
  }
  if (strand_local_begin(&p->local, &seat->handling)) return seat;
  strand_seats_leave(p, seat);
  return NULL;
}

bool strand_seats_want_work (strand_seats *p) {
  return p->ready.first != NULL || p->dropped.first != NULL
         || strand_local_want_work(&p->local);
}

strand_seat *strand_seats_find (const strand_seats *p, uint32_t number,
                                uint64_t serial) {
  strand_seat *seat;
  if (number >= p->count) return NULL;
  seat = p->each[number];
  return seat->current.count > 0 && seat->current.serial == serial ? seat
                                                                   : NULL;
}

static bool is_at (const strand_record *r, const char *topic,
                   int32_t partition, int64_t offset) {
  const strand_partition *p = strand_record_partition(r);
  return r->offset == offset && strand_partition_index(p) == partition
         && strcmp(strand_partition_topic(p), topic) == 0;
}

static bool handles (const strand_task *task, const char *topic,
                     int32_t partition, int64_t offset) {
  if (task->many == NULL) return is_at(task->record, topic, partition, offset);
  for (uint32_t i = 0; i < task->many->count; i++) {
    if (is_at(task->many->records[i], topic, partition, offset)) return true;
  }
  return false;
}

strand_seat *strand_seats_handling (const strand_seats *p, const char *topic,
                                    int32_t partition, int64_t offset) {
  for (uint32_t i = 0; i < p->count; i++) {
    strand_seat *seat = p->each[i];
    if (seat->handling.slot != NULL
        && handles(&seat->handling.task, topic, partition, offset))
      return seat;
  }
  return NULL;
}

strand_seat *strand_seats_at (const strand_seats *p, const strand_slot *slot) {
  for (uint32_t i = 0; i < p->count; i++) {
    if (p->each[i]->handling.slot == slot) return p->each[i];
  }
  return NULL;
}

/*
** The end
*/

/* What a handler has of it is worth nothing from here on. */
static void forget_record (strand_seat *seat) {
  seat->current.serial += seat->current.count;
  seat->current.count = 0;
  seat->batch.many = NULL;
}

static void end_seat (strand_seats *p, strand_seat *seat) {
  strand_outcome *v = &seat->handling.task.outcome;
  forget_record(seat);
  if (seat->handling.slot == NULL) return;
  strand_shared_unstage(p->local.consumer, v->staged);
  free(v->reason);
  free(v->policy_problem);
  *v = (strand_outcome){ 0 };
  strand_local_end(&p->local, &seat->handling);
}

/* A record that fails is its lease's last. One that waits for a body has been
** seen by no handler: it goes back. */
void strand_seats_fail (strand_seats *p, const char *reason) {
  strand_seat *seat;
  while (!p->ended && (seat = pop(&p->ready)) != NULL) {
    end_seat(p, seat);
    strand_seats_leave(p, seat);
  }
  for (uint32_t i = 0; !p->ended && i < p->count; i++) {
    strand_handling *h = &p->each[i]->handling;
    if (h->slot == NULL) continue;
    forget_record(p->each[i]); /* before the record is its owner's */
    strand_handling_fail(h, STRAND_OUTCOME_FAILED, reason);
    (void)strand_local_next(&p->local, h);
  }
}

void strand_seats_end (strand_seats *p) {
  if (p->ended) return;
  p->ended = true;
  for (uint32_t i = 0; i < p->count; i++) end_seat(p, p->each[i]);
  strand_local_close(&p->local);
  for (uint32_t i = 0; i < p->count; i++) free(p->each[i]);
  free(p->each);
  strand_sleepers_free(&p->sleepers);
  p->each = NULL;
  p->currents.each = NULL;
  p->currents.count = p->count = p->capacity = 0;
  p->free = p->ready = p->dropped = (strand_seat_list){ 0 };
}

void strand_seat_push_name (lua_State *L, const strand_seat *seat,
                            int metatable) {
  strand_handling_name *self = strand_newuserdata(L, sizeof(*self));
  self->number = seat->current.number;
  self->serial = seat->current.serial;
  lua_pushvalue(L, metatable);
  lua_setmetatable(L, -2);
}

/* Of each in it: it has no body, and a slot or none. */
static bool is_sound (const strand_seat_list *list, bool has_slot) {
  for (const strand_seat *s = list->first; s != NULL; s = s->next) {
    if (s->body != NULL || (s->handling.slot != NULL) != has_slot)
      return false;
  }
  return true;
}

void strand_seats_check (const strand_seats *p) {
  bool sound = is_sound(&p->free, false) && is_sound(&p->ready, true)
               && is_sound(&p->dropped, true);
  size_t running = 0;
  assert(sound); /* (2) */
  for (uint32_t i = 0; i < p->count; i++) {
    const strand_seat *seat = p->each[i];
    bool has_slot = seat->handling.slot != NULL;
    assert(seat->current.count == 0 || has_slot); /* (1) */
    if (has_slot) running++;
  }
  assert(p->ended || running == p->local.running); /* (3) */
  (void)running;
  (void)sound;
  strand_sleepers_check(&p->sleepers);
  strand_local_check(&p->local);
}
