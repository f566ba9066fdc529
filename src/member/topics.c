/*
** topics.c - what a member subscribes to, and what is wrong with it
**
** What is wrong with one is on the list of topic_problems.h. After each
** assignment the group is asked who has what (subscription.h). What nobody has
** is subscribed to again, after 1, 2, 4 s and so on: by one member, who leaves
** and joins anew. A member that stays would change nothing unless it led the
** group: then it is enough that it joins again. The others wait their turn,
** should the first not do it.
**
** A member for which nothing is left costs memory, threads and connections. It
** says so when it has been idle for longer than a member that has crashed, or
** is replaced, keeps its place.
*/
#include "member/topics.h"

#include <assert.h>
#include <stdio.h>

#include "base/clock.h"
#include "kafka/errors.h"

#define TOPICS_FIRST_US 1000000
#define TOPICS_MOST_US 10000000
#define OWNERS_FIRST_US 1000000
#define OWNERS_LATE_US 5000000  /* of assignments that follow one another */
#define OWNERS_MOST_US 60000000 /* from one question to the next */
#define TRY_MOST_US 300000000   /* each try is a rebalance of the group */
#define TURN_US 3000000         /* from one member's turn to the next's */
#define HANDED_ON_US 15000000   /* cooperative: a partition between two */
#define AGREED_US 10000000      /* until all brokers know a new topic */
#define ASKED_A_SECOND 50       /* members of a group that ask about it */
#define IDLE_LATE_US 5000000 /* beyond a session: no crashed member's place */

void strand_topics_init (strand_topics *t, const strand_owner *owner,
                         const strand_assignment *assignment,
                         const strand_membership *membership,
                         strand_known_errors *known_errors,
                         strand_problem *problem) {
  *t = (strand_topics){ .owner = owner,
                        .assignment = assignment,
                        .membership = membership,
                        .known_errors = known_errors,
                        .owners_us = INT64_MAX,
                        .owners_wait_us = OWNERS_FIRST_US };
  strand_topic_problems_init(&t->topic_problems, owner, problem);
}

/*
** Missing
*/

void strand_topics_missing (strand_topics *t, const char *topic,
                            int64_t now_us) {
  bool known = strand_topic_problems_find(&t->topic_problems, topic) != NULL;
  strand_topic_problems_missing(&t->topic_problems, topic, now_us);
  if (!known) t->due_us = now_us + TOPICS_FIRST_US;
}

bool strand_topics_all_missing (const strand_topics *t) {
  return strand_topic_problems_count(&t->topic_problems, STRAND_TOPIC_MISSING)
         >= (size_t)t->owner->consumer->settings.topics->cnt;
}

/* The longer none was new among the missing, the rarer. */
static int64_t topics_wait (const strand_topics *t, int64_t now_us) {
  int64_t wait = TOPICS_MOST_US;
  for (const strand_topic_problem *e =
         strand_topic_problems_first(&t->topic_problems);
       e != NULL; e = e->next) {
    int64_t own = (now_us - e->alert.since_us) / 8;
    if (e->kind == STRAND_TOPIC_MISSING && own < wait) wait = own;
  }
  return wait < TOPICS_FIRST_US ? TOPICS_FIRST_US : wait;
}

static bool is_among (const strand_topics *t,
                      const struct rd_kafka_metadata *topics,
                      const char *name) {
  const strand_subscription *s = t->owner->consumer->settings.subscription;
  for (int i = 0; i < topics->topic_cnt; i++) {
    const struct rd_kafka_metadata_topic *found = &topics->topics[i];
    if (found->err != 0 || found->partition_cnt <= 0) continue;
    if (name[0] == '^' ? strand_subscription_finds(s, name, found->topic)
                       : strcmp(found->topic, name) == 0)
      return true;
  }
  return false;
}

static void ask_owners_soon (strand_topics *t, int64_t now_us) {
  if (!strand_subscription_is_watched(
        t->owner->consumer->settings.subscription))
    return;
  if (t->owners_us > now_us + OWNERS_FIRST_US) {
    t->owners_us = now_us + OWNERS_FIRST_US;
  }
}

/* One that is found is on the list until it is known to be somebody's. */
static void note_found (strand_topics *t,
                        const struct rd_kafka_metadata *topics,
                        int64_t now_us) {
  const strand_topic_problem *e = strand_topic_problems_first(
    &t->topic_problems);
  while (e != NULL) {
    bool found = e->kind == STRAND_TOPIC_MISSING
                 && is_among(t, topics, e->name);
    if (found && t->assigned_us != 0) ask_owners_soon(t, now_us);
    e = found ? strand_topic_problems_found(&t->topic_problems, e) : e->next;
  }
}

void strand_topics_listed (strand_topics *t, const strand_call *call,
                           int64_t now_us) {
  t->asking = false;
  if (call->err == 0 && call->topics != NULL) {
    note_found(t, call->topics, now_us);
  }
  t->due_us = now_us + topics_wait(t, now_us);
}

/* A join waits for what one broker was asked about its topics. When that one
** goes away then, librdkafka (2.0 to 2.8) asks it again and again, until it is
** back or topic.metadata.refresh.interval.ms is over, and takes a new
** subscription no sooner. An answer about all topics ends that wait. */
void strand_topics_refresh (strand_topics *t) {
  strand_call *call;
  if (t->asking) return;
  call = strand_call_new(
    STRAND_CALL_TOPICS,
    rd_kafka_topic_partition_list_copy(t->owner->consumer->settings.topics));
  if (call == NULL) return;
  call->low = 1; /* also when none of them exists */
  t->asking = true;
  strand_helper_leave(t->owner->helper, call);
}

static void ask_topics (strand_topics *t, int64_t now_us) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  strand_call *call;
  for (const strand_topic_problem *e =
         strand_topic_problems_first(&t->topic_problems);
       e != NULL; e = e->next) {
    if (e->kind != STRAND_TOPIC_MISSING) continue;
    rd_kafka_topic_partition_list_add(list, e->name, RD_KAFKA_PARTITION_UA);
  }
  t->due_us = now_us + TOPICS_FIRST_US;
  if (list->cnt == 0) {
    rd_kafka_topic_partition_list_destroy(list);
    return;
  }
  call = strand_call_new(STRAND_CALL_TOPICS, list);
  if (call == NULL) return;
  t->asking = true;
  strand_helper_leave(t->owner->helper, call);
}

/*
** No route
*/

void strand_topics_no_route (strand_topics *t, const char *topic,
                             int64_t now_us) {
  strand_topic_problems_no_route(&t->topic_problems, topic, now_us);
}

static bool is_held (const strand_topics *t, const char *topic) {
  for (size_t i = 0; i < t->assignment->count; i++) {
    const strand_partition *p = t->assignment->partitions[i]->partition;
    if (p != NULL && strcmp(strand_partition_topic(p), topic) == 0) {
      return true;
    }
  }
  return false;
}

/* What this member has is missing no more; of what it has not, the lack of a
** route is over. */
static void drop_settled (strand_topics *t) {
  const strand_topic_problem *e = strand_topic_problems_first(
    &t->topic_problems);
  while (e != NULL) {
    bool unrouted = e->kind == STRAND_TOPIC_NO_ROUTE;
    bool partly = e->kind == STRAND_TOPIC_UNASSIGNED
                  && e->owned > 0; /* of which the group knows */
    bool settled = !partly && is_held(t, e->name) != unrouted;
    e = settled ? strand_topic_problems_drop(&t->topic_problems, e) : e->next;
  }
}

/*
** Idle
*/

static bool has_some (const strand_topics *t) {
  for (size_t i = 0; i < t->assignment->count; i++) {
    if (t->assignment->partitions[i]->partition != NULL) return true;
  }
  return false;
}

static void note_assigned (strand_topics *t, int64_t now_us) {
  if (has_some(t)) t->idle_us = 0;
  else if (t->idle_us == 0) t->idle_us = now_us;
}

static void tell_idle (strand_topics *t, const strand_owners *owners) {
  char text[192];
  int64_t partitions = 0;
  for (int i = 0; i < owners->topics->cnt; i++) {
    partitions += owners->topics->elems[i].partition;
  }
  if (partitions == 0 || owners->members == 0) return;
  snprintf(text, sizeof(text),
           "no partition is left for it: the group has %zu members, and the "
           "topics have %lld partition%s",
           owners->members, (long long)partitions, partitions == 1 ? "" : "s");
  t->idle_reported = true;
  strand_owner_tell(t->owner, "member_idle", "MEMBER_IDLE", text, NULL, -1);
}

/* Everything is somebody's. */
static void tell_if_idle (strand_topics *t, const strand_owners *owners,
                          int64_t now_us) {
  int64_t due_us = t->idle_us + IDLE_LATE_US
                   + strand_subscription_session_us(
                     t->owner->consumer->settings.subscription);
  if (t->idle_us == 0 || t->idle_reported) return;
  if (now_us >= due_us) tell_idle(t, owners);
  else if (due_us < t->owners_us) t->owners_us = due_us;
}

/*
** Nobody's
*/

void strand_topics_subscribe (strand_topics *t) {
  rd_kafka_resp_err_t err;
  char code[48];
  err = rd_kafka_subscribe(t->owner->client,
                           t->owner->consumer->settings.topics);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  strand_shared_end(t->owner->consumer, STRAND_CLOSE_NOW,
                    strand_code_of(err, code, sizeof(code)),
                    rd_kafka_err2str(err));
}

void strand_topics_assigned (strand_topics *t, int64_t now_us) {
  int64_t spread = (int64_t)t->group_size * 1000000 / ASKED_A_SECOND;
  drop_settled(t);
  note_assigned(t, now_us);
  strand_topic_problems_publish(&t->topic_problems);
  t->assignments++;
  t->assigned_us = now_us;
  t->turn_us = 0;
  t->owners_us = INT64_MAX;
  if (!strand_subscription_is_watched(
        t->owner->consumer->settings.subscription))
    return;
  if (t->unseen_us == 0) t->unseen_us = now_us;
  t->owners_us = now_us; /* at once, or one after another would put it off */
  if (now_us - t->unseen_us < OWNERS_LATE_US + spread) {
    t->owners_us += OWNERS_FIRST_US;
    if (spread > 0) t->owners_us += now_us % spread;
  }
}

/* Until the next assignment nobody has anything. */
void strand_topics_revoked (strand_topics *t) {
  t->assignments++;
  t->owners_us = INT64_MAX;
}

static void ask_owners (strand_topics *t, int64_t now_us) {
  strand_call *call = strand_call_new(STRAND_CALL_OWNERS, NULL);
  t->owners_us = now_us + OWNERS_FIRST_US;
  if (call == NULL) return;
  call->epoch = t->assignments;
  call->subscription = t->owner->consumer->settings.subscription;
  call->given_up = &t->owner->ending;
  t->asking_owners = true;
  t->asked_owners_us = now_us;
  strand_helper_leave(t->owner->helper, call);
}

/* Somebody's, or gone: nothing is wrong with it any more. */
static void drop_owned (strand_topics *t,
                        const rd_kafka_topic_partition_list_t *topics) {
  for (int i = 0; i < topics->cnt; i++) {
    const rd_kafka_topic_partition_t *found = &topics->elems[i];
    const strand_topic_problem *e = strand_topic_problems_find(
      &t->topic_problems, found->topic);
    if (e == NULL || found->offset < found->partition) continue;
    if (e->kind == STRAND_TOPIC_MISSING) continue; /* it was, till now */
    strand_topic_problems_drop(&t->topic_problems, e);
  }
}

/* In a cooperative rebalance a partition is nobody's on its way. */
static bool is_handed_on (const strand_topics *t,
                          const rd_kafka_topic_partition_t *found,
                          int64_t now_us) {
  return t->membership->cooperative && found->offset > 0
         && now_us < t->assigned_us + HANDED_ON_US;
}

/* How many topics are nobody's. */
static int note_unassigned (strand_topics *t,
                            const rd_kafka_topic_partition_list_t *topics,
                            int64_t now_us) {
  int count = 0;
  for (int i = 0; i < topics->cnt; i++) {
    const rd_kafka_topic_partition_t *found = &topics->elems[i];
    if (found->offset >= found->partition) continue;
    if (is_handed_on(t, found, now_us)) continue;
    count++;
    strand_topic_problems_unassigned(&t->topic_problems, found->topic,
                                     found->partition, (int32_t)found->offset,
                                     now_us);
  }
  return count;
}

static void back_off (strand_topics *t, int64_t most_us) {
  t->owners_wait_us *= 2;
  if (t->owners_wait_us > most_us) t->owners_wait_us = most_us;
}

/* librdkafka knows it, or it would be missing: not so the broker that was
** asked. */
static bool is_unseen (const strand_topics *t, const char *name,
                       const rd_kafka_topic_partition_list_t *topics) {
  const strand_topic_problem *e = strand_topic_problems_find(
    &t->topic_problems, name);
  if (name[0] == '^' || (e != NULL && e->kind == STRAND_TOPIC_MISSING)) {
    return false;
  }
  for (int i = 0; i < topics->cnt; i++) {
    if (strcmp(topics->elems[i].topic, name) == 0) return false;
  }
  return true;
}

/* Nothing is nobody's, as far as can be seen. A broker that was asked too
** early knows less than librdkafka: so it is asked again. */
static void ask_owners_later (strand_topics *t, const strand_owners *owners,
                              int64_t now_us) {
  const rd_kafka_topic_partition_list_t *names =
    t->owner->consumer->settings.topics;
  bool unseen = false, patterns = false;
  for (int i = 0; i < names->cnt; i++) {
    const char *name = names->elems[i].topic;
    patterns = patterns || name[0] == '^';
    unseen = unseen || is_unseen(t, name, owners->topics);
  }
  t->owners_us = INT64_MAX;
  if (unseen) {
    t->owners_us = now_us + t->owners_wait_us;
    back_off(t, OWNERS_MOST_US);
    return;
  }
  t->owners_wait_us = OWNERS_FIRST_US;
  if (t->membership->cooperative && now_us < t->assigned_us + HANDED_ON_US) {
    t->owners_us = t->assigned_us + HANDED_ON_US;
  }
  else if (patterns && now_us < t->assigned_us + AGREED_US) {
    t->owners_us = t->assigned_us + AGREED_US;
  }
}

/* An assignment comes of it, which is looked at; or it did not work. */
static void subscribe_again (strand_topics *t, const strand_owners *owners,
                             int64_t now_us) {
  strand_log_printf(t->owner->consumer->notifier.log, STRAND_LOG_WARNING,
                    "strand", "member %u: subscribes again", t->owner->index);
  t->turn_us = 0;
  t->owners_us = now_us + OWNERS_MOST_US;
  if (owners->members > 1 || t->membership->cooperative)
    rd_kafka_unsubscribe(t->owner->client);
  strand_topics_subscribe(t);
}

static void take_turn (strand_topics *t, const strand_owners *owners,
                       int64_t now_us) {
  if (t->turn_us == 0) {
    t->turn_us = t->assigned_us + t->owners_wait_us;
    if (t->turn_us < now_us) t->turn_us = now_us;
    t->turn_us += (int64_t)owners->turn * TURN_US;
    back_off(t, TRY_MOST_US);
  }
  if (now_us >= t->turn_us) subscribe_again(t, owners, now_us);
  else t->owners_us = t->turn_us;
}

/* Who may not ask the group does not know, and says so. */
static void not_answered (strand_topics *t, rd_kafka_resp_err_t err,
                          int64_t now_us) {
  char code[48];
  t->owners_us = now_us + t->owners_wait_us;
  back_off(t, OWNERS_MOST_US);
  if (err == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE) t->owners_us = INT64_MAX;
  if (strand_error_kind_of(err) != STRAND_ERROR_UNAUTHORIZED) return;
  strand_alert_begin(&t->blind, now_us, 0);
  if (!strand_alert_take_due(&t->blind, now_us)) return;
  strand_owner_tell(t->owner, "error", strand_code_of(err, code, sizeof(code)),
                    "who in the group has which topic is not known", NULL, -1);
}

/* What it has not itself, a member hears of in no other way. */
static void note_seen (strand_topics *t, const strand_owners *owners) {
  for (int i = 0; owners != NULL && i < owners->topics->cnt; i++) {
    strand_known_errors_seen(t->known_errors, owners->topics->elems[i].topic,
                             t->asked_owners_us);
  }
}

void strand_topics_owners (strand_topics *t, const strand_call *call,
                           int64_t now_us) {
  const strand_owners *owners = call->owners;
  t->asking_owners = false;
  note_seen(t, owners);
  if (call->epoch != t->assignments || t->membership->rebalancing
      || t->owner->phase != STRAND_SERVING)
    return; /* of an older assignment */
  if (call->err != 0) {
    not_answered(t, call->err, now_us);
    return;
  }
  t->blind.since_us = 0;
  if (!owners->settled) return; /* asked again soon */
  t->unseen_us = 0;
  t->group_size = owners->members;
  drop_owned(t, owners->topics);
  if (note_unassigned(t, owners->topics, now_us) > 0) {
    take_turn(t, owners, now_us);
  }
  else {
    ask_owners_later(t, owners, now_us);
    tell_if_idle(t, owners, now_us);
  }
  strand_topic_problems_publish(&t->topic_problems);
}

/*
** Turns
*/

int64_t strand_topics_tick (strand_topics *t, int64_t now_us) {
  int64_t next = INT64_MAX;
  if (t->owner->phase >= STRAND_LEAVING) return next;
  strand_topic_problems_tick(&t->topic_problems, now_us);
  if (!t->asking
      && strand_topic_problems_count(&t->topic_problems, STRAND_TOPIC_MISSING)
           > 0) {
    if (now_us >= t->due_us) ask_topics(t, now_us);
    next = t->due_us;
  }
  if (t->asking_owners || t->owner->phase != STRAND_SERVING
      || t->membership->rebalancing) {
    return next;
  }
  if (now_us >= t->owners_us) ask_owners(t, now_us);
  return t->owners_us < next ? t->owners_us : next;
}

void strand_topics_free (strand_topics *t) {
  strand_topic_problems_free(&t->topic_problems);
}

void strand_topics_check (const strand_topics *t) {
  strand_topic_problems_check(&t->topic_problems);
  assert(t->turn_us == 0 || t->assigned_us != 0);           /* (1) */
  assert(t->owners_us == INT64_MAX || t->assigned_us != 0); /* (2) */
  assert(!t->idle_reported || t->assigned_us != 0);         /* (3) */
}
