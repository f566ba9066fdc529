/*
** outage.c - brokers answer, and yet the group cannot be joined, or a
** partition's leader is away
**
** librdkafka tells nothing of either: it tries again. That no assignment
** comes is known without it; of leaders it is asked (leaders.c) when there is
** a reason: it has looked for something (signs.c), a broker went away, or an
** assignment is some seconds old.
*/
#include "member/outage.h"

#include <assert.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "member/partition_names.h"

#define ASKS_SOON_US 5000000 /* to join, once it knows the coordinator */
/* In a join that succeeds: that a first one gets an id, that an older id is
** not known, and the answer after which SyncGroup is sent. */
#define JOIN_ANSWERS_MAX 3
#define VERIFY_US 1000000       /* librdkafka may find it meanwhile */
#define ASK_LEADERS_US 5000000  /* not more often */
#define ASK_AGAIN_US 1000000    /* without memory */
#define SEEK_BROKER_US 10000000 /* while none answers, told or not */
#define HEARD_LATELY_US 5000000 /* so long "brokers answer" is said */
#define ASK_EARLY_US 5000000    /* an answer may come so late, and count */

void strand_outage_init (strand_outage *o, const strand_owner *owner,
                         const strand_assignment *assignment,
                         strand_topics *topics, strand_membership *membership,
                         strand_signs *signs, strand_problem *problem) {
  *o = (strand_outage){ .owner = owner,
                        .assignment = assignment,
                        .topics = topics,
                        .membership = membership,
                        .signs = signs,
                        .problem = problem };
}

/*
** Health
*/

/* From 'at' on, which goes behind it; NULL: there is none. */
static const strand_assigned *next_leaderless (const strand_outage *o,
                                               size_t *at) {
  while (*at < o->assignment->count) {
    const strand_assigned *assigned = o->assignment->partitions[(*at)++];
    if (assigned->partition != NULL && assigned->no_leader) return assigned;
  }
  return NULL;
}

/* What is said of all of them, in 'names'. */
static const char *name_leaderless (const strand_outage *o,
                                    strand_partition_names *names) {
  const strand_assigned *assigned;
  size_t at = 0;
  *names = (strand_partition_names){ .count = 0 };
  while ((assigned = next_leaderless(o, &at)) != NULL)
    strand_partition_names_add(names, assigned->partition);
  return strand_partition_names_end(names);
}

static void put (const strand_outage *o, strand_problem_kind kind,
                 const strand_failure *failure, bool clears) {
  if (failure != NULL || clears) strand_problem_set(o->problem, kind, failure);
}

static void set_reported (strand_failure *reported, const char *code,
                          const char *what, const strand_heard *cause) {
  strand_fail(reported, code, "%s%s%s", what, cause->err != 0 ? ": " : "",
              cause->err != 0 ? cause->text : "");
}

static void publish_unreachable (const strand_outage *o, bool clears) {
  strand_failure problem;
  if (o->unreachable_reported) {
    set_reported(&problem, "UNREACHABLE", "no broker answers",
                 &o->unreachable_cause);
  }
  put(o, STRAND_PROBLEM_UNREACHABLE, o->unreachable_reported ? &problem : NULL,
      clears);
}

static void publish_join (const strand_outage *o, bool clears) {
  strand_failure problem;
  if (o->cannot_join) {
    strand_fail(&problem, "CANNOT_JOIN", "%s", o->join_reported.message);
  }
  put(o, STRAND_PROBLEM_CANNOT_JOIN, o->cannot_join ? &problem : NULL, clears);
}

static void publish_leaders (const strand_outage *o, bool clears) {
  strand_partition_names names;
  strand_failure problem;
  if (o->no_leader) {
    strand_fail(&problem, "NO_LEADER", "no leader answers for %s",
                name_leaderless(o, &names));
  }
  put(o, STRAND_PROBLEM_NO_LEADER, o->no_leader ? &problem : NULL, clears);
}

/* NULL: nothing is known of why it is not a member, or it is one. */
static const char *why_not_assigned (const strand_outage *o) {
  if (o->membership->joined) return NULL;
  if (o->waits) return "it waits for the group's other members to join";
  if (o->join_cause.err != 0) return o->join_cause.text;
  return o->unreachable_cause.err != 0 ? o->unreachable_cause.text : NULL;
}

static void publish_assigned (const strand_outage *o, bool clears) {
  const char *why = why_not_assigned(o);
  strand_failure problem;
  if (why != NULL) {
    strand_fail(&problem, "NOT_ASSIGNED", "not a member of the group yet: %s",
                why);
  }
  put(o, STRAND_PROBLEM_NOT_ASSIGNED, why != NULL ? &problem : NULL, clears);
}

static void publish (const strand_outage *o, bool clears) {
  publish_unreachable(o, clears);
  publish_join(o, clears);
  publish_leaders(o, clears);
  publish_assigned(o, clears);
}

/* What is there comes before what is over goes: health() never sees nothing
** between two of them. */
void strand_outage_publish (const strand_outage *o) {
  publish(o, false);
  publish(o, true);
}

static void tell (const strand_outage *o, const char *type, const char *code,
                  const char *reason, const strand_partition *p) {
  strand_outage_publish(o);
  strand_owner_tell(o->owner, type, code, reason,
                    p != NULL ? strand_partition_topic(p) : NULL,
                    p != NULL ? strand_partition_index(p) : -1);
}

/*
** Signs of life, and of others
*/

void strand_outage_reached (strand_outage *o, int64_t now_us) {
  o->reached_us = now_us;
  o->unreachable = (strand_alert){ 0 };
  o->unreachable_cause.err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (o->unreachable_reported
      && o->join.since_us != 0) { /* it could not join before */
    o->join = (strand_alert){ 0 };
    strand_outage_rejoins(o, now_us);
  }
  o->unreachable_reported = false;
}

void strand_outage_joined (strand_outage *o, int64_t now_us) {
  o->join = o->silent = (strand_alert){ 0 };
  o->join_cause.err = o->dial_cause.err = RD_KAFKA_RESP_ERR_NO_ERROR;
  o->cannot_join = o->waits = false;
  strand_signs_joined(o->signs);
  strand_outage_reached(o, now_us);
  strand_outage_verify(o, now_us + STRAND_ALERT_PATIENCE_US);
}

void strand_outage_rejoins (strand_outage *o, int64_t now_us) {
  strand_alert_begin(&o->join, now_us, STRAND_ALERT_PATIENCE_US);
}

void strand_outage_hear_join (strand_outage *o, rd_kafka_resp_err_t err,
                              const char *text) {
  strand_heard_note(&o->join_cause, err, text);
  publish_assigned(o, true); /* before it is told */
}

void strand_outage_hear_unreachable (strand_outage *o, rd_kafka_resp_err_t err,
                                     const char *text, bool of_topic,
                                     int64_t now_us) {
  strand_alert_begin(&o->unreachable, now_us, STRAND_ALERT_PATIENCE_US);
  o->blamed_us = now_us;
  if (!of_topic /* that all are down says less */
      && (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
          || o->unreachable_cause.err == 0)) {
    strand_heard_note(&o->unreachable_cause, err, text);
  }
  if (strand_signs_is_coordinator(text)) {
    strand_heard_note(&o->dial_cause, err, text);
  }
  publish_assigned(o, true);
  strand_outage_verify(o, now_us);
}

bool strand_outage_tells (const strand_outage *o, rd_kafka_resp_err_t err) {
  return o->cannot_join && o->join_cause.err == err;
}

/*
** Is there any broker? Whatever one answers says so. All being silent, they
** are asked: for less time than a slow one may take, and from librdkafka 2.3
** on a question that is given up ends a connection.
*/

static bool awaits_group (const strand_outage *o) {
  return !o->membership->joined || o->join.since_us != 0;
}

/* The silence began with the last answer; or there is none: no error came
** after it, and no group is waited for. */
static void take_answers (strand_outage *o) {
  int64_t heard_us = atomic_load(&o->signs->heard_us);
  strand_heard cause = o->unreachable_cause;
  bool blamed = o->blamed_us > heard_us;
  int64_t since_us = o->unreachable.since_us;
  if (since_us == 0 || heard_us <= since_us) return;
  strand_outage_reached(o, heard_us);
  if (!blamed && !awaits_group(o)) return;
  strand_alert_begin(&o->unreachable, heard_us, STRAND_ALERT_PATIENCE_US);
  if (blamed) o->unreachable_cause = cause;
}

/* Asked more often than told: its end is seen in time. While the answer to a
** join is waited for nothing else is asked, and a slow broker answers after the
** question was given up: so it is put long before it is told. */
static int64_t reach_due (const strand_outage *o) {
  if (o->unreachable_reported) return o->sought_us + SEEK_BROKER_US;
  if (atomic_load(&o->signs->joining)
      && o->sought_us < o->unreachable.since_us)
    return o->unreachable.since_us + ASK_EARLY_US;
  return o->unreachable.tell_us;
}

static int64_t tick_reach (strand_outage *o, int64_t now_us) {
  strand_call *call;
  int64_t due_us;
  if (o->unreachable_reported || strand_alert_is_due(&o->unreachable, now_us))
    take_answers(o);
  if (awaits_group(o))
    strand_alert_begin(&o->unreachable, now_us, STRAND_ALERT_PATIENCE_US);
  if (o->unreachable.since_us == 0 || o->asking_reach) return INT64_MAX;
  due_us = reach_due(o);
  if (now_us < due_us) return due_us;
  call = strand_call_new(STRAND_CALL_REACH, NULL);
  if (call == NULL) return now_us + ASK_AGAIN_US;
  o->asking_reach = true;
  o->sought_us = now_us;
  strand_helper_leave(o->owner->helper, call);
  return INT64_MAX;
}

void strand_outage_reach (strand_outage *o, const strand_call *call,
                          int64_t now_us) {
  strand_failure reported;
  char code[48];
  o->asking_reach = false;
  if (call->err == 0) strand_outage_reached(o, now_us);
  else take_answers(o); /* to other requests, meanwhile */
  if (!strand_alert_take_due(&o->unreachable, now_us)) return;
  o->unreachable_reported = true;
  set_reported(&reported, strand_code_of(call->err, code, sizeof(code)),
               "no broker answers", &o->unreachable_cause);
  tell(o, "unreachable", reported.code, reported.message, NULL);
}

/*
** The group
*/

static int64_t later (int64_t a, int64_t b) {
  return a > b ? a : b;
}

/* The coordinator is there, and librdkafka, which asks it each second, asks
** it nothing. */
static bool is_silent (const strand_outage *o, int64_t now_us) {
  const strand_signs *s = o->signs;
  int64_t since_us;
  if (!atomic_load(&s->coordinator_up) || atomic_load(&s->joining))
    return false;
  since_us = later(o->join.since_us, later(atomic_load(&s->join_us),
                                           atomic_load(&s->connect_us)));
  return now_us >= since_us + ASKS_SOON_US;
}

/* It may wait for an answer about its topics that does not come: so another
** is asked for. Without a topic it does not join, and that is known. */
static void tick_silence (strand_outage *o, int64_t now_us) {
  if (!is_silent(o, now_us) || strand_topics_all_missing(o->topics)) {
    o->silent = (strand_alert){ 0 };
    return;
  }
  strand_alert_begin(&o->silent, now_us, 0);
  if (!strand_alert_take_due(&o->silent, now_us)) return;
  strand_log_printf(o->owner->consumer->notifier.log, STRAND_LOG_INFO,
                    "strand",
                    "member %u: no request to join is sent: asks for its"
                    " topics again",
                    o->owner->index);
  strand_topics_refresh(o->topics);
}

/* It answers again and again, and none of it lets the member join. */
static bool is_refused (const strand_outage *o) {
  const strand_signs *s = o->signs;
  return atomic_load(&s->coordinator_up)
         && atomic_load(&s->join_us) >= o->join.since_us
         && atomic_load(&s->answers) > JOIN_ANSWERS_MAX;
}

/* What is known of why no assignment comes. False: it may well come, when
** the group's other members have joined, or an answer has just come and is
** acted upon. */
static bool find_why (strand_outage *o, int64_t now_us) {
  const strand_signs *s = o->signs;
  strand_failure *reported = &o->join_reported;
  static const strand_heard none = { 0 };
  char code[48];
  if (o->join_cause.err != 0) {
    set_reported(reported,
                 strand_code_of(o->join_cause.err, code, sizeof(code)),
                 "the group cannot be joined", &o->join_cause);
  }
  else if (atomic_load(&s->joining)) return false;
  else if (is_silent(o, now_us)) {
    set_reported(reported, "JOIN_NOT_SENT",
                 "the group's coordinator answers, and librdkafka does not"
                 " ask it to join",
                 &none);
  }
  else if (is_refused(o)) {
    set_reported(reported, "JOIN_REFUSED",
                 "the group's coordinator answers, and does"
                 " not let this member join",
                 &none);
  }
  else if (atomic_load(&s->coordinator_up)) return false;
  else if (atomic_load(&s->connect_us) >= o->join.since_us) {
    if (o->dial_cause.err == 0 /* just dialled */
        && now_us < atomic_load(&s->connect_us) + ASKS_SOON_US)
      return false;
    set_reported(reported, "COORDINATOR_UNREACHABLE",
                 "the group's coordinator does not answer", &o->dial_cause);
  }
  else if (atomic_load(&s->found_us) >= o->join.since_us) {
    set_reported(reported, "COORDINATOR_NOT_AVAILABLE",
                 "brokers answer, and none knows the group's coordinator",
                 &none);
  }
  else {
    set_reported(reported, "COORDINATOR_NOT_AVAILABLE",
                 "no broker says who the group's coordinator is", &none);
  }
  return true;
}

static bool brokers_answer (const strand_outage *o, int64_t now_us) {
  int64_t heard_us = later(o->reached_us, atomic_load(&o->signs->heard_us));
  return !o->unreachable_reported && heard_us > o->join.since_us
         && now_us <= heard_us + HEARD_LATELY_US;
}

static int64_t tick_join (strand_outage *o, int64_t now_us) {
  if (o->owner->phase != STRAND_SERVING) return INT64_MAX;
  if (!o->membership->joined) strand_outage_rejoins(o, now_us);
  if (o->join.since_us == 0) return INT64_MAX;
  tick_silence(o, now_us); /* also looked at in a second */
  if (now_us < o->join.tell_us) return o->join.tell_us;
  if (!brokers_answer(o, now_us)) return INT64_MAX;
  if (strand_topics_all_missing(o->topics)) return INT64_MAX; /* was told */
  /* it may have been one until the last revoke */
  strand_membership_leave(o->membership);
  if (!find_why(o, now_us)) {
    if (atomic_load(&o->signs->joining)) o->waits = true;
    return INT64_MAX; /* looked at again in a second */
  }
  o->waits = false;
  strand_alert_put_off(&o->join, now_us);
  o->cannot_join = true;
  tell(o, "join_failed", o->join_reported.code, o->join_reported.message,
       NULL);
  return o->join.tell_us;
}

/*
** Leaders
*/

void strand_outage_verify (strand_outage *o, int64_t now_us) {
  int64_t at_us = now_us + VERIFY_US;
  if (o->asked_us != 0 && at_us < o->asked_us + ASK_LEADERS_US) {
    at_us = o->asked_us + ASK_LEADERS_US;
  }
  if (o->verify_us == 0 || at_us < o->verify_us) o->verify_us = at_us;
}

static void take_leader (strand_outage *o, strand_assigned *assigned,
                         rd_kafka_resp_err_t err) {
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_PASSING: /* not known */ return;
    case STRAND_ERROR_UNREACHABLE:
    case STRAND_ERROR_LEADER:
      if (!assigned->no_leader) o->leader_err = err;
      assigned->no_leader = true;
      return;
    default: assigned->no_leader = false;
  }
}

void strand_outage_leaders (strand_outage *o, const strand_call *call,
                            int64_t now_us) {
  size_t at = 0;
  o->asking_leaders = false;
  if (call->err != 0) {
    strand_alert_begin(&o->unreachable, now_us, STRAND_ALERT_PATIENCE_US);
    strand_outage_verify(o, now_us);
    return;
  }
  for (int i = 0; i < call->list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &call->list->elems[i];
    strand_assigned *assigned = strand_assignment_find(o->assignment, p->topic,
                                                       p->partition);
    if (assigned == NULL || assigned->leaving) continue;
    take_leader(o, assigned, p->err);
  }
  if (next_leaderless(o, &at) != NULL) strand_outage_verify(o, now_us);
}

static bool ask_leaders (strand_outage *o, int64_t now_us) {
  rd_kafka_topic_partition_list_t *list;
  strand_call *call;
  list = rd_kafka_topic_partition_list_new((int)o->assignment->count);
  for (size_t i = 0; i < o->assignment->count; i++) {
    const strand_partition *p = o->assignment->partitions[i]->partition;
    if (p == NULL || o->assignment->partitions[i]->leaving) continue;
    rd_kafka_topic_partition_list_add(list, strand_partition_topic(p),
                                      strand_partition_index(p));
  }
  if (list->cnt == 0) {
    rd_kafka_topic_partition_list_destroy(list);
    return true;
  }
  call = strand_call_new(STRAND_CALL_LEADERS, list);
  if (call == NULL) return false;
  o->asking_leaders = true;
  o->asked_us = now_us;
  strand_helper_leave(o->owner->helper, call);
  return true;
}

static void tell_leaders (strand_outage *o, int64_t now_us) {
  size_t at = 0;
  const strand_assigned *first = next_leaderless(o, &at);
  strand_partition_names names;
  char code[48], reason[sizeof(names.text) + 32];
  if (first == NULL) {
    o->leaders = (strand_alert){ 0 };
    o->no_leader = false;
    return;
  }
  strand_alert_begin(&o->leaders, o->asked_us, STRAND_ALERT_PATIENCE_US);
  if (o->unreachable_reported || !strand_alert_take_due(&o->leaders, now_us))
    return;
  o->no_leader = true;
  snprintf(reason, sizeof(reason), "no leader answers for %s",
           name_leaderless(o, &names));
  tell(o, "leader_missing", strand_code_of(o->leader_err, code, sizeof(code)),
       reason, first->partition);
}

static int64_t tick_leaders (strand_outage *o, int64_t now_us) {
  unsigned metadata = atomic_load(&o->signs->metadata);
  if (o->owner->phase != STRAND_SERVING) return INT64_MAX;
  if (metadata != o->metadata_seen) strand_outage_verify(o, now_us);
  o->metadata_seen = metadata;
  tell_leaders(o, now_us);
  if (o->asking_leaders || o->verify_us == 0) return INT64_MAX;
  if (now_us < o->verify_us) return o->verify_us;
  o->verify_us = ask_leaders(o, now_us) ? 0 : now_us + ASK_AGAIN_US;
  return INT64_MAX;
}

int64_t strand_outage_tick (strand_outage *o, int64_t now_us) {
  int64_t reach = tick_reach(o, now_us);
  int64_t join = tick_join(o, now_us);
  int64_t leaders = tick_leaders(o, now_us);
  atomic_store(&o->signs->probing, o->asking_leaders);
  strand_outage_publish(o);
  if (join < reach) reach = join;
  return leaders < reach ? leaders : reach;
}

void strand_outage_check (const strand_outage *o) {
  assert(!o->unreachable_reported || o->unreachable.since_us != 0); /* (1) */
  assert(!o->cannot_join || o->join.since_us != 0);                 /* (2) */
  assert(!o->no_leader || o->leaders.since_us != 0);                /* (3) */
  (void)o;
}
