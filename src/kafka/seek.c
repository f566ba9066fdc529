/*
** seek.c - a partition goes where the user wants it
**
**   asked for -> restored -> where is that, and is it in the log?
**             -> sought -> done
**
** Until the last of them nothing has moved: what was done stays done, what
** runs is committed as ever, and after a failure strand goes back to where it
** was, also when librdkafka does what it was asked for after all. So a seek
** that failed, or whose answer came too late, has moved nothing. Between
** the last two the partition is not read.
*/
#include <stdlib.h>

#include "core/mutant.h"
#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/letters.h"

static void refuse (strand_member *m, strand_ticket *ticket, const char *code,
                    const char *message) {
  strand_failure failure;
  strand_fail(&failure, code, "%s", message);
  strand_shared_answer(m->owner.consumer, ticket, &failure);
}

static void refuse_kafka (strand_member *m, strand_ticket *ticket,
                          rd_kafka_resp_err_t err) {
  char code[48];
  refuse(m, ticket, strand_code_of(err, code, sizeof(code)),
         rd_kafka_err2str(err));
}

static void refuse_memory (strand_member *m, strand_ticket *ticket) {
  refuse(m, ticket, "NO_MEMORY", "memory ran out: nothing has moved");
}

/* One of a partition is under way at a time. */
static bool ask (strand_member *m, strand_tag *tag, strand_call_kind kind,
                 int64_t value, strand_why why, strand_ticket *ticket) {
  tag->seeking = strand_position_ask(m, tag, kind, value, why, ticket);
  if (!tag->seeking) refuse_memory(m, ticket);
  return tag->seeking;
}

static void begin (strand_member *m, const strand_seek_request *r) {
  static const strand_call_kind kinds[] = {
    [STRAND_SEEK_OFFSET] = STRAND_CALL_WATERMARKS,
    [STRAND_SEEK_TIME] = STRAND_CALL_TIMES,
    [STRAND_SEEK_EARLIEST] = STRAND_CALL_START,
    [STRAND_SEEK_LATEST] = STRAND_CALL_END
  };
  strand_tag *tag = strand_assignment_find(&m->assignment, r->topic,
                                           r->partition);
  if (tag != NULL && tag->no_route) {
    refuse(m, r->ticket, "NO_ROUTE",
           "no route of 'handler' matches this topic");
  }
  else if (tag == NULL || !tag->restored || tag->leaving) {
    refuse(m, r->ticket, "NOT_ASSIGNED",
           "the partition is not assigned here now");
  }
  else ask(m, tag, kinds[r->kind], r->value, STRAND_WHY_TARGET, r->ticket);
}

void strand_seek_take (strand_member *m, strand_seek_request *seeks) {
  strand_seek_request **end = &m->seeks.requests, *first = NULL, *r;
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
  return strand_ticket_is_given_up(ticket) && !MUTANT(a_seek_given_up_happens);
}

static void give_up (strand_member *m, strand_ticket *ticket) {
  refuse(m, ticket, "TIMED_OUT", "nobody waits for it any more");
}

/* It is assigned, and was told to be, but what was done of it is not known
** yet; or another seek is under way. */
static bool must_wait (strand_member *m, const strand_seek_request *r) {
  const strand_tag *tag = strand_assignment_find(&m->assignment, r->topic,
                                                 r->partition);
  if (tag == NULL || tag->leaving || m->owner.phase != STRAND_SERVING)
    return false;
  return tag->seeking || (!tag->restored && !tag->stuck);
}

void strand_seek_serve (strand_member *m) {
  strand_seek_request **at = &m->seeks.requests, *r;
  while ((r = *at) != NULL) {
    bool given_up = is_given_up(r->ticket);
    if (!given_up && must_wait(m, r)) {
      at = &r->next;
      continue;
    }
    *at = r->next;
    if (given_up) give_up(m, r->ticket);
    else begin(m, r);
    free(r->topic);
    free(r);
  }
}

/*
** Where is that?
*/

static void go (strand_member *m, strand_tag *tag, int64_t to,
                strand_ticket *ticket) {
  if (!ask(m, tag, STRAND_CALL_SEEK, to, STRAND_WHY_SEEK, ticket)) return;
  if (!tag->checking) tag->target = strand_position_home(tag);
  tag->checking = tag->asked = true;
}

static void refuse_outside (strand_member *m, const strand_call *call,
                            int64_t to) {
  const rd_kafka_topic_partition_t *p = &call->list->elems[0];
  strand_failure failure;
  strand_fail(&failure, "OFFSET_OUT_OF_RANGE",
              "%s/%d has offsets from %lld to its end at %lld, and not %lld: "
              "nothing has moved",
              p->topic, (int)p->partition, (long long)call->low,
              (long long)call->high, (long long)to);
  strand_shared_answer(m->owner.consumer, call->arg, &failure);
}

/* -1: it is beyond the last record. */
static int64_t target_of (const strand_call *call) {
  switch (call->kind) {
    case STRAND_CALL_START: return call->low;
    case STRAND_CALL_END: return call->high;
    default: return call->list->elems[0].offset;
  }
}

/* One question about the position is out at a time: this one comes back when
** that is answered. */
static void take_target (strand_member *m, strand_tag *tag,
                         const strand_call *call) {
  int64_t to = target_of(call);
  strand_call_kind next = STRAND_CALL_TURN;
  if (call->kind == STRAND_CALL_TIMES && to < 0) next = STRAND_CALL_END;
  else if (call->kind == STRAND_CALL_WATERMARKS
           && (to < call->low || to > call->high)
           && !MUTANT(a_seek_beyond_the_end_is_believed)) {
    refuse_outside(m, call, to);
    return;
  }
  else if (!tag->checking || !tag->asked) {
    go(m, tag, to, call->arg);
    return;
  }
  ask(m, tag, next, to, STRAND_WHY_TARGET, call->arg);
}

/*
** Sought
*/

static bool assign_one_again (strand_member *m, strand_tag *tag,
                              int64_t offset) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_error_t *error;
  /* which this would be taken for the answer of */
  if (m->membership.rebalancing) return false;
  list = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(list,
                                    strand_partition_topic(tag->partition),
                                    strand_partition_index(tag->partition))
    ->offset = offset;
  rd_kafka_queue_forward(tag->queue, NULL);
  error = rd_kafka_incremental_unassign(m->owner.client, list);
  if (error == NULL)
    error = rd_kafka_incremental_assign(m->owner.client, list);
  rd_kafka_topic_partition_list_destroy(list);
  if (error == NULL) return true;
  rd_kafka_error_destroy(error);
  return false;
}

/* Without an offset to go on from (auto.offset.reset = error) librdkafka
** takes no seek; only a new assign with offsets recovers. */
static bool assign_again (strand_member *m, strand_tag *target,
                          int64_t offset) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_resp_err_t err;
  if (m->membership.cooperative) return assign_one_again(m, target, offset);
  list = rd_kafka_topic_partition_list_new((int)m->assignment.count);
  for (size_t i = 0; i < m->assignment.count; i++) {
    strand_tag *tag = m->assignment.tags[i];
    int64_t position;
    if (tag->partition == NULL) continue;
    position = strand_partition_position(tag->partition);
    rd_kafka_topic_partition_list_add(list,
                                      strand_partition_topic(tag->partition),
                                      strand_partition_index(tag->partition))
      ->offset = tag == target   ? offset
                 : position >= 0 ? position
                                 : RD_KAFKA_OFFSET_INVALID;
    rd_kafka_queue_forward(tag->queue, NULL);
    tag->more = true;
  }
  err = rd_kafka_assign(m->owner.client, list);
  rd_kafka_topic_partition_list_destroy(list);
  return err == RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void arrive (strand_member *m, strand_tag *tag, int64_t offset,
                    strand_ticket *ticket, int64_t now_us) {
  bool again = tag->again; /* a rebalance came between */
  strand_owner_jumped(&m->owner, tag, "sought",
                      strand_partition_position(tag->partition), offset);
  tag = strand_group_restart(m, tag, offset);
  if (tag == NULL) { /* the consumer ends */
    refuse_memory(m, ticket);
    return;
  }
  tag->stuck = false;
  tag->sought = tag->more = true;
  if (again) strand_position_place(m, tag, offset, now_us);
  strand_shared_answer(m->owner.consumer, ticket, NULL);
}

static void take_seek (strand_member *m, strand_tag *tag,
                       const strand_call *call, int64_t now_us) {
  int64_t offset = call->list->elems[0].offset;
  rd_kafka_resp_err_t err = call->err;
  if (err == RD_KAFKA_RESP_ERR__STATE && tag->stuck
      && assign_again(m, tag, offset))
    err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    arrive(m, tag, offset, call->arg, now_us);
    return;
  }
  refuse_kafka(m, call->arg, err);
  strand_position_back(tag, now_us);
}

/* Where something is in a log does not depend on who asked; a seek does. */
void strand_seek_answer (strand_member *m, strand_tag *tag,
                         const strand_call *call, int64_t now_us) {
  bool sought = call->why == STRAND_WHY_SEEK;
  rd_kafka_resp_err_t err = call->err;
  if (tag != NULL) tag->seeking = false;
  if (err == 0 && call->kind == STRAND_CALL_TIMES) {
    err = call->list->elems[0].err;
  }
  if (tag == NULL || !tag->restored || (sought && tag->epoch != call->epoch)) {
    refuse(m, call->arg, "NOT_ASSIGNED",
           "the partition was revoked meanwhile");
  }
  else if (sought) take_seek(m, tag, call, now_us);
  else if (is_given_up(call->arg)) give_up(m, call->arg);
  else if (err != 0) refuse_kafka(m, call->arg, err);
  else take_target(m, tag, call);
}
