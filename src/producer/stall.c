/*
** stall.c - see stall.h
*/
#include "producer/stall.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "base/siphash.h"
#include "kafka/errors.h"
#include "kafka/leaders.h"

#define PATIENCE_LEAST_US 500000
#define TICKS 4 /* within 'patience' */

void strand_stall_init (strand_stall *s, int linger_ms, int timeout_ms,
                        bool all_acks) {
  int64_t patience_us = STRAND_STALL_PATIENCE_US;
  memset(s, 0, sizeof(*s));
  if (timeout_ms > 0 && (int64_t)timeout_ms * 250 < patience_us) {
    patience_us = (int64_t)timeout_ms * 250;
  }
  if (patience_us < PATIENCE_LEAST_US) patience_us = PATIENCE_LEAST_US;
  s->patience_us = patience_us + (int64_t)linger_ms * 1000;
  s->all_acks = all_acks;
}

/*
** Partitions that take records
*/

/* Never 0. */
static uint64_t hash_of (const char *topic, int32_t partition) {
  uint64_t seed[2] = { (uint32_t)partition, 0 };
  uint64_t hash = strand_siphash(seed, topic, strlen(topic));
  return hash != 0 ? hash : 1;
}

/* Where it is, or the free place for it. One is always free. */
static uint64_t *place_of (strand_stall *s, uint64_t hash) {
  size_t i = (size_t)(hash ^ hash >> 32) % STRAND_STALL_TAKING;
  while (s->taking[i] != 0 && s->taking[i] != hash) {
    i = (i + 1) % STRAND_STALL_TAKING;
  }
  return &s->taking[i];
}

static void note_taking (strand_stall *s, const char *topic,
                         int32_t partition) {
  uint64_t hash = hash_of(topic, partition);
  uint64_t *place = place_of(s, hash);
  if (*place != 0 || s->taking_count > STRAND_STALL_TAKING / 2) return;
  *place = hash;
  s->taking_count++;
}

static void forget_taking (strand_stall *s) {
  if (s->taking_count == 0) return;
  memset(s->taking, 0, sizeof(s->taking));
  s->taking_count = 0;
}

static bool is_taking (strand_stall *s, const rd_kafka_topic_partition_t *p) {
  return *place_of(s, hash_of(p->topic, p->partition)) != 0;
}

/*
** Labels
*/

static void swap (strand_stall *s, int64_t now_us) {
  int old = 1 - s->label;
  assert(s->out[old] == 0);
  if (s->took[old] && !s->failed[old]) {
    s->leaders = s->replicas = (strand_alert){ 0 };
  }
  s->took[old] = s->failed[old] = s->noting = false;
  if (!s->asking) forget_taking(s); /* else the answer needs it */
  s->label = old;
  s->since_us = now_us;
}

void strand_stall_begin (strand_stall *s, int label, int64_t now_us) {
  assert(s->out[label] == 0);
  s->label = label;
  swap(s, now_us);
  s->due_us = now_us + s->patience_us / TICKS;
}

void strand_stall_reported (strand_stall *s, int label,
                            rd_kafka_resp_err_t err, const char *topic,
                            int32_t partition) {
  s->out[label]--;
  assert(s->out[label] >= 0);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) s->failed[label] = true;
  else {
    s->took[label] = true;
    if (s->noting) note_taking(s, topic, partition);
  }
  if (s->out[0] + s->out[1] == 0) s->due_us = 0; /* (1) */
}

bool strand_stall_tick (strand_stall *s, int64_t now_us) {
  if (s->due_us == 0 || now_us < s->due_us) return false;
  s->due_us = now_us + s->patience_us / TICKS;
  if (s->out[1 - s->label] == 0) {
    swap(s, now_us);
    return false;
  }
  s->noting = true;
  if (now_us - s->since_us < s->patience_us || s->asking) return false;
  if (s->asked_us != 0 && now_us - s->asked_us < STRAND_STALL_AGAIN_US)
    return false;
  s->asked_us = now_us;
  s->asking = true;
  return true;
}

/*
** Answers
*/

static bool is_leaderless (const rd_kafka_topic_partition_t *p) {
  return strand_error_kind_of(p->err) != STRAND_ERROR_REPLICAS;
}

static int count_of (const rd_kafka_topic_partition_list_t *list,
                     bool leaderless) {
  int count = 0;
  for (int i = 0; i < list->cnt; i++)
    count += is_leaderless(&list->elems[i]) == leaderless;
  return count;
}

/* "t/0", or "t/0 (1 of 3)". */
static void write_one (const rd_kafka_topic_partition_t *p, char *text,
                       size_t size) {
  if (is_leaderless(p)) {
    snprintf(text, size, "%s/%d", p->topic, (int)p->partition);
    return;
  }
  snprintf(text, size, "%s/%d (%d of %d)", p->topic, (int)p->partition,
           strand_leaders_in_sync(p), strand_leaders_copies(p));
}

/* Those that there is room for, and how many more. */
static void write_names (const rd_kafka_topic_partition_list_t *list,
                         bool leaderless, char *text, size_t size) {
  static const char room[] = " and 2147483647 more";
  int count = count_of(list, leaderless), named = 0;
  size_t at = 0;
  for (int i = 0; i < list->cnt; i++) {
    char one[300];
    const rd_kafka_topic_partition_t *p = &list->elems[i];
    if (is_leaderless(p) != leaderless) continue;
    write_one(p, one, sizeof(one));
    if (named >= STRAND_PARTITIONS_NAMED_MAX) break;
    if (named > 0 && at + strlen(one) + sizeof(room) + 2 > size) break;
    at += (size_t)snprintf(text + at, size - at, "%s%s", named > 0 ? ", " : "",
                           one);
    if (at >= size) return; /* a very long name is cut */
    named++;
  }
  if (count > named) {
    snprintf(text + at, size - at, " and %d more", count - named);
  }
}

static const rd_kafka_topic_partition_t *
first_of (const rd_kafka_topic_partition_list_t *list, bool leaderless) {
  int i = 0;
  while (is_leaderless(&list->elems[i]) != leaderless) i++;
  return &list->elems[i];
}

void strand_obstacle_of (const rd_kafka_topic_partition_list_t *list,
                         bool all_acks, strand_obstacle *obstacle) {
  bool leaderless = count_of(list, true) > 0;
  const rd_kafka_topic_partition_t *first;
  size_t at;
  obstacle->type = NULL;
  if (!leaderless && (!all_acks || count_of(list, false) == 0)) return;
  first = first_of(list, leaderless);
  obstacle->type = leaderless ? "leader_missing" : "replicas_missing";
  obstacle->err = first->err;
  obstacle->topic = first->topic;
  obstacle->partition = first->partition;
  at = (size_t)snprintf(obstacle->reason, sizeof(obstacle->reason), "%s",
                        leaderless ? "no leader answers for "
                                   : "too few in-sync replicas, it seems: ");
  write_names(list, leaderless, obstacle->reason + at,
              sizeof(obstacle->reason) - at);
}

static void take_out_taking (strand_stall *s,
                             rd_kafka_topic_partition_list_t *list) {
  for (int i = list->cnt - 1; i >= 0; i--) {
    if (is_taking(s, &list->elems[i])) {
      rd_kafka_topic_partition_list_del_by_idx(list, i);
    }
  }
  forget_taking(s);
}

bool strand_stall_answered (strand_stall *s, rd_kafka_resp_err_t err,
                            rd_kafka_topic_partition_list_t *list,
                            int64_t now_us, strand_obstacle *obstacle) {
  strand_alert *t;
  s->asking = false;
  obstacle->type = NULL;
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (!s->noting) forget_taking(s); /* of a doubt that is over */
    return false;
  }
  take_out_taking(s, list);
  strand_obstacle_of(list, s->all_acks, obstacle);
  if (count_of(list, true) == 0) s->leaders = (strand_alert){ 0 };
  if (count_of(list, false) == 0) s->replicas = (strand_alert){ 0 };
  if (obstacle->type == NULL) return false;
  t = count_of(list, true) > 0 ? &s->leaders : &s->replicas;
  strand_alert_begin(t, now_us, 0);
  return strand_alert_take_due(t, now_us);
}

void strand_stall_forget (strand_stall *s) {
  s->asking = false;
  if (!s->noting) forget_taking(s);
}

void strand_stall_check (const strand_stall *s) {
  (void)s;
  assert(s->out[0] >= 0 && s->out[1] >= 0);
  assert(s->out[0] + s->out[1] > 0 || s->due_us == 0);    /* (1) */
  assert(!s->asking || s->asked_us != 0);                 /* (2) */
  assert(s->taking_count == 0 || s->noting || s->asking); /* (3) */
  assert(s->taking_count <= STRAND_STALL_TAKING / 2 + 1); /* (3) */
}
