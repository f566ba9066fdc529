/*
** trouble.c - the world's failures: no broker, no topic, no permission
**
** The consumer goes on trying. Each trouble is told at once (no broker: after
** 10 s, and only when asking one fails too), and again with back-off while it
** lasts; it ends by itself when a broker answers.
*/
#include <stdlib.h>

#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/member.h"

#define PATIENCE_US 10000000
#define TELL_FIRST_US 10000000
#define TELL_MOST_US 300000000
#define TOPICS_FIRST_US 1000000
#define TOPICS_MOST_US 10000000

void strand_trouble_begin (strand_trouble *t, int64_t now_us,
                           int64_t patience_us) {
  if (t->since_us != 0) return;
  t->since_us = now_us > 0 ? now_us : 1;
  t->tell_us = now_us + patience_us;
  t->wait_us = TELL_FIRST_US;
}

bool strand_trouble_due (strand_trouble *t, int64_t now_us) {
  if (t->since_us == 0 || now_us < t->tell_us) return false;
  t->tell_us = now_us + t->wait_us;
  t->wait_us = t->wait_us * 2 < TELL_MOST_US ? t->wait_us * 2 : TELL_MOST_US;
  return true;
}

void strand_trouble_tell (strand_member *m, const char *type,
                          const char *code, const char *reason,
                          const char *topic, int32_t index) {
  strand_event event = strand_member_event(m, type, NULL);
  if (topic != NULL) strand_event_set_topic(&event, topic, index);
  strand_event_set_reason(&event, reason, strlen(reason));
  snprintf(event.code, sizeof(event.code), "%s", code);
  strand_member_emit(m, &event);
  strand_log_printf(m->consumer->log, STRAND_LOG_WARNING, "strand",
                    "member %u: %s%s%s: %s (%s)", m->index, type,
                    topic != NULL ? " " : "", topic != NULL ? topic : "",
                    reason, code);
}

void strand_trouble_well (strand_member *m) {
  m->away.since_us = 0;
  m->refusal.since_us = 0;
  atomic_store_explicit(&m->unreachable, 0, memory_order_relaxed);
  atomic_store_explicit(&m->refused, 0, memory_order_relaxed);
}

static void note_missing (strand_member *m, const char *topic,
                          int64_t now_us) {
  strand_missing *t;
  for (t = m->missing; t != NULL; t = t->next) {
    if (strcmp(t->topic, topic) == 0) break;
  }
  if (t == NULL) {
    t = calloc(1, sizeof(*t) + strlen(topic) + 1);
    if (t == NULL) return;
    strcpy(t->topic, topic);
    t->next = m->missing;
    m->missing = t;
    m->topics_us = now_us + TOPICS_FIRST_US;
  }
  strand_trouble_begin(&t->trouble, now_us, 0);
  if (strand_trouble_due(&t->trouble, now_us)) {
    strand_trouble_tell(m, "topic_missing", "UNKNOWN_TOPIC_OR_PART",
                        "the topic does not exist (yet)", topic, -1);
  }
}

/* Whose topic an error of the subscription is about stands only in its text. */
static const char *topic_of (const char *text, char topic[250]) {
  return sscanf(text, "Subscribed topic not available: %249[^:]", topic) == 1
           ? topic : NULL;
}

void strand_trouble_error (strand_member *m, rd_kafka_resp_err_t err,
                           const char *text, const char *topic,
                           int32_t partition, int64_t now_us) {
  char code[48], name[250];
  if (topic == NULL) topic = topic_of(text, name);
  strand_code_of(err, code, sizeof(code));
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_AWAY:
    case STRAND_ERROR_COORDINATOR:
      strand_trouble_begin(&m->away, now_us, PATIENCE_US);
      return;
    case STRAND_ERROR_UNAUTHENTICATED:
    case STRAND_ERROR_UNAUTHORIZED:
      strand_trouble_begin(&m->refusal, now_us, 0);
      atomic_store_explicit(&m->refused, 1, memory_order_relaxed);
      if (strand_trouble_due(&m->refusal, now_us)) {
        strand_trouble_tell(m, "auth_failed", code, text, topic, partition);
      }
      return;
    case STRAND_ERROR_MISSING:
      if (topic == NULL || err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) break;
      note_missing(m, topic, now_us);
      return;
    default: break;
  }
  strand_trouble_tell(m, "error", code, text, topic, partition);
}

/* The longer none was new among the missing, the rarer. */
static int64_t topics_wait (const strand_member *m, int64_t now_us) {
  int64_t wait = (now_us - m->missing->trouble.since_us) / 8;
  if (wait < TOPICS_FIRST_US) return TOPICS_FIRST_US;
  return wait < TOPICS_MOST_US ? wait : TOPICS_MOST_US;
}

static bool is_among (const struct rd_kafka_metadata *topics,
                      const char *name) {
  for (int i = 0; i < topics->topic_cnt; i++) {
    const struct rd_kafka_metadata_topic *t = &topics->topics[i];
    if (t->err == 0 && t->partition_cnt > 0 && strcmp(t->topic, name) == 0) {
      return true;
    }
  }
  return false;
}

/* Which of those that were missing are not missing any more? */
void strand_trouble_topics (strand_member *m, const strand_call *call,
                            int64_t now_us) {
  strand_missing **at = &m->missing, *t;
  m->asking_topics = false;
  m->topics_us = now_us + topics_wait(m, now_us);
  if (call->err != 0) return;
  strand_trouble_well(m);
  while ((t = *at) != NULL && call->topics != NULL) {
    if (!is_among(call->topics, t->topic)) {
      at = &t->next;
      continue;
    }
    *at = t->next;
    free(t);
  }
}

void strand_trouble_reach (strand_member *m, const strand_call *call,
                           int64_t now_us) {
  char code[48];
  m->asking_reach = false;
  if (call->err == 0) {
    m->away.since_us = 0;
    atomic_store_explicit(&m->unreachable, 0, memory_order_relaxed);
    return;
  }
  if (m->away.since_us == 0 || !strand_trouble_due(&m->away, now_us)) return;
  atomic_store_explicit(&m->unreachable, 1, memory_order_relaxed);
  strand_trouble_tell(m, "unreachable",
                      strand_code_of(call->err, code, sizeof(code)),
                      "no broker answers", NULL, -1);
}

static rd_kafka_topic_partition_list_t *missing_list (const strand_member *m) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
  for (const strand_missing *t = m->missing; t != NULL; t = t->next) {
    rd_kafka_topic_partition_list_add(list, t->topic, RD_KAFKA_PARTITION_UA);
  }
  return list;
}

static int64_t ask (strand_member *m, strand_call_kind kind, bool *asking,
                    int64_t at_us, int64_t now_us) {
  strand_call *call;
  if (*asking) return INT64_MAX;
  if (now_us < at_us) return at_us;
  call = strand_call_new(
    kind, kind == STRAND_CALL_TOPICS ? missing_list(m) : NULL);
  if (call == NULL) return now_us + TOPICS_FIRST_US;
  *asking = true;
  strand_helper_leave(m->helper, call);
  return INT64_MAX;
}

/* When it wants to be called again. */
int64_t strand_trouble_tick (strand_member *m, int64_t now_us) {
  int64_t next = INT64_MAX, at;
  if (m->phase >= STRAND_LEAVING) return next;
  if (!m->joined) strand_trouble_begin(&m->away, now_us, PATIENCE_US);
  if (m->away.since_us != 0) {
    at = ask(m, STRAND_CALL_REACH, &m->asking_reach, m->away.tell_us, now_us);
    if (at < next) next = at;
  }
  for (strand_missing *t = m->missing; t != NULL; t = t->next) {
    if (strand_trouble_due(&t->trouble, now_us)) {
      strand_trouble_tell(m, "topic_missing", "UNKNOWN_TOPIC_OR_PART",
                          "the topic does not exist (yet)", t->topic, -1);
    }
  }
  if (m->missing != NULL) {
    at = ask(m, STRAND_CALL_TOPICS, &m->asking_topics, m->topics_us, now_us);
    if (at < next) next = at;
  }
  return next;
}

void strand_trouble_free (strand_member *m) {
  while (m->missing != NULL) {
    strand_missing *t = m->missing;
    m->missing = t->next;
    free(t);
  }
}
