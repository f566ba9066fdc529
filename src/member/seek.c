/*
** seek.c - a partition goes where the user wants it
**
**   asked for -> restored -> where is that, and is it in the log?
**             -> something has come of it -> sought -> done
**
** librdkafka may ask the leader where the partition begins (auto.offset.reset).
** A seek before that is answered is undone by the answer, and what is between
** passed over (2.0 to 2.15): so what was found waits for the first record, or
** the end, and is asked for once more then.
**
** Until the last of them nothing has moved: what was done stays done, what
** runs is committed as ever, and after a failure strand goes back to where it
** was, also when librdkafka does what it was asked for after all. So a seek
** that failed, or whose answer came too late, has moved nothing. Between
** the last two the partition is not read.
*/
#include "member/seek.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"

#define CHECKED_MOST 64 /* of many that wait, at each turn */

void strand_seeks_init (strand_seeks *s, const strand_owner *owner,
                        const strand_assignment *assignment,
                        strand_positions *positions,
                        strand_reassign *reassign) {
  *s = (strand_seeks){ .owner = owner,
                       .assignment = assignment,
                       .positions = positions,
                       .reassign = reassign };
}

static void refuse (strand_seeks *s, strand_ticket *ticket, const char *code,
                    const char *message) {
  strand_failure failure;
  strand_fail(&failure, code, "%s", message);
  strand_shared_answer(s->owner->consumer, ticket, &failure);
}

static void refuse_kafka (strand_seeks *s, strand_ticket *ticket,
                          rd_kafka_resp_err_t err) {
  char code[48];
  refuse(s, ticket, strand_code_of(err, code, sizeof(code)),
         rd_kafka_err2str(err));
}

static void refuse_memory (strand_seeks *s, strand_ticket *ticket) {
  refuse(s, ticket, "NO_MEMORY", "memory ran out: nothing has moved");
}

/* One of a partition is under way at a time. */
static bool ask (strand_seeks *s, strand_assigned *assigned,
                 strand_call_kind kind, int64_t value, strand_why why,
                 strand_ticket *ticket) {
  assigned->seeking = strand_position_ask(s->positions, assigned, kind, value,
                                          why, ticket);
  if (!assigned->seeking) refuse_memory(s, ticket);
  return assigned->seeking;
}

static void begin (strand_seeks *s, const strand_seek_request *r) {
  static const strand_call_kind kinds[] = {
    [STRAND_SEEK_OFFSET] = STRAND_CALL_WATERMARKS,
    [STRAND_SEEK_TIME] = STRAND_CALL_TIMES,
    [STRAND_SEEK_EARLIEST] = STRAND_CALL_START,
    [STRAND_SEEK_LATEST] = STRAND_CALL_END
  };
  strand_assigned *assigned = strand_assignment_find(s->assignment, r->topic,
                                                     r->partition);
  if (assigned != NULL && r->found) assigned->seeking = false;
  if (assigned != NULL && assigned->no_route) {
    refuse(s, r->ticket, "NO_ROUTE",
           "no route of 'handler' matches this topic");
  }
  else if (assigned == NULL || !strand_position_is_restored(assigned)
           || assigned->leaving) {
    refuse(s, r->ticket, "NOT_ASSIGNED",
           "the partition is not assigned here now");
  }
  else
    ask(s, assigned, kinds[r->kind], r->value, STRAND_WHY_TARGET, r->ticket);
}

void strand_seek_take (strand_seeks *s, strand_seek_request *seeks) {
  strand_seek_request **end = &s->requests, *first = NULL, *r;
  while ((r = seeks) != NULL) {
    seeks = r->next;
    r->next = first;
    first = r;
  }
  while (*end != NULL) end = &(*end)->next;
  *end = first;
}

/* Its caller waits no more. What has not begun then never does: a program
** that tries again and again while the broker is away would leave a queue of
** them, each of which moves the partition when it is back. */
static bool is_given_up (strand_ticket *ticket) {
  return strand_ticket_is_given_up(ticket);
}

static void give_up (strand_seeks *s, strand_ticket *ticket) {
  refuse(s, ticket, "TIMED_OUT", "nobody waits for it any more");
}

static void drop (strand_seeks *s, const strand_seek_request *r) {
  strand_assigned *assigned = strand_assignment_find(s->assignment, r->topic,
                                                     r->partition);
  if (assigned != NULL && r->found) assigned->seeking = false;
  give_up(s, r->ticket);
}

/* It is assigned, and was told to be, but what was done of it is not known
** yet, or it has not begun; or another seek is under way, or others would be
** moved with it at a wrong moment. */
static bool must_wait (strand_seeks *s, const strand_seek_request *r) {
  bool found;
  const strand_assigned *assigned = strand_assignment_find(
    s->assignment, r->topic, r->partition);
  if (assigned == NULL || assigned->leaving
      || s->owner->phase != STRAND_SERVING)
    return false;
  found = r->found && assigned->seeking; /* else it is another epoch */
  return (assigned->seeking && !found)
         || ((!strand_position_is_restored(assigned)
              || strand_position_is_astray(assigned)
              || (found && strand_position_is_unbegun(assigned)))
             && !strand_position_is_stuck(assigned))
         || (strand_position_is_stuck(assigned) && !assigned->no_route
             && strand_reassign_must_wait(s->reassign, assigned));
}

void strand_seek_serve (strand_seeks *s) {
  strand_seek_request **at = &s->requests, *r;
  while ((r = *at) != NULL) {
    bool given_up = is_given_up(r->ticket);
    if (!given_up && must_wait(s, r)) {
      at = &r->next;
      continue;
    }
    *at = r->next;
    if (given_up) drop(s, r);
    else begin(s, r);
    free(r->topic);
    free(r);
  }
}

/*
** Where is that?
*/

static void go (strand_seeks *s, strand_assigned *assigned, int64_t to,
                strand_ticket *ticket) {
  if (!ask(s, assigned, STRAND_CALL_SEEK, to, STRAND_WHY_SEEK, ticket)) return;
  strand_position_hold(assigned);
}

static void refuse_outside (strand_seeks *s, const strand_call *call,
                            int64_t to) {
  const rd_kafka_topic_partition_t *p = &call->list->elems[0];
  strand_failure failure;
  strand_fail(&failure, "OFFSET_OUT_OF_RANGE",
              "%s/%d has offsets from %lld to its end at %lld, and not %lld: "
              "nothing has moved",
              p->topic, (int)p->partition, (long long)call->low,
              (long long)call->high, (long long)to);
  strand_shared_answer(s->owner->consumer, call->arg, &failure);
}

/* -1: it is beyond the last record. */
static int64_t target_of (const strand_call *call) {
  switch (call->kind) {
    case STRAND_CALL_START: return call->low;
    case STRAND_CALL_END: return call->high;
    default: return call->list->elems[0].offset;
  }
}

/* It is first in line, so that those behind it still come later. */
static void wait_for_begin (strand_seeks *s, strand_assigned *assigned,
                            const strand_call *call, int64_t to) {
  const char *topic = strand_partition_topic(assigned->partition);
  strand_seek_request *r = calloc(1, sizeof(*r));
  if (r != NULL) r->topic = strdup(topic);
  if (r == NULL || r->topic == NULL) {
    free(r);
    refuse_memory(s, call->arg);
    return;
  }
  r->partition = strand_partition_index(assigned->partition);
  r->kind = call->kind == STRAND_CALL_START ? STRAND_SEEK_EARLIEST
            : call->kind == STRAND_CALL_END ? STRAND_SEEK_LATEST
                                            : STRAND_SEEK_OFFSET;
  r->value = to;
  r->ticket = call->arg;
  r->found = assigned->seeking = true;
  r->next = s->requests;
  s->requests = r;
}

/* One question about the position is out at a time: this one comes back when
** that is answered. */
static void take_target (strand_seeks *s, strand_assigned *assigned,
                         const strand_call *call) {
  int64_t to = target_of(call);
  strand_call_kind next = STRAND_CALL_TURN;
  if (call->kind == STRAND_CALL_TIMES && to < 0) next = STRAND_CALL_END;
  else if (call->kind == STRAND_CALL_WATERMARKS
           && (to < call->low || to > call->high)) {
    refuse_outside(s, call, to);
    return;
  }
  else if (next == STRAND_CALL_TURN && s->owner->phase == STRAND_SERVING
           && strand_position_is_unbegun(assigned)) {
    wait_for_begin(s, assigned, call, to);
    return;
  }
  else if (!strand_position_is_asked(assigned)) {
    go(s, assigned, to, call->arg);
    return;
  }
  ask(s, assigned, next, to, STRAND_WHY_TARGET, call->arg);
}

/*
** Sought
*/

/* True: it has gone there. */
static bool take_seek (strand_seeks *s, strand_assigned *assigned,
                       const strand_call *call, int64_t now_us) {
  int64_t offset = call->list->elems[0].offset;
  rd_kafka_resp_err_t err = call->err;
  /* without an offset to go on from (auto.offset.reset = error) librdkafka
  ** takes no seek */
  if (err == RD_KAFKA_RESP_ERR__STATE && strand_position_is_stuck(assigned)
      && strand_reassign_one(s->reassign, assigned, offset))
    err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    strand_owner_jumped(s->owner, assigned, "sought",
                        strand_partition_position(assigned->partition),
                        offset);
    return true;
  }
  refuse_kafka(s, call->arg, err);
  strand_position_back(assigned, now_us);
  return false;
}

void strand_seek_arrived (strand_seeks *s, strand_assigned *assigned,
                          const strand_call *call, bool again,
                          int64_t now_us) {
  if (assigned == NULL) { /* the consumer ends */
    refuse_memory(s, call->arg);
    return;
  }
  strand_position_was_sought(assigned);
  if (again) {
    strand_position_place(s->positions, assigned, call->list->elems[0].offset,
                          now_us);
  }
  strand_shared_answer(s->owner->consumer, call->arg, NULL);
}

/* Where something is in a log does not depend on who asked; a seek does. */
bool strand_seek_answer (strand_seeks *s, strand_assigned *assigned,
                         const strand_call *call, int64_t now_us) {
  bool sought = call->why == STRAND_WHY_SEEK;
  rd_kafka_resp_err_t err = call->err;
  if (assigned != NULL) assigned->seeking = false;
  if (err == 0 && call->kind == STRAND_CALL_TIMES) {
    err = call->list->elems[0].err;
  }
  if (assigned == NULL || !strand_position_is_restored(assigned)
      || (sought && assigned->epoch != call->epoch)) {
    refuse(s, call->arg, "NOT_ASSIGNED",
           "the partition was revoked meanwhile");
  }
  else if (sought) return take_seek(s, assigned, call, now_us);
  else if (is_given_up(call->arg)) give_up(s, call->arg);
  else if (err != 0) refuse_kafka(s, call->arg, err);
  else take_target(s, assigned, call);
  return false;
}

void strand_seeks_check (const strand_seeks *s) {
  const strand_seek_request *r = s->requests;
  for (int i = 0; r != NULL && i < CHECKED_MOST; i++) {
    assert(r->topic != NULL && r->ticket != NULL);    /* (1) */
    assert(!r->found || r->kind != STRAND_SEEK_TIME); /* (2) */
    r = r->next;
  }
}
