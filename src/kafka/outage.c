/*
** outage.c - brokers answer, and yet the group cannot be joined, or a
** partition's leader is away
**
** librdkafka tells nothing of either: it tries again. That no assignment
** comes is known without it; of leaders it is asked (leaders.c) when there is
** a reason: it has looked for something (signs.c), a broker went away, or an
** assignment is some seconds old.
*/
#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/member.h"

#define DOUBT_US 1000000        /* librdkafka may find it meanwhile */
#define ASK_LEADERS_US 5000000  /* not more often */
#define ASK_AGAIN_US 1000000    /* without memory */
#define SEEK_BROKER_US 10000000 /* while none answers, told or not */

/*
** Is there any broker?
*/

static int64_t tick_reach (strand_member *m, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  strand_call *call;
  int64_t due_us;
  if (!m->group.joined || t->join.since_us != 0) {
    strand_trouble_begin(&t->away, now_us, STRAND_TROUBLE_PATIENCE_US);
  }
  if (t->away.since_us == 0 || m->troubles.asking_reach) return INT64_MAX;
  /* Asked more often than told: its end is seen in time. */
  due_us = t->unreachable ? t->sought_us + SEEK_BROKER_US : t->away.tell_us;
  if (now_us < due_us) return due_us;
  call = strand_call_new(STRAND_CALL_REACH, NULL);
  if (call == NULL) return now_us + ASK_AGAIN_US;
  m->troubles.asking_reach = true;
  t->sought_us = now_us;
  strand_helper_leave(m->owner.helper, call);
  return INT64_MAX;
}

void strand_outage_reach (strand_member *m, const strand_call *call,
                          int64_t now_us) {
  strand_troubles *t = &m->troubles;
  char code[48], text[sizeof(t->away_cause.text) + 32];
  m->troubles.asking_reach = false;
  if (call->err == 0) {
    strand_trouble_reached(m, now_us);
    return;
  }
  if (!strand_trouble_take_due(&t->away, now_us)) return;
  t->unreachable = true;
  snprintf(text, sizeof(text), "no broker answers%s%s",
           t->away_cause.err != 0 ? ": " : "",
           t->away_cause.err != 0 ? t->away_cause.text : "");
  strand_trouble_tell(m, "unreachable",
                      strand_code_of(call->err, code, sizeof(code)), text,
                      NULL, -1);
}

/*
** The group
*/

static void set_told (strand_failure *told, const char *code, const char *what,
                      const strand_heard *cause) {
  strand_fail(told, code, "%s%s%s", what, cause->err != 0 ? ": " : "",
              cause->err != 0 ? cause->text : "");
}

/* What is known of why no assignment comes. False: it may well come, when
** the group's other members have joined. */
static bool find_why (strand_member *m) {
  strand_troubles *t = &m->troubles;
  const strand_signs *s = &m->signs;
  strand_failure *told = &t->join_told;
  static const strand_heard none = { 0 };
  char code[48];
  if (t->join_cause.err != 0) {
    set_told(told, strand_code_of(t->join_cause.err, code, sizeof(code)),
             "the group cannot be joined", &t->join_cause);
  }
  else if (atomic_load(&s->joining)) return false;
  else if (atomic_load(&s->coordinator_up)) {
    set_told(told, "JOIN_REFUSED",
             "the group's coordinator answers, and does"
             " not let this member join",
             &none);
  }
  else if (atomic_load(&s->connect_us) >= t->join.since_us) {
    set_told(told, "COORDINATOR_UNREACHABLE",
             "the group's coordinator does not answer", &t->dial_cause);
  }
  else if (atomic_load(&s->found_us) >= t->join.since_us) {
    set_told(told, "COORDINATOR_NOT_AVAILABLE",
             "brokers answer, and none knows the group's coordinator", &none);
  }
  else {
    set_told(told, "COORDINATOR_NOT_AVAILABLE",
             "no broker says who the group's coordinator is", &none);
  }
  return true;
}

static int64_t tick_join (strand_member *m, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  if (m->owner.phase != STRAND_SERVING) return INT64_MAX;
  if (!m->group.joined) strand_trouble_rejoins(m, now_us);
  if (t->join.since_us == 0) return INT64_MAX;
  if (now_us < t->join.tell_us) return t->join.tell_us;
  if (t->unreachable || t->reached_us <= t->join.since_us) return INT64_MAX;
  if (strand_topics_all_missing(m)) return INT64_MAX; /* which was told */
  strand_group_left(m); /* it may have been one until the last revoke */
  t->waits = !find_why(m);
  if (t->waits) return INT64_MAX; /* looked at again in a second */
  strand_trouble_put_off(&t->join, now_us);
  t->cannot_join = true;
  strand_trouble_tell(m, "join_failed", t->join_told.code,
                      t->join_told.message, NULL, -1);
  return t->join.tell_us;
}

/*
** Leaders
*/

void strand_outage_doubt (strand_member *m, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  int64_t at_us = now_us + DOUBT_US;
  if (t->asked_us != 0 && at_us < t->asked_us + ASK_LEADERS_US) {
    at_us = t->asked_us + ASK_LEADERS_US;
  }
  if (t->doubt_us == 0 || at_us < t->doubt_us) t->doubt_us = at_us;
}

const char *strand_outage_partitions (const strand_member *m, char *text,
                                      size_t size) {
  size_t at = 0;
  unsigned count = 0;
  text[0] = '\0';
  for (size_t i = 0; i < m->assignment.count; i++) {
    const strand_tag *tag = m->assignment.tags[i];
    if (tag->partition == NULL || !tag->no_leader) continue;
    if (count++ >= STRAND_PARTITIONS_NAMED_MAX || at >= size) continue;
    at += (size_t)snprintf(text + at, size - at, "%s%s/%d",
                           count > 1 ? ", " : "",
                           strand_partition_topic(tag->partition),
                           (int)strand_partition_index(tag->partition));
  }
  if (count > STRAND_PARTITIONS_NAMED_MAX && at < size) {
    snprintf(text + at, size - at, " and %u more",
             count - STRAND_PARTITIONS_NAMED_MAX);
  }
  return text;
}

static const strand_tag *first_without (const strand_member *m) {
  for (size_t i = 0; i < m->assignment.count; i++) {
    const strand_tag *tag = m->assignment.tags[i];
    if (tag->partition != NULL && tag->no_leader) return tag;
  }
  return NULL;
}

static void take_leader (strand_member *m, strand_tag *tag,
                         const rd_kafka_topic_partition_t *p, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  switch (strand_error_kind_of(p->err)) {
    case STRAND_ERROR_PASSING: /* not known */ return;
    case STRAND_ERROR_AWAY:
    case STRAND_ERROR_LEADER:
      if (!tag->no_leader) t->leader_err = p->err;
      tag->no_leader = true;
      return;
    case STRAND_ERROR_MISSING:
      strand_trouble_error(m, p->err, rd_kafka_err2str(p->err), p->topic,
                           p->partition, now_us);
      break;
    default: break;
  }
  tag->no_leader = false;
}

void strand_outage_leaders (strand_member *m, const strand_call *call,
                            int64_t now_us) {
  strand_troubles *t = &m->troubles;
  t->asking_leaders = false;
  if (call->err != 0) {
    strand_trouble_begin(&t->away, now_us, STRAND_TROUBLE_PATIENCE_US);
    strand_outage_doubt(m, now_us);
    return;
  }
  for (int i = 0; i < call->list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &call->list->elems[i];
    strand_tag *tag = strand_assignment_find(&m->assignment, p->topic,
                                             p->partition);
    if (tag == NULL || tag->leaving) continue;
    take_leader(m, tag, p, now_us);
  }
  if (first_without(m) != NULL) strand_outage_doubt(m, now_us);
}

static bool ask_leaders (strand_member *m, int64_t now_us) {
  rd_kafka_topic_partition_list_t *list;
  strand_call *call;
  list = rd_kafka_topic_partition_list_new((int)m->assignment.count);
  for (size_t i = 0; i < m->assignment.count; i++) {
    const strand_partition *p = m->assignment.tags[i]->partition;
    if (p == NULL || m->assignment.tags[i]->leaving) continue;
    rd_kafka_topic_partition_list_add(list, strand_partition_topic(p),
                                      strand_partition_index(p));
  }
  if (list->cnt == 0) {
    rd_kafka_topic_partition_list_destroy(list);
    return true;
  }
  call = strand_call_new(STRAND_CALL_LEADERS, list);
  if (call == NULL) return false;
  m->troubles.asking_leaders = true;
  m->troubles.asked_us = now_us;
  strand_helper_leave(m->owner.helper, call);
  return true;
}

static void tell_leaders (strand_member *m, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  const strand_tag *first = first_without(m);
  char partitions[STRAND_PARTITIONS_NAMED_MAX * 300], code[48];
  char reason[sizeof(partitions) + 32];
  if (first == NULL) {
    t->leaders = (strand_trouble){ 0 };
    t->no_leader = false;
    return;
  }
  strand_trouble_begin(&t->leaders, t->asked_us, STRAND_TROUBLE_PATIENCE_US);
  if (t->unreachable || !strand_trouble_take_due(&t->leaders, now_us)) return;
  t->no_leader = true;
  snprintf(reason, sizeof(reason), "no leader answers for %s",
           strand_outage_partitions(m, partitions, sizeof(partitions)));
  strand_trouble_tell(m, "leader_missing",
                      strand_code_of(t->leader_err, code, sizeof(code)),
                      reason, strand_partition_topic(first->partition),
                      strand_partition_index(first->partition));
}

static int64_t tick_leaders (strand_member *m, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  unsigned metadata = atomic_load(&m->signs.metadata);
  if (m->owner.phase != STRAND_SERVING) return INT64_MAX;
  if (metadata != t->metadata_seen) strand_outage_doubt(m, now_us);
  t->metadata_seen = metadata;
  if (t->leaders.since_us != 0 || first_without(m) != NULL) {
    tell_leaders(m, now_us);
  }
  if (t->asking_leaders || t->doubt_us == 0) return INT64_MAX;
  if (now_us < t->doubt_us) return t->doubt_us;
  t->doubt_us = ask_leaders(m, now_us) ? 0 : now_us + ASK_AGAIN_US;
  return INT64_MAX;
}

int64_t strand_outage_tick (strand_member *m, int64_t now_us) {
  int64_t reach = tick_reach(m, now_us);
  int64_t join = tick_join(m, now_us);
  int64_t leaders = tick_leaders(m, now_us);
  if (join < reach) reach = join;
  return leaders < reach ? leaders : reach;
}
