/*
** health.c - each error, and each sign of life, to the part it is about
**
** The consumer goes on trying. Each problem is told at once (no broker, no
** group, no leader: after 10 s, and only when asking fails too), and again
** with back-off while it lasts; each ends by its own sign of life: see
** health.h.
*/
#include "member/health.h"

#include "base/clock.h"
#include "kafka/errors.h"

/*
** Signs of life
*/

void strand_health_joined (const strand_health *t, int64_t now_us) {
  strand_outage_joined(t->outage, now_us);
  strand_known_errors_works(t->known_errors, NULL, -1);
}

void strand_health_read (const strand_health *t, strand_assigned *assigned) {
  strand_outage_answered(assigned);
  if (strand_known_errors_is_empty(t->known_errors)) return;
  strand_known_errors_works(t->known_errors,
                            strand_partition_topic(assigned->partition),
                            strand_partition_index(assigned->partition));
}

void strand_health_revoked (const strand_health *t,
                            strand_assigned *assigned) {
  strand_outage_answered(assigned);
  strand_known_errors_gone(t->known_errors,
                           strand_partition_topic(assigned->partition),
                           strand_partition_index(assigned->partition));
}

void strand_health_committed (const strand_health *t, int64_t now_us) {
  strand_outage_reached(t->outage, now_us);
  strand_known_errors_works(t->known_errors, NULL, -1);
  strand_outage_publish(t->outage); /* before who waits for it is told */
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

static void tell_known (const strand_health *t, const char *type,
                        rd_kafka_resp_err_t err, const char *text,
                        const char *topic, int32_t partition, int64_t now_us) {
  bool refused = strcmp(type, "auth_failed") == 0;
  char code[48];
  if (!strand_known_errors_hear(t->known_errors, err, text, topic, partition,
                                refused, now_us)) {
    return;
  }
  /* the group's own event says it again, as long as it lasts */
  if (!refused && strand_outage_tells(t->outage, err)) return;
  strand_owner_tell(t->owner, type, strand_code_of(err, code, sizeof(code)),
                    text, topic, partition);
}

void strand_health_error (const strand_health *t, rd_kafka_resp_err_t err,
                          const char *text, const char *topic,
                          int32_t partition, int64_t now_us) {
  char name[250];
  if (topic == NULL) topic = topic_of(text, name);
  if (is_of_the_group(err, text, topic)) {
    strand_outage_hear_join(t->outage, err, text);
  }
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_UNREACHABLE:
    case STRAND_ERROR_COORDINATOR:
      strand_outage_hear_unreachable(t->outage, err, text, topic != NULL,
                                     now_us);
      return;
    case STRAND_ERROR_LEADER: strand_outage_verify(t->outage, now_us); return;
    case STRAND_ERROR_UNAUTHENTICATED:
    case STRAND_ERROR_UNAUTHORIZED:
      tell_known(t, "auth_failed", err, text, topic, partition, now_us);
      return;
    case STRAND_ERROR_MISSING:
      if (topic == NULL || err == RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION) break;
      strand_topics_missing(t->topics, topic, now_us);
      return;
    default: break;
  }
  tell_known(t, "error", err, text, topic, partition, now_us);
}

void strand_health_throttled (const strand_health *t, const char *broker,
                              int32_t id, int wait_ms) {
  char text[300];
  if (wait_ms <= 0) return; /* no more */
  snprintf(text, sizeof(text), "broker %d (%s) answers %d ms later: a quota",
           (int)id, broker, wait_ms);
  tell_known(t, "throttled", RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED, text,
             NULL, -1, strand_clock_us());
}

/* What does not exist is told here. */
static void tell_missing (const strand_health *t, const strand_call *call,
                          int64_t now_us) {
  for (int i = 0; i < call->list->cnt; i++) {
    const rd_kafka_topic_partition_t *p = &call->list->elems[i];
    const strand_assigned *assigned = strand_assignment_find(
      t->assignment, p->topic, p->partition);
    if (assigned == NULL || assigned->leaving
        || strand_error_kind_of(p->err) != STRAND_ERROR_MISSING)
      continue;
    strand_health_error(t, p->err, rd_kafka_err2str(p->err), p->topic,
                        p->partition, now_us);
  }
}

void strand_health_leaders (const strand_health *t, const strand_call *call,
                            int64_t now_us) {
  if (call->err == 0) tell_missing(t, call, now_us);
  strand_outage_leaders(t->outage, call, now_us);
}
