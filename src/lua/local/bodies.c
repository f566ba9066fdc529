/*
** bodies.c - see bodies.h
*/
#include "lua/local/bodies.h"

#include <assert.h>
#include <stddef.h>

#define COME_US 1000000  /* to come, twice */
#define AGAIN_US 1000000 /* until what raised is tried again */

/*
** Parked
*/

void strand_bodies_park (strand_seats *p, strand_body *body) {
  body->state = STRAND_BODY_PARKED;
  body->begun = true;
  body->below = p->parked;
  p->parked = body;
}

strand_body *strand_bodies_unpark (strand_seats *p) {
  strand_body *body = p->parked;
  if (body == NULL) return NULL;
  p->parked = body->below;
  body->below = NULL;
  body->state = STRAND_BODY_RUNS;
  return body;
}

static void unlink_parked (strand_seats *p, const strand_body *body) {
  strand_body **at = &p->parked;
  while (*at != NULL && *at != body) at = &(*at)->below;
  if (*at != NULL) *at = body->below;
}

void strand_bodies_leave (strand_seats *p, strand_body *body) {
  if (body->state == STRAND_BODY_GONE) return;
  if (body->state == STRAND_BODY_PARKED) unlink_parked(p, body);
  if (body->state == STRAND_BODY_FAILED && !body->begun) p->unspawned--;
  strand_sleepers_remove(&p->sleepers, &body->sleeper);
  if (p->resumed == body) p->resumed = NULL;
  if (p->called == body) p->called = NULL;
  strand_slice_forget(&p->slice, body);
  body->state = STRAND_BODY_GONE;
  p->bodies--;
}

/* One that is late was counted. */
void strand_bodies_drop (strand_seats *p, strand_body *body) {
  if (body->state == STRAND_BODY_CALLED && body->sleeper.at > 0)
    p->dropped_bodies++;
  strand_bodies_leave(p, body);
}

/*
** Called
*/

bool strand_bodies_may_spawn (const strand_seats *p) {
  return p->bodies < p->local.max_in_flight && p->unspawned == 0;
}

static void set_timer (strand_seats *p, int64_t due_us) {
  p->timer_us = due_us;
  strand_local_remind(&p->local, due_us);
}

/* A timer that is set is not set again: all wait for as long, so none is due
** before it. */
static void await (strand_seats *p, strand_body *body, int64_t due_us) {
  strand_sleepers_add(&p->sleepers, &body->sleeper, due_us);
  if (p->timer_us == 0) set_timer(p, due_us);
}

void strand_bodies_call (strand_seats *p, strand_body *body) {
  p->called = body;
  body->state = STRAND_BODY_CALLED;
  body->missed = false;
  await(p, body, strand_seats_now_us(p) + COME_US);
}

bool strand_bodies_fail (strand_seats *p) {
  strand_body *body = p->called;
  p->called = NULL;
  if (body == NULL || body->state != STRAND_BODY_CALLED) return false;
  strand_sleepers_remove(&p->sleepers, &body->sleeper);
  body->state = STRAND_BODY_FAILED;
  if (!body->begun) p->unspawned++;
  await(p, body, strand_seats_now_us(p) + AGAIN_US);
  return true;
}

void strand_bodies_come (strand_seats *p, strand_body *body) {
  if (body->state == STRAND_BODY_PARKED) unlink_parked(p, body);
  if (body->state == STRAND_BODY_FAILED && !body->begun) p->unspawned--;
  strand_sleepers_remove(&p->sleepers, &body->sleeper);
  if (p->called == body) p->called = NULL;
  body->begun = true;
  body->state = STRAND_BODY_RUNS;
}

static void take_due (strand_seats *p, strand_body *body, strand_late *late,
                      int64_t now_us) {
  strand_sleepers_remove(&p->sleepers, &body->sleeper);
  if (body->state == STRAND_BODY_FAILED) {
    if (body->begun) strand_bodies_park(p, body);
    else strand_bodies_leave(p, body);
  }
  else if (!body->missed) {
    body->missed = true;
    strand_sleepers_add(&p->sleepers, &body->sleeper, now_us + COME_US);
  }
  else if (body->begun) late->woken++;
  else late->spawned++;
}

strand_late strand_bodies_take_late (strand_seats *p, int64_t now_us) {
  strand_late late = { .dropped = p->dropped_bodies };
  strand_sleeper *first;
  p->dropped_bodies = 0;
  if (p->timer_us == 0 || now_us < p->timer_us) return late;
  while ((first = strand_sleepers_first(&p->sleepers)) != NULL
         && first->due_us <= now_us) {
    take_due(p, (void *)((char *)first - offsetof(strand_body, sleeper)),
             &late, now_us);
  }
  set_timer(p, first != NULL ? first->due_us : 0);
  return late;
}

void strand_bodies_check (const strand_seats *p) {
  uint32_t parked = 0;
  for (const strand_body *b = p->parked; b != NULL; b = b->below) {
    assert(b->state == STRAND_BODY_PARKED && b->owner == p);
    assert(b->begun && b->seat == NULL && b->sleeper.at == 0); /* (3) */
    parked++;
  }
  assert(parked + p->unspawned <= p->bodies); /* (2) */
  assert(p->sleepers.count <= p->bodies);
  if (p->called != NULL) {
    assert(p->called->state == STRAND_BODY_CALLED);
    assert(p->called->sleeper.at > 0 || p->called->missed); /* (1) */
  }
  (void)parked;
}
