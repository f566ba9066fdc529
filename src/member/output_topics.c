/*
** output_topics.c - see output_topics.h
*/
#include "member/output_topics.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "kafka/errors.h"

#define PATIENCE_US 2000000 /* for a topic that a transaction makes */

static strand_calls *calls_of (const strand_output_topics *topics) {
  return topics->calls != NULL ? topics->calls : topics->outbox->calls;
}

static strand_known_topics *known_of (const strand_output_topics *topics) {
  return &topics->owner->consumer->staging.topics;
}

/* Its error is that of the record, when that is sent. */
static strand_cached_topic *open_topic (const strand_output_topics *topics,
                                        const char *name) {
  strand_failure ignored;
  return strand_calls_topic(calls_of(topics), name, &ignored);
}

rd_kafka_topic_t *strand_output_topics_use (const strand_output_topics *topics,
                                            const char *name) {
  strand_calls *calls = calls_of(topics);
  const strand_known_topic *known;
  strand_cached_topic *t;
  if (calls == NULL) return NULL;
  known = strand_known_topics_add(known_of(topics), name);
  if (known == NULL || (t = open_topic(topics, name)) == NULL) return NULL;
  if (strand_topic_place_count(t->place) == 0
      || strand_known_topic_is_missing(known))
    strand_calls_want(calls, t, 1);
  return t->handle;
}

/* True: the brokers, asked after 'since_us', say that there is none. Else they
** are asked. */
static bool refute (const strand_output_topics *topics, const char *name,
                    int32_t partition, int64_t since_us) {
  strand_calls *calls = calls_of(topics);
  strand_topic_facts facts;
  strand_cached_topic *t = calls != NULL ? open_topic(topics, name) : NULL;
  if (t == NULL) return false;
  strand_calls_want(calls, t, partition + 1);
  strand_calls_facts(calls, t, &facts);
  return facts.partitions > 0 && facts.partitions <= partition
         && (int64_t)(facts.answered * 1e6) >= since_us;
}

/* What was so of late is not waited for again. */
static bool is_recent (int64_t since_us, int64_t now_us) {
  return since_us != 0 && now_us - since_us <= 2 * STRAND_AWAIT_PARTITION_US;
}

static bool is_awaited (const strand_output_topics *topics,
                        const strand_output *output, int64_t now_us) {
  return is_recent(topics->awaited_us, now_us)
         && topics->awaited_partition == output->partition
         && strcmp(topics->awaited, strand_output_topic(output)) == 0;
}

/* Since when its partition is waited for. What waits beside another does not
** begin anew whenever that was the last. */
static int64_t note_awaited (strand_output_topics *topics,
                             const strand_output *output, int64_t now_us) {
  strand_staged *s = output->of;
  bool recent = is_recent(s->awaited_us, now_us);
  if (!is_awaited(topics, output, now_us)) {
    snprintf(topics->awaited, sizeof(topics->awaited), "%s",
             strand_output_topic(output));
    topics->awaited_partition = output->partition;
    topics->awaited_us = recent ? s->awaited_us : now_us;
  }
  if (!recent) s->awaited_us = topics->awaited_us;
  return s->awaited_us;
}

bool strand_output_topics_await (strand_output_topics *topics,
                                 const strand_output *output, int64_t now_us) {
  const char *name = strand_output_topic(output);
  int64_t since_us = note_awaited(topics, output, now_us);
  return now_us < since_us + STRAND_AWAIT_PARTITION_US
         && !refute(topics, name, output->partition,
                    since_us + STRAND_ASK_PARTITION_US);
}

static void ask_limit (const strand_output_topics *topics, const char *name) {
  strand_cached_topic *t = open_topic(topics, name);
  if (t != NULL) strand_calls_want_limit(calls_of(topics), t, true);
}

void strand_output_topics_verify (const strand_output_topics *topics,
                                  const char *name) {
  if (calls_of(topics) != NULL) ask_limit(topics, name);
}

void strand_output_topics_expect (const strand_output_topics *topics,
                                  const strand_staged *staged) {
  const strand_output *o = staged->first;
  for (; o != NULL; o = o->next)
    strand_output_topics_use(topics, strand_output_topic(o));
}

/*
** The member's own client
*/

void strand_output_topics_open (strand_output_topics *topics,
                                strand_waker *waker) {
  const strand_settings *s = &topics->owner->consumer->settings;
  if (s->delivery != STRAND_EXACTLY_ONCE || !s->dead_letters.produces) return;
  topics->patience_us = s->transactional.interval_us + PATIENCE_US;
  topics->calls = strand_calls_new(topics->owner->client, waker->fd,
                                   &topics->placement);
}

strand_calls *strand_output_topics_leave (strand_output_topics *topics) {
  strand_calls *calls = topics->calls;
  topics->calls = NULL;
  if (calls != NULL) strand_calls_stop(calls);
  return calls;
}

void strand_output_topics_free (strand_output_topics *topics) {
  strand_placement_free(&topics->placement);
}

/*
** What workers would like to know
*/

static void ask_for (const strand_output_topics *topics,
                     strand_known_topic *known) {
  int wanted = strand_known_topic_take_wanted(known);
  strand_cached_topic *t;
  if (wanted > 0 && (t = open_topic(topics, known->name)) != NULL)
    strand_calls_want(calls_of(topics), t, wanted);
  if (strand_known_topic_take_verify(known)) ask_limit(topics, known->name);
}

static void ask (const strand_output_topics *topics) {
  strand_known_topics *known = known_of(topics);
  if (!strand_known_topics_take_asked(known)) return;
  for (size_t i = 0; i < STRAND_KNOWN_TOPICS_BUCKETS; i++) {
    strand_known_topic *t = atomic_load(&known->buckets[i]);
    for (; t != NULL; t = t->next) ask_for(topics, t);
  }
}

/*
** What was answered
*/

static void note (const strand_output_topics *topics, strand_cached_topic *t) {
  strand_calls *calls = calls_of(topics);
  int32_t partitions = strand_topic_place_count(t->place);
  strand_known_topic *known;
  strand_topic_facts facts;
  known = strand_known_topics_find(known_of(topics), t->name, strlen(t->name));
  if (known == NULL) return;
  strand_calls_facts(calls, t, &facts);
  strand_known_topic_note(known, partitions, facts.limit);
  if (facts.answered >= 0
      && (facts.partitions > 0 || strand_error_is_no_topic(facts.err)))
    strand_known_topic_note_missing(known, facts.partitions == 0,
                                    (int64_t)(facts.answered * 1e6)
                                      + topics->patience_us);
  if (partitions > 0) strand_calls_want_limit(calls, t, false);
  if (facts.limit > 0) strand_outbox_fit(topics->outbox, t->name, facts.limit);
}

void strand_output_topics_tick (strand_output_topics *topics) {
  strand_calls *calls = calls_of(topics);
  bool seen, answered;
  strand_cached_topic *t;
  if (calls == NULL) return;
  seen = strand_placement_changed(
    topics->calls != NULL ? &topics->placement : &topics->outbox->placement);
  answered = strand_calls_take_answered(calls);
  ask(topics);
  if (!seen && !answered) return;
  for (t = strand_calls_topics(calls); t != NULL; t = t->next) note(topics, t);
}

void strand_output_topics_check (const strand_output_topics *topics) {
  bool own = topics->calls != NULL || topics->placement.first != NULL;
  strand_placement_check(&topics->placement);
  assert(!own
         || topics->owner->consumer->settings.delivery
              == STRAND_EXACTLY_ONCE); /* (1) */
  (void)own;
}
