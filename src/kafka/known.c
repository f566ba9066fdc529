/*
** known.c - errors that were told, so that none is told every two seconds
**
** An error is the same when its code, its topic and its partition are; of
** credentials, when its broker is. One that is heard again is told again with
** back-off. A refusal lasts until what was refused works; any other error
** until it was not heard for longer than its back-off.
*/
#include <stdlib.h>

#include "kafka/errors.h"
#include "kafka/member.h"

#define QUIET_US 60000000
#define AGAIN_US 10000000
/* librdkafka repeats itself every 30 s, and dials again every 10 s or so. */
#define REFUSED_QUIET_US 120000000

static bool is_same (const strand_known *k, rd_kafka_resp_err_t err,
                     const char *topic, int32_t partition, uint64_t broker) {
  return k->cause.err == err && k->partition == partition
         && k->broker == broker && strcmp(k->topic, topic) == 0;
}

static void forget (strand_member *m, strand_known **at) {
  strand_known *k = *at;
  *at = k->next;
  m->troubles.known_count--;
  free(k);
}

/* There is room for one more. */
static void make_room (strand_member *m) {
  strand_known **oldest = &m->troubles.known, **at;
  if (m->troubles.known_count < STRAND_ERRORS_KNOWN_MAX) return;
  for (at = oldest; *at != NULL; at = &(*at)->next) {
    if ((*at)->heard_us < (*oldest)->heard_us) oldest = at;
  }
  forget(m, oldest);
}

static strand_known *add (strand_member *m, const char *topic) {
  strand_known *k = calloc(1, sizeof(*k) + strlen(topic) + 1);
  if (k == NULL) return NULL;
  make_room(m);
  strcpy(k->topic, topic);
  k->next = m->troubles.known;
  m->troubles.known = k;
  m->troubles.known_count++;
  return k;
}

static bool is_credentials (rd_kafka_resp_err_t err) {
  return strand_error_kind_of(err) == STRAND_ERROR_UNAUTHENTICATED;
}

bool strand_known_hear (strand_member *m, rd_kafka_resp_err_t err,
                        const char *text, const char *topic, int32_t partition,
                        bool refused, int64_t now_us) {
  bool of_token = is_credentials(err) && strand_signs_is_token(text);
  uint64_t broker = is_credentials(err) && !of_token
                      ? strand_signs_broker(text)
                      : 0;
  strand_known *k = m->troubles.known;
  if (topic == NULL) topic = "";
  while (k != NULL && !is_same(k, err, topic, partition, broker)) k = k->next;
  if (k == NULL) {
    k = add(m, topic);
    if (k == NULL) return true;
    k->cause.err = err;
    k->partition = partition;
    k->broker = broker;
    k->refused = refused;
    k->of_token = of_token;
    k->again_us = now_us + AGAIN_US;
  }
  snprintf(k->cause.text, sizeof(k->cause.text), "%s", text);
  k->heard_us = now_us;
  k->tokens = atomic_load(&m->signs.tokens);
  strand_trouble_begin(&k->trouble, now_us, 0);
  return strand_trouble_take_due(&k->trouble, now_us);
}

/* Who has taken the credentials since the last look. */
typedef struct arrivals {
  uint64_t list[STRAND_SIGNS_UP];
  size_t count;
  bool more; /* others, not known: an error that goes on is heard again */
  unsigned tokens; /* that the program has given so far */
} arrivals;

static void take_arrivals (strand_member *m, arrivals *to) {
  strand_signs *s = &m->signs;
  unsigned ups = atomic_load(&s->ups);
  to->count = 0;
  to->more = false;
  to->tokens = atomic_load(&s->tokens);
  if (ups == m->troubles.ups_seen) return;
  m->troubles.ups_seen = ups;
  to->more = atomic_exchange(&s->up_more, false);
  for (size_t i = 0; i < STRAND_SIGNS_UP; i++) {
    uint64_t broker = atomic_exchange(&s->up[i], 0);
    if (broker != 0) to->list[to->count++] = broker;
  }
}

static bool is_let_in (const arrivals *up, const strand_known *k) {
  for (size_t i = 0; i < up->count; i++) {
    if (up->list[i] == k->broker) return true;
  }
  return up->more;
}

static bool is_over (const arrivals *up, const strand_known *k,
                     int64_t now_us) {
  int64_t quiet_us = now_us - k->heard_us;
  if (k->of_token && up->tokens != k->tokens) return true;
  if (k->broker != 0) return is_let_in(up, k) || quiet_us > REFUSED_QUIET_US;
  return !k->refused && quiet_us > QUIET_US && quiet_us > k->trouble.wait_us;
}

/* librdkafka tells once that it may not read a partition, and of the end of
** one only when it is new: so a seek to where it is asks again. */
static void read_again (strand_member *m, strand_known *k, int64_t now_us) {
  strand_tag *tag;
  if (!k->refused || k->partition < 0 || now_us < k->again_us) return;
  tag = strand_assignment_find(&m->assignment, k->topic, k->partition);
  if (tag == NULL || m->owner.phase != STRAND_SERVING) return;
  k->again_us = now_us + AGAIN_US;
  strand_position_again(m, tag);
}

void strand_known_tick (strand_member *m, int64_t now_us) {
  strand_known **at = &m->troubles.known, *k;
  arrivals up;
  take_arrivals(m, &up);
  while ((k = *at) != NULL) {
    if (is_over(&up, k, now_us)) {
      forget(m, at);
      continue;
    }
    read_again(m, k, now_us);
    if (k->refused && strand_trouble_take_due(&k->trouble, now_us)) {
      char code[48];
      strand_trouble_tell(
        m, "auth_failed", strand_code_of(k->cause.err, code, sizeof(code)),
        k->cause.text, *k->topic != '\0' ? k->topic : NULL, k->partition);
    }
    at = &k->next;
  }
}

void strand_known_works (strand_member *m, const char *topic,
                         int32_t partition) {
  strand_known **at = &m->troubles.known, *k;
  if (topic == NULL) topic = "";
  while ((k = *at) != NULL) {
    if (k->refused && k->broker == 0 && strcmp(k->topic, topic) == 0
        && (k->partition < 0 || k->partition == partition))
      forget(m, at);
    else at = &k->next;
  }
}

void strand_known_seen (strand_member *m, const char *topic,
                        int64_t asked_us) {
  strand_known **at = &m->troubles.known, *k;
  while ((k = *at) != NULL) {
    if (k->refused && k->partition < 0 && k->heard_us < asked_us
        && strcmp(k->topic, topic) == 0)
      forget(m, at);
    else at = &k->next;
  }
}

void strand_known_gone (strand_member *m, const char *topic,
                        int32_t partition) {
  strand_known **at = &m->troubles.known, *k;
  while ((k = *at) != NULL) {
    if (k->refused && k->partition >= 0 && k->partition == partition
        && strcmp(k->topic, topic) == 0)
      forget(m, at);
    else at = &k->next;
  }
}

const strand_known *strand_known_refusal (const strand_member *m) {
  const strand_known *k = m->troubles.known;
  while (k != NULL && !k->refused) k = k->next;
  return k;
}

void strand_known_free (strand_member *m) {
  while (m->troubles.known != NULL) forget(m, &m->troubles.known);
}
