/*
** known_errors.c - errors that were told, so that none is told every two
** seconds
**
** An error is the same when its code, its topic and its partition are; of
** credentials, when its broker is. One that is heard again is told again with
** back-off. A refusal lasts until what was refused works; any other error
** until it was not heard for longer than its back-off.
*/
#include "member/known_errors.h"

#include <assert.h>
#include <stdlib.h>

#include "kafka/errors.h"

#define QUIET_US 60000000
#define AGAIN_US 10000000
/* librdkafka repeats itself every 30 s, and dials again every 10 s or so. */
#define REFUSED_QUIET_US 120000000

void strand_known_errors_init (strand_known_errors *k,
                               const strand_owner *owner,
                               const strand_assignment *assignment,
                               strand_signs *signs, strand_problem *problem) {
  *k = (strand_known_errors){ .owner = owner,
                              .assignment = assignment,
                              .signs = signs,
                              .problem = problem };
}

/*
** Health
*/

/* What refuses is not always a broker: librdkafka has one sort of error for
** all that comes before a connection is there. */
static void describe (const strand_known_error *refusal,
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
                strstr(text, "certificate") == NULL ? STRAND_TLS_HINT : "");
  }
  else {
    strand_fail(problem, "AUTH", "the brokers refuse the credentials: %s",
                text);
  }
}

static void publish (const strand_known_errors *k) {
  const strand_known_error *t = k->list;
  strand_failure problem;
  while (t != NULL && !t->refused) t = t->next;
  if (t != NULL) describe(t, &problem);
  strand_problem_set(k->problem, STRAND_PROBLEM_REFUSED,
                     t != NULL ? &problem : NULL);
}

/*
** The list
*/

static bool is_same (const strand_known_error *t, rd_kafka_resp_err_t err,
                     const char *topic, int32_t partition, uint64_t broker) {
  return t->cause.err == err && t->partition == partition
         && t->broker == broker && strcmp(t->topic, topic) == 0;
}

static void forget (strand_known_errors *k, strand_known_error **at) {
  strand_known_error *t = *at;
  *at = t->next;
  k->count--;
  free(t);
}

/* There is room for one more. */
static void make_room (strand_known_errors *k) {
  strand_known_error **oldest = &k->list, **at;
  if (k->count < STRAND_ERRORS_KNOWN_MAX) return;
  for (at = oldest; *at != NULL; at = &(*at)->next) {
    if ((*at)->heard_us < (*oldest)->heard_us) oldest = at;
  }
  forget(k, oldest);
}

static strand_known_error *add (strand_known_errors *k, const char *topic) {
  strand_known_error *t = calloc(1, sizeof(*t) + strlen(topic) + 1);
  if (t == NULL) return NULL;
  make_room(k);
  strcpy(t->topic, topic);
  t->next = k->list;
  k->list = t;
  k->count++;
  return t;
}

static bool is_credentials (rd_kafka_resp_err_t err) {
  return strand_error_kind_of(err) == STRAND_ERROR_UNAUTHENTICATED;
}

bool strand_known_errors_hear (strand_known_errors *k, rd_kafka_resp_err_t err,
                               const char *text, const char *topic,
                               int32_t partition, bool refused,
                               int64_t now_us) {
  bool of_token = is_credentials(err) && strand_signs_is_token(text);
  uint64_t broker = is_credentials(err) && !of_token
                      ? strand_signs_broker(text)
                      : 0;
  strand_known_error *t = k->list;
  if (topic == NULL) topic = "";
  while (t != NULL && !is_same(t, err, topic, partition, broker)) t = t->next;
  if (t == NULL) {
    t = add(k, topic);
    if (t == NULL) return true;
    t->cause.err = err;
    t->partition = partition;
    t->broker = broker;
    t->refused = refused;
    t->of_token = of_token;
    t->again_us = now_us + AGAIN_US;
  }
  snprintf(t->cause.text, sizeof(t->cause.text), "%s", text);
  t->heard_us = now_us;
  t->tokens = atomic_load(&k->signs->tokens);
  strand_alert_begin(&t->alert, now_us, 0);
  publish(k); /* before it is told */
  return strand_alert_take_due(&t->alert, now_us);
}

/* Who has taken the credentials since the last look. */
typedef struct arrivals {
  uint64_t list[STRAND_SIGNS_UP];
  size_t count;
  bool more; /* others, not known: an error that goes on is heard again */
  unsigned tokens; /* that the program has given so far */
} arrivals;

static void take_arrivals (strand_known_errors *k, arrivals *to) {
  strand_signs *s = k->signs;
  unsigned ups = atomic_load(&s->ups);
  to->count = 0;
  to->more = false;
  to->tokens = atomic_load(&s->tokens);
  if (ups == k->ups_seen) return;
  k->ups_seen = ups;
  to->more = atomic_exchange(&s->up_more, false);
  for (size_t i = 0; i < STRAND_SIGNS_UP; i++) {
    uint64_t broker = atomic_exchange(&s->up[i], 0);
    if (broker != 0) to->list[to->count++] = broker;
  }
}

static bool is_let_in (const arrivals *up, const strand_known_error *t) {
  for (size_t i = 0; i < up->count; i++) {
    if (up->list[i] == t->broker) return true;
  }
  return up->more;
}

static bool has_ended (const arrivals *up, const strand_known_error *t,
                       int64_t now_us) {
  int64_t quiet_us = now_us - t->heard_us;
  if (t->of_token && up->tokens != t->tokens) return true;
  if (t->broker != 0) return is_let_in(up, t) || quiet_us > REFUSED_QUIET_US;
  return !t->refused && quiet_us > QUIET_US && quiet_us > t->alert.wait_us;
}

/* librdkafka tells once that it may not read a partition, and of the end of
** one only when it is new: so a seek to where it is asks again. */
static bool read_again (const strand_known_errors *k, strand_known_error *t,
                        int64_t now_us) {
  strand_assigned *assigned;
  if (!t->refused || t->partition < 0 || now_us < t->again_us) return false;
  assigned = strand_assignment_find(k->assignment, t->topic, t->partition);
  if (assigned == NULL || k->owner->phase != STRAND_SERVING) return false;
  t->again_us = now_us + AGAIN_US;
  assigned->reread = true;
  return true;
}

static void tell_again (const strand_known_errors *k,
                        const strand_known_error *t) {
  char code[48];
  publish(k);
  strand_owner_tell(
    k->owner, "auth_failed", strand_code_of(t->cause.err, code, sizeof(code)),
    t->cause.text, *t->topic != '\0' ? t->topic : NULL, t->partition);
}

bool strand_known_errors_tick (strand_known_errors *k, int64_t now_us) {
  strand_known_error **at = &k->list, *t;
  bool reread = false;
  arrivals up;
  take_arrivals(k, &up);
  while ((t = *at) != NULL) {
    if (has_ended(&up, t, now_us)) {
      forget(k, at);
      continue;
    }
    reread = read_again(k, t, now_us) || reread;
    if (t->refused && strand_alert_take_due(&t->alert, now_us)) {
      tell_again(k, t);
    }
    at = &t->next;
  }
  publish(k);
  return reread;
}

void strand_known_errors_works (strand_known_errors *k, const char *topic,
                                int32_t partition) {
  strand_known_error **at = &k->list, *t;
  bool some = false; /* it is called for each record that is read */
  if (topic == NULL) topic = "";
  while ((t = *at) != NULL) {
    if (t->refused && t->broker == 0 && strcmp(t->topic, topic) == 0
        && (t->partition < 0 || t->partition == partition)) {
      forget(k, at);
      some = true;
    }
    else at = &t->next;
  }
  if (some) publish(k);
}

void strand_known_errors_seen (strand_known_errors *k, const char *topic,
                               int64_t asked_us) {
  strand_known_error **at = &k->list, *t;
  while ((t = *at) != NULL) {
    if (t->refused && t->partition < 0 && t->heard_us < asked_us
        && strcmp(t->topic, topic) == 0)
      forget(k, at);
    else at = &t->next;
  }
}

void strand_known_errors_gone (strand_known_errors *k, const char *topic,
                               int32_t partition) {
  strand_known_error **at = &k->list, *t;
  while ((t = *at) != NULL) {
    if (t->refused && t->partition >= 0 && t->partition == partition
        && strcmp(t->topic, topic) == 0)
      forget(k, at);
    else at = &t->next;
  }
}

void strand_known_errors_free (strand_known_errors *k) {
  while (k->list != NULL) forget(k, &k->list);
}

static bool is_alone (const strand_known_error *t) {
  const strand_known_error *other = t->next;
  while (other != NULL
         && !is_same(other, t->cause.err, t->topic, t->partition, t->broker))
    other = other->next;
  return other == NULL;
}

void strand_known_errors_check (const strand_known_errors *k) {
  unsigned count = 0;
  for (const strand_known_error *t = k->list; t != NULL; t = t->next) {
    bool alone = is_alone(t);
    (void)alone;
    count++;
    assert(t->refused || (t->broker == 0 && !t->of_token)); /* (2) */
    assert(alone);                                          /* (3) */
  }
  assert(count == k->count);                /* (1) */
  assert(count <= STRAND_ERRORS_KNOWN_MAX); /* (1) */
}
