/*
** troubles.c - the world's failures: no broker, no permission
**
** The consumer goes on trying. Each trouble is told at once (no broker, no
** group, no leader: after 10 s, and only when asking fails too), and again
** with back-off while it lasts; each ends by its own sign of life: see
** troubles.h.
*/
#include <stdlib.h>

#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/member.h"

#define TLS_HINT " (is it a port for TLS?)"

/*
** Health
*/

/* What refuses is not always a broker: librdkafka has one sort of error for
** all that comes before a connection is there. */
static void judge_refusal (const strand_known *refusal,
                           strand_failure *problem) {
  const char *text = refusal->cause.text;
  if (strand_error_kind_of(refusal->cause.err) == STRAND_ERROR_UNAUTHORIZED) {
    strand_fail(problem, "AUTH", "not authorized: %s%s%s", refusal->topic,
                *refusal->topic != '\0' ? ": " : "", text);
  }
  else if (refusal->of_token) {
    strand_fail(problem, "TOKEN", "there is no token: %s", text);
  }
  else if (refusal->cause.err == RD_KAFKA_RESP_ERR__SSL) {
    strand_fail(problem, "TLS", "no TLS connection to the brokers: %s%s", text,
                strstr(text, "certificate") == NULL ? TLS_HINT : "");
  }
  else {
    strand_fail(problem, "AUTH", "the brokers refuse the credentials: %s",
                text);
  }
}

static void judge (const strand_member *m, strand_failure *problem,
                   int64_t now_us) {
  const strand_troubles *t = &m->troubles;
  const strand_known *refusal = strand_known_refusal(m);
  char text[STRAND_PARTITIONS_NAMED_MAX * 300];
  problem->code[0] = problem->message[0] = '\0';
  if (refusal != NULL) judge_refusal(refusal, problem);
  else if (t->unreachable) {
    strand_fail(problem, "UNREACHABLE", "no broker answers%s%s",
                t->away_cause.err != 0 ? ": " : "",
                t->away_cause.err != 0 ? t->away_cause.text : "");
  }
  else if (t->cannot_join) {
    strand_fail(problem, "CANNOT_JOIN", "%s", t->join_told.message);
  }
  else if (t->no_leader) {
    strand_fail(problem, "NO_LEADER", "no leader answers for %s",
                strand_outage_partitions(m, text, sizeof(text)));
  }
  else if (t->commits.since_us != 0 && now_us >= t->commits.tell_us) {
    strand_fail(problem, "COMMIT_FAILS", "commits fail for %.0f s: %s",
                (double)(now_us - t->commits.since_us) / 1e6,
                t->commit_cause.text);
  }
  else if (!m->group.joined && t->waits) {
    strand_fail(problem, "NOT_ASSIGNED",
                "not a member of the group yet: it"
                " waits for the group's other members to join");
  }
  else if (!m->group.joined && t->join_cause.err != 0) {
    strand_fail(problem, "NOT_ASSIGNED", "not a member of the group yet: %s",
                t->join_cause.text);
  }
  else if (!m->group.joined && t->away_cause.err != 0) {
    strand_fail(problem, "NOT_ASSIGNED", "not a member of the group yet: %s",
                t->away_cause.text);
  }
}

static void publish (strand_member *m, int64_t now_us) {
  strand_failure problem;
  judge(m, &problem, now_us);
  strand_problem_set(&m->troubles.problem, &problem);
}

/*
** Telling
*/

/* Who hears of it finds it in health() too. */
void strand_trouble_tell (strand_member *m, const char *type, const char *code,
                          const char *reason, const char *topic,
                          int32_t index) {
  strand_event event = strand_owner_event(&m->owner, type, NULL);
  publish(m, strand_clock_us());
  if (topic != NULL) strand_event_set_topic(&event, topic, index);
  strand_event_set_reason(&event, reason, strlen(reason));
  snprintf(event.code, sizeof(event.code), "%s", code);
  strand_owner_emit(&m->owner, &event);
  strand_log_printf(m->owner.consumer->log, STRAND_LOG_WARNING, "strand",
                    "member %u: %s%s%s: %s (%s)", m->owner.index, type,
                    topic != NULL ? " " : "", topic != NULL ? topic : "",
                    reason, code);
}

/* A port without TLS may reset the connection, which is an error of TLS, or
** end it, which is not: a broker that stops does so too. */
static void note_cause (strand_heard *cause, rd_kafka_resp_err_t err,
                        const char *text) {
  bool in_handshake = strstr(text, "in state SSL_HANDSHAKE") != NULL;
  cause->err = err;
  snprintf(cause->text, sizeof(cause->text), "%s%s", text,
           in_handshake ? TLS_HINT : "");
  for (char *c = cause->text; *c != '\0'; c++) {
    if ((unsigned char)*c < ' ') *c = ' '; /* OpenSSL's have line breaks */
  }
}

/*
** Signs of life
*/

void strand_trouble_reached (strand_member *m, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  t->reached_us = now_us;
  t->away = (strand_trouble){ 0 };
  t->away_cause.err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (t->unreachable && t->join.since_us != 0) { /* it could not join before */
    t->join = (strand_trouble){ 0 };
    strand_trouble_rejoins(m, now_us);
  }
  t->unreachable = false;
}

void strand_trouble_joined (strand_member *m, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  t->join = (strand_trouble){ 0 };
  t->join_cause.err = t->dial_cause.err = RD_KAFKA_RESP_ERR_NO_ERROR;
  t->cannot_join = t->waits = false;
  strand_trouble_reached(m, now_us);
  strand_known_works(m, NULL, -1);
  strand_outage_doubt(m, now_us + STRAND_TROUBLE_PATIENCE_US);
}

void strand_trouble_rejoins (strand_member *m, int64_t now_us) {
  strand_trouble_begin(&m->troubles.join, now_us, STRAND_TROUBLE_PATIENCE_US);
}

void strand_trouble_read (strand_member *m, strand_tag *tag) {
  tag->no_leader = false;
  if (m->troubles.known == NULL) return;
  strand_known_works(m, strand_partition_topic(tag->partition),
                     strand_partition_index(tag->partition));
}

void strand_trouble_revoked (strand_member *m, strand_tag *tag) {
  const char *topic = strand_partition_topic(tag->partition);
  tag->no_leader = false;
  strand_known_gone(m, topic, strand_partition_index(tag->partition));
}

void strand_trouble_committed (strand_member *m, int64_t now_us) {
  m->troubles.commits = (strand_trouble){ 0 };
  strand_trouble_reached(m, now_us);
  strand_known_works(m, NULL, -1);
  publish(m, now_us); /* before who waits for the commit is told */
}

void strand_trouble_commit_failed (strand_member *m, rd_kafka_resp_err_t err,
                                   int64_t now_us) {
  strand_troubles *t = &m->troubles;
  bool later = strand_error_is_later(err);
  strand_trouble_begin(&t->commits, now_us,
                       later ? STRAND_TROUBLE_PATIENCE_US : 0);
  if (!later && t->commits.tell_us > now_us) t->commits.tell_us = now_us;
  note_cause(&t->commit_cause, err, rd_kafka_err2str(err));
  publish(m, now_us); /* before the event is told */
}

/*
** Errors
*/

/* Whose topic an error of the subscription is about stands only in its text. */
static const char *topic_of (const char *text, char topic[250]) {
  return sscanf(text, "Subscribed topic not available: %249[^:]", topic) == 1
           ? topic
           : NULL;
}

/* What librdkafka says of joining, it says in these words. */
static bool is_of_the_group (rd_kafka_resp_err_t err, const char *text,
                             const char *topic) {
  static const char *const words[] = { "JoinGroup failed",
                                       "FindCoordinator response error" };
  if (strand_error_kind_of(err) == STRAND_ERROR_GROUP) return true;
  for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
    if (strncmp(text, words[i], strlen(words[i])) == 0) return true;
  }
  return topic == NULL
         && strand_error_kind_of(err) == STRAND_ERROR_COORDINATOR;
}

static void tell_known (strand_member *m, const char *type,
                        rd_kafka_resp_err_t err, const char *text,
                        const char *topic, int32_t partition, int64_t now_us) {
  bool refused = strcmp(type, "auth_failed") == 0;
  char code[48];
  if (!strand_known_hear(m, err, text, topic, partition, refused, now_us)) {
    return;
  }
  /* the group's own event says it again, as long as it lasts */
  if (!refused && m->troubles.cannot_join && m->troubles.join_cause.err == err)
    return;
  strand_trouble_tell(m, type, strand_code_of(err, code, sizeof(code)), text,
                      topic, partition);
}

void strand_trouble_error (strand_member *m, rd_kafka_resp_err_t err,
                           const char *text, const char *topic,
                           int32_t partition, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  char name[250];
  if (topic == NULL) topic = topic_of(text, name);
  if (is_of_the_group(err, text, topic)) note_cause(&t->join_cause, err, text);
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_AWAY:
    case STRAND_ERROR_COORDINATOR:
      strand_trouble_begin(&t->away, now_us, STRAND_TROUBLE_PATIENCE_US);
      if (topic == NULL
          && (err != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN
              || t->away_cause.err == 0)) {
        note_cause(&t->away_cause, err,
                   text); /* that all are down says less */
      }
      if (strand_signs_is_coordinator(text)) {
        note_cause(&t->dial_cause, err, text);
      }
      strand_outage_doubt(m, now_us);
      return;
    case STRAND_ERROR_LEADER: strand_outage_doubt(m, now_us); return;
    case STRAND_ERROR_UNAUTHENTICATED:
    case STRAND_ERROR_UNAUTHORIZED:
      tell_known(m, "auth_failed", err, text, topic, partition, now_us);
      return;
    case STRAND_ERROR_MISSING:
      if (topic == NULL || err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) break;
      strand_topics_missing(m, topic, now_us);
      return;
    default: break;
  }
  tell_known(m, "error", err, text, topic, partition, now_us);
}

void strand_trouble_heard (rd_kafka_t *client, int err, const char *text,
                           void *member) {
  strand_member *m = member;
  const strand_partition *p = m->reader.reading != NULL
                                ? m->reader.reading->partition
                                : NULL;
  (void)client;
  if (p == NULL) return; /* it is an event, too */
  if (err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) {
    strand_outage_doubt(m, strand_clock_us()); /* is it, or its topic, gone? */
    return;
  }
  strand_trouble_error(m, (rd_kafka_resp_err_t)err, text,
                       strand_partition_topic(p), strand_partition_index(p),
                       strand_clock_us());
}

void strand_trouble_throttled (rd_kafka_t *client, const char *broker,
                               int32_t id, int wait_ms, void *member) {
  char text[300];
  (void)client;
  if (wait_ms <= 0) return; /* no more */
  snprintf(text, sizeof(text), "broker %d (%s) answers %d ms later: a quota",
           (int)id, broker, wait_ms);
  tell_known(member, "throttled", RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
             text, NULL, -1, strand_clock_us());
}

/* What failed is not there any more: it was revoked, or done without. */
static bool is_nothing_to_commit (strand_member *m) {
  return m->committer.commit == NULL
         && strand_engine_commit_due(m->owner.engine, 0) == INT64_MAX;
}

/* When it wants to be called again. */
int64_t strand_trouble_tick (strand_member *m, int64_t now_us) {
  strand_troubles *t = &m->troubles;
  int64_t next;
  if (m->owner.phase >= STRAND_LEAVING) return INT64_MAX;
  if (t->commits.since_us != 0 && is_nothing_to_commit(m)) {
    t->commits = (strand_trouble){ 0 };
  }
  strand_known_tick(m, now_us);
  next = strand_outage_tick(m, now_us);
  atomic_store(&m->signs.probing, t->asking_leaders);
  publish(m, now_us);
  return next;
}
