/*
** topics.c - what a member subscribes to, and what is wrong with it
**
**   missing     no broker that was asked knows it
**   found       one does; it is somebody's soon, and is looked at until then
**   unassigned  it exists, and nobody in the group has it
**   no route    this member has it, and no handler takes it
**
** Each is told at once, and again with back-off while it lasts. After each
** assignment the group is asked who has what (subscription.h). What nobody
** has is subscribed to again, after 1, 2, 4 s and so on: by one member, who
** leaves and joins anew. A member that stays would change nothing unless it
** led the group: then it is enough that it joins again. The others wait their
** turn, should the first not do it.
*/
#include <stdlib.h>

#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/member.h"

#define TOPICS_FIRST_US 1000000
#define TOPICS_MOST_US 10000000
#define OWNERS_FIRST_US 1000000
#define OWNERS_MOST_US 60000000 /* from one question to the next */
#define TRY_MOST_US 300000000   /* each try is a rebalance of the group */
#define TURN_US 3000000         /* from one member's turn to the next's */
#define HANDED_ON_US 15000000   /* cooperative: a partition between two */
#define AGREED_US 10000000      /* until all brokers know a new topic */
#define ASKED_A_SECOND 50       /* members of a group that ask about it */

/*
** The list
*/

static strand_topic *topic_of (const strand_member *m, const char *name,
                               bool no_route) {
  strand_topic *t = m->topics.list;
  while (t != NULL
         && ((t->plight == STRAND_TOPIC_NO_ROUTE) != no_route
             || strcmp(t->name, name) != 0))
    t = t->next;
  return t;
}

/* NULL without memory: it is found again. */
static strand_topic *note (strand_member *m, const char *name,
                           strand_plight plight, int64_t now_us) {
  strand_topic *t = topic_of(m, name, plight == STRAND_TOPIC_NO_ROUTE);
  if (t == NULL) {
    t = calloc(1, sizeof(*t) + strlen(name) + 1);
    if (t == NULL) return NULL;
    strcpy(t->name, name);
    t->next = m->topics.list;
    m->topics.list = t;
  }
  else if (t->plight != plight
           && (t->plight == STRAND_TOPIC_UNASSIGNED
               || plight == STRAND_TOPIC_UNASSIGNED)) {
    t->trouble.since_us = 0; /* another one */
  }
  t->plight = plight;
  strand_trouble_begin(&t->trouble, now_us, 0);
  return t;
}

static void drop (strand_topic **at) {
  strand_topic *t = *at;
  *at = t->next;
  free(t);
}

static const char *plight_text (const strand_topic *t, char text[128]) {
  switch (t->plight) {
    case STRAND_TOPIC_NO_ROUTE:
      return "no route of 'handler' matches this topic";
    case STRAND_TOPIC_UNASSIGNED:
      if (t->owned == 0) return "it exists, and no member of the group has it";
      snprintf(text, 128, "of its %d partitions only %d are a member's",
               (int)t->partitions, (int)t->owned);
      return text;
    default:
      return t->name[0] == '^' ? "no topic matches it (yet)"
                               : "the topic does not exist (yet)";
  }
}

/* The first of the list with that plight, or 'otherwise'. */
static const strand_topic *first_of (const strand_member *m,
                                     strand_plight plight,
                                     const strand_topic *otherwise) {
  const strand_topic *t = m->topics.list;
  while (t != NULL && t->plight != plight) t = t->next;
  return t != NULL ? t : otherwise;
}

/* For health: what is nobody's comes before what is missing, and that before
** what has no route. */
static void publish (strand_member *m) {
  static const char *const codes[] = {
    [STRAND_TOPIC_MISSING] = "TOPIC_MISSING",
    [STRAND_TOPIC_UNASSIGNED] = "TOPIC_UNASSIGNED",
    [STRAND_TOPIC_NO_ROUTE] = "NO_ROUTE"
  };
  strand_failure problem = { 0 };
  const strand_topic *worst = first_of(m, STRAND_TOPIC_NO_ROUTE, NULL);
  char text[128];
  worst = first_of(m, STRAND_TOPIC_MISSING, worst);
  worst = first_of(m, STRAND_TOPIC_UNASSIGNED, worst);
  if (worst != NULL) {
    strand_fail(&problem, codes[worst->plight], "topic '%s': %s", worst->name,
                plight_text(worst, text));
  }
  strand_problem_set(&m->topics.problem, &problem);
}

/* Who hears of it finds it in health() too. */
static void tell (strand_member *m, strand_topic *t, int64_t now_us) {
  static const char *const types[] = { "topic_missing", NULL,
                                       "topic_unassigned", "error" };
  static const char *const codes[] = { "UNKNOWN_TOPIC_OR_PART", NULL,
                                       "TOPIC_UNASSIGNED", "NO_ROUTE" };
  char text[128];
  if (types[t->plight] == NULL
      || !strand_trouble_take_due(&t->trouble, now_us)) {
    return;
  }
  publish(m);
  strand_trouble_tell(m, types[t->plight], codes[t->plight],
                      plight_text(t, text), t->name, -1);
}

/*
** Missing
*/

void strand_topics_missing (strand_member *m, const char *topic,
                            int64_t now_us) {
  bool known = topic_of(m, topic, false) != NULL;
  strand_topic *t = note(m, topic, STRAND_TOPIC_MISSING, now_us);
  if (t == NULL) return;
  if (!known) m->topics.due_us = now_us + TOPICS_FIRST_US;
  tell(m, t, now_us);
  publish(m);
}

bool strand_topics_all_missing (const strand_member *m) {
  int missing = 0;
  for (const strand_topic *t = m->topics.list; t != NULL; t = t->next) {
    if (t->plight == STRAND_TOPIC_MISSING) missing++;
  }
  return missing >= m->owner.consumer->topics->cnt;
}

/* The longer none was new among the missing, the rarer. */
static int64_t topics_wait (const strand_member *m, int64_t now_us) {
  int64_t wait = TOPICS_MOST_US;
  for (const strand_topic *t = m->topics.list; t != NULL; t = t->next) {
    int64_t own = (now_us - t->trouble.since_us) / 8;
    if (t->plight == STRAND_TOPIC_MISSING && own < wait) wait = own;
  }
  return wait < TOPICS_FIRST_US ? TOPICS_FIRST_US : wait;
}

static bool is_among (const strand_member *m,
                      const struct rd_kafka_metadata *topics,
                      const char *name) {
  const strand_subscription *s = m->owner.consumer->subscription;
  for (int i = 0; i < topics->topic_cnt; i++) {
    const struct rd_kafka_metadata_topic *t = &topics->topics[i];
    if (t->err != 0 || t->partition_cnt <= 0) continue;
    if (name[0] == '^' ? strand_subscription_finds(s, name, t->topic)
                       : strcmp(t->topic, name) == 0)
      return true;
  }
  return false;
}

static void look_soon (strand_member *m, int64_t now_us) {
  if (!strand_subscription_is_watched(m->owner.consumer->subscription)) return;
  if (m->topics.owners_us > now_us + OWNERS_FIRST_US) {
    m->topics.owners_us = now_us + OWNERS_FIRST_US;
  }
}

/* One that is found is on the list until it is known to be somebody's. What a
** pattern found has a name of its own. */
static void note_found (strand_member *m,
                        const struct rd_kafka_metadata *topics,
                        int64_t now_us) {
  strand_topic **at = &m->topics.list;
  while (*at != NULL) {
    strand_topic *t = *at;
    bool found = t->plight == STRAND_TOPIC_MISSING
                 && is_among(m, topics, t->name);
    if (found) t->plight = STRAND_TOPIC_FOUND;
    if (found && m->topics.assigned_us != 0) look_soon(m, now_us);
    if (found && t->name[0] == '^') drop(at);
    else at = &t->next;
  }
}

void strand_topics_listed (strand_member *m, const strand_call *call,
                           int64_t now_us) {
  m->topics.asking = false;
  if (call->err == 0) {
    strand_trouble_reached(m, now_us);
    if (call->topics != NULL) note_found(m, call->topics, now_us);
  }
  m->topics.due_us = now_us + topics_wait(m, now_us);
}

static void ask_topics (strand_member *m, int64_t now_us) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  strand_call *call;
  for (const strand_topic *t = m->topics.list; t != NULL; t = t->next) {
    if (t->plight != STRAND_TOPIC_MISSING) continue;
    rd_kafka_topic_partition_list_add(list, t->name, RD_KAFKA_PARTITION_UA);
  }
  m->topics.due_us = now_us + TOPICS_FIRST_US;
  if (list->cnt == 0) {
    rd_kafka_topic_partition_list_destroy(list);
    return;
  }
  call = strand_call_new(STRAND_CALL_TOPICS, list);
  if (call == NULL) return;
  m->topics.asking = true;
  strand_helper_leave(m->owner.helper, call);
}

/*
** No route
*/

void strand_topics_no_route (strand_member *m, const char *topic,
                             int64_t now_us) {
  strand_topic *t = note(m, topic, STRAND_TOPIC_NO_ROUTE, now_us);
  if (t != NULL) tell(m, t, now_us);
}

static bool is_held (const strand_member *m, const char *topic) {
  for (size_t i = 0; i < m->assignment.count; i++) {
    const strand_partition *p = m->assignment.tags[i]->partition;
    if (p != NULL && strcmp(strand_partition_topic(p), topic) == 0) {
      return true;
    }
  }
  return false;
}

/* What this member has is missing no more; of what it has not, the lack of a
** route is over. */
static void drop_settled (strand_member *m) {
  strand_topic **at = &m->topics.list;
  while (*at != NULL) {
    bool unrouted = (*at)->plight == STRAND_TOPIC_NO_ROUTE;
    bool partly = (*at)->plight == STRAND_TOPIC_UNASSIGNED
                  && (*at)->owned > 0; /* of which the group knows */
    if (!partly && is_held(m, (*at)->name) != unrouted) drop(at);
    else at = &(*at)->next;
  }
}

/*
** Nobody's
*/

void strand_topics_subscribe (strand_member *m) {
  rd_kafka_resp_err_t err;
  char code[48];
  err = rd_kafka_subscribe(m->owner.client, m->owner.consumer->topics);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  strand_shared_end(m->owner.consumer, STRAND_CLOSE_NOW,
                    strand_code_of(err, code, sizeof(code)),
                    rd_kafka_err2str(err));
}

void strand_topics_assigned (strand_member *m, int64_t now_us) {
  int64_t spread = (int64_t)m->topics.group_size * 1000000 / ASKED_A_SECOND;
  drop_settled(m);
  publish(m);
  m->topics.assignments++;
  m->topics.assigned_us = now_us;
  m->topics.turn_us = 0;
  m->topics.owners_us = INT64_MAX;
  if (!strand_subscription_is_watched(m->owner.consumer->subscription)) return;
  m->topics.owners_us = now_us + OWNERS_FIRST_US;
  if (spread > 0) m->topics.owners_us += now_us % spread;
}

/* Until the next assignment nobody has anything. */
void strand_topics_revoked (strand_member *m) {
  m->topics.assignments++;
  m->topics.owners_us = INT64_MAX;
}

static void ask_owners (strand_member *m, int64_t now_us) {
  strand_call *call = strand_call_new(STRAND_CALL_OWNERS, NULL);
  m->topics.owners_us = now_us + OWNERS_FIRST_US;
  if (call == NULL) return;
  call->epoch = m->topics.assignments;
  call->subscription = m->owner.consumer->subscription;
  call->given_up = &m->owner.ending;
  m->topics.asking_owners = true;
  m->topics.asked_owners_us = now_us;
  strand_helper_leave(m->owner.helper, call);
}

/* Somebody's, or gone: nothing is wrong with it any more. */
static void drop_owned (strand_member *m,
                        const rd_kafka_topic_partition_list_t *topics) {
  for (int i = 0; i < topics->cnt; i++) {
    const rd_kafka_topic_partition_t *found = &topics->elems[i];
    strand_topic **at = &m->topics.list;
    if (found->offset < found->partition) continue;
    while (*at != NULL) {
      if ((*at)->plight != STRAND_TOPIC_NO_ROUTE
          && (*at)->plight != STRAND_TOPIC_MISSING /* it was, till now */
          && strcmp((*at)->name, found->topic) == 0)
        drop(at);
      else at = &(*at)->next;
    }
  }
}

/* In a cooperative rebalance a partition is nobody's on its way. */
static bool is_handed_on (const strand_member *m,
                          const rd_kafka_topic_partition_t *found,
                          int64_t now_us) {
  return m->group.cooperative && found->offset > 0
         && now_us < m->topics.assigned_us + HANDED_ON_US;
}

/* How many topics are nobody's. */
static int note_unassigned (strand_member *m,
                            const rd_kafka_topic_partition_list_t *topics,
                            int64_t now_us) {
  int count = 0;
  for (int i = 0; i < topics->cnt; i++) {
    const rd_kafka_topic_partition_t *found = &topics->elems[i];
    strand_topic *t;
    if (found->offset >= found->partition) continue;
    if (is_handed_on(m, found, now_us)) continue;
    count++;
    t = note(m, found->topic, STRAND_TOPIC_UNASSIGNED, now_us);
    if (t == NULL) continue;
    t->partitions = found->partition;
    t->owned = (int32_t)found->offset;
    tell(m, t, now_us);
  }
  return count;
}

static void back_off (strand_member *m, int64_t most_us) {
  m->topics.owners_wait_us *= 2;
  if (m->topics.owners_wait_us > most_us) m->topics.owners_wait_us = most_us;
}

/* librdkafka knows it, or it would be missing: not so the broker that was
** asked. */
static bool is_unseen (const strand_member *m, const char *name,
                       const rd_kafka_topic_partition_list_t *topics) {
  const strand_topic *t = topic_of(m, name, false);
  if (name[0] == '^' || (t != NULL && t->plight == STRAND_TOPIC_MISSING)) {
    return false;
  }
  for (int i = 0; i < topics->cnt; i++) {
    if (strcmp(topics->elems[i].topic, name) == 0) return false;
  }
  return true;
}

/* Nothing is nobody's, as far as can be seen. A broker that was asked too
** early knows less than librdkafka: so is looked again. */
static void look_later (strand_member *m, const strand_owners *owners,
                        int64_t now_us) {
  const rd_kafka_topic_partition_list_t *names = m->owner.consumer->topics;
  bool unseen = false, patterns = false;
  for (int i = 0; i < names->cnt; i++) {
    const char *name = names->elems[i].topic;
    patterns = patterns || name[0] == '^';
    unseen = unseen || is_unseen(m, name, owners->topics);
  }
  m->topics.owners_us = INT64_MAX;
  if (unseen) {
    m->topics.owners_us = now_us + m->topics.owners_wait_us;
    back_off(m, OWNERS_MOST_US);
    return;
  }
  m->topics.owners_wait_us = OWNERS_FIRST_US;
  if (m->group.cooperative && now_us < m->topics.assigned_us + HANDED_ON_US) {
    m->topics.owners_us = m->topics.assigned_us + HANDED_ON_US;
  }
  else if (patterns && now_us < m->topics.assigned_us + AGREED_US) {
    m->topics.owners_us = m->topics.assigned_us + AGREED_US;
  }
}

/* An assignment comes of it, which is looked at; or it did not work. */
static void subscribe_again (strand_member *m, const strand_owners *owners,
                             int64_t now_us) {
  strand_log_printf(m->owner.consumer->log, STRAND_LOG_WARNING, "strand",
                    "member %u: subscribes again", m->owner.index);
  m->topics.turn_us = 0;
  m->topics.owners_us = now_us + OWNERS_MOST_US;
  if (owners->members > 1 || m->group.cooperative)
    rd_kafka_unsubscribe(m->owner.client);
  strand_topics_subscribe(m);
}

static void take_turn (strand_member *m, const strand_owners *owners,
                       int64_t now_us) {
  if (m->topics.turn_us == 0) {
    m->topics.turn_us = m->topics.assigned_us + m->topics.owners_wait_us;
    if (m->topics.turn_us < now_us) m->topics.turn_us = now_us;
    m->topics.turn_us += (int64_t)owners->turn * TURN_US;
    back_off(m, TRY_MOST_US);
  }
  if (now_us >= m->topics.turn_us) subscribe_again(m, owners, now_us);
  else m->topics.owners_us = m->topics.turn_us;
}

/* Who may not ask the group does not know, and says so. */
static void not_answered (strand_member *m, rd_kafka_resp_err_t err,
                          int64_t now_us) {
  char code[48];
  m->topics.owners_us = now_us + m->topics.owners_wait_us;
  back_off(m, OWNERS_MOST_US);
  if (err == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE)
    m->topics.owners_us = INT64_MAX;
  if (strand_error_kind_of(err) != STRAND_ERROR_UNAUTHORIZED) return;
  strand_trouble_begin(&m->topics.blind, now_us, 0);
  if (!strand_trouble_take_due(&m->topics.blind, now_us)) return;
  strand_trouble_tell(m, "error", strand_code_of(err, code, sizeof(code)),
                      "who in the group has which topic is not known", NULL,
                      -1);
}

/* What it has not itself, a member hears of in no other way. */
static void note_seen (strand_member *m, const strand_owners *owners) {
  for (int i = 0; owners != NULL && i < owners->topics->cnt; i++) {
    strand_known_seen(m, owners->topics->elems[i].topic,
                      m->topics.asked_owners_us);
  }
}

void strand_topics_owners (strand_member *m, const strand_call *call,
                           int64_t now_us) {
  const strand_owners *owners = call->owners;
  m->topics.asking_owners = false;
  note_seen(m, owners);
  if (call->epoch != m->topics.assignments || m->group.rebalance != NULL
      || m->owner.phase != STRAND_SERVING)
    return; /* of an older assignment */
  if (call->err != 0) {
    not_answered(m, call->err, now_us);
    return;
  }
  m->topics.blind.since_us = 0;
  if (!owners->settled) return; /* asked again soon */
  m->topics.group_size = owners->members;
  drop_owned(m, owners->topics);
  if (note_unassigned(m, owners->topics, now_us) > 0) {
    take_turn(m, owners, now_us);
  }
  else look_later(m, owners, now_us);
  publish(m);
}

/*
** Turns
*/

void strand_topics_init (strand_member *m) {
  strand_problem_init(&m->topics.problem);
  m->topics.owners_us = INT64_MAX;
  m->topics.owners_wait_us = OWNERS_FIRST_US;
}

int64_t strand_topics_tick (strand_member *m, int64_t now_us) {
  int64_t next = INT64_MAX;
  bool missing = false;
  if (m->owner.phase >= STRAND_LEAVING) return next;
  for (strand_topic *t = m->topics.list; t != NULL; t = t->next) {
    missing = missing || t->plight == STRAND_TOPIC_MISSING;
    tell(m, t, now_us);
  }
  publish(m); /* also what is well again */
  if (missing && !m->topics.asking) {
    if (now_us >= m->topics.due_us) ask_topics(m, now_us);
    next = m->topics.due_us;
  }
  if (m->topics.asking_owners || m->owner.phase != STRAND_SERVING
      || m->group.rebalance != NULL) {
    return next;
  }
  if (now_us >= m->topics.owners_us) ask_owners(m, now_us);
  return m->topics.owners_us < next ? m->topics.owners_us : next;
}

void strand_topics_free (strand_member *m) {
  while (m->topics.list != NULL) drop(&m->topics.list);
}
