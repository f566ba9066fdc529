/*
** settings.c - what a consumer was opened with, and what was asked of it since
*/
#include "shared/settings.h"

#include <assert.h>
#include <stdlib.h>

#define MAX_POLL_US 300000000 /* librdkafka's default */

/*
** Opening
*/

/* Without it the order would be another. */
static bool copy_header (strand_settings *s,
                         const strand_consumer_config *config) {
  if (config->ordering_header == NULL) return true;
  s->ordering_header = strdup(config->ordering_header);
  return s->ordering_header != NULL;
}

static bool copy_property (strand_settings *s, const strand_property *from) {
  strand_property copy = { strdup(from->name), strdup(from->value) };
  s->dead_letter_properties[s->dead_letters.kafka_count++] = copy;
  return copy.name != NULL && copy.value != NULL;
}

/* Each member makes its own producer of them. */
static bool copy_dead_letters (strand_settings *s,
                               const strand_dead_letters_config *from) {
  bool ok = true;
  if (from->kafka_count == 0) return true;
  s->dead_letter_properties = calloc(from->kafka_count + 1,
                                     sizeof(*s->dead_letter_properties));
  if (s->dead_letter_properties == NULL) return false;
  s->dead_letters = *from;
  s->dead_letters.kafka = s->dead_letter_properties;
  s->dead_letters.kafka_count = 0;
  s->dead_letters.topic = from->topic != NULL ? strdup(from->topic) : NULL;
  s->dead_letters.partitioner = from->partitioner != NULL
                                  ? strdup(from->partitioner)
                                  : NULL;
  for (size_t i = 0; ok && i < from->kafka_count; i++) {
    ok = copy_property(s, &from->kafka[i]);
  }
  return ok && (from->topic == NULL || s->dead_letters.topic != NULL)
         && (from->partitioner == NULL || s->dead_letters.partitioner != NULL);
}

static bool copy_transactional (strand_settings *s,
                                const strand_transactional *from) {
  s->transactional = *from;
  if (from->id == NULL) return true;
  s->transactional.id = strdup(from->id);
  return s->transactional.id != NULL;
}

static void copy_topics (strand_settings *s,
                         const strand_consumer_config *config) {
  s->topics = rd_kafka_topic_partition_list_new((int)config->topic_count);
  for (size_t i = 0; i < config->topic_count; i++) {
    rd_kafka_topic_partition_list_add(s->topics, config->topics[i],
                                      RD_KAFKA_PARTITION_UA);
  }
}

bool strand_settings_init (strand_settings *s,
                           const strand_consumer_config *config) {
  *s = (strand_settings){ .has_oauth = config->has_oauth,
                          .has_log = config->has_log,
                          .is_local = config->limits.workers == 0,
                          .has_loops = config->has_loops,
                          .null_key_unordered = config->null_key_unordered,
                          .unreadable_fail = config->unreadable_fail,
                          .park_alone = config->park_alone,
                          .ordering = config->ordering,
                          .delivery = config->delivery,
                          .max_metadata = config->max_metadata,
                          .limits = config->limits };
  strand_lock_init(&s->lock, STRAND_RANK_LEAF);
  copy_topics(s, config);
  return copy_header(s, config) && copy_dead_letters(s, &config->dead_letters)
         && copy_transactional(s, &config->transactional);
}

/* What librdkafka holds of its own, and how long it waits for a poll. */
bool strand_settings_read (strand_settings *s, const rd_kafka_conf_t *conf) {
  char value[64];
  size_t size = sizeof(value);
  s->max_poll_us = MAX_POLL_US;
  if (rd_kafka_conf_get(conf, "max.poll.interval.ms", value, &size) == 0) {
    s->max_poll_us = strtoll(value, NULL, 10) * 1000;
  }
  size = sizeof(value);
  if (rd_kafka_conf_get(conf, "queued.max.messages.kbytes", value, &size)
      == 0) {
    s->prefetch_kbytes = (size_t)strtoull(value, NULL, 10);
  }
  s->subscription = strand_subscription_new(s->topics, conf);
  return s->subscription != NULL;
}

static void free_dead_letters (strand_settings *s) {
  for (size_t i = 0; i < s->dead_letters.kafka_count; i++) {
    free((char *)(uintptr_t)s->dead_letter_properties[i].name);
    free((char *)(uintptr_t)s->dead_letter_properties[i].value);
  }
  free(s->dead_letter_properties);
  free((char *)(uintptr_t)s->dead_letters.topic);
  free((char *)(uintptr_t)s->dead_letters.partitioner);
}

void strand_settings_free (strand_settings *s) {
  for (size_t i = 0; i < s->rule_count; i++) free(s->rules[i].topic);
  free(s->rules);
  free(s->ordering_header);
  free_dead_letters(s);
  free((char *)(uintptr_t)s->transactional.id);
  strand_subscription_free(s->subscription);
  if (s->topics != NULL) rd_kafka_topic_partition_list_destroy(s->topics);
  strand_lock_free(&s->lock);
}

/*
** Limits
*/

strand_limits strand_settings_limits (strand_settings *s) {
  strand_limits limits;
  strand_lock_take(&s->lock);
  limits = s->limits;
  strand_lock_release(&s->lock);
  return limits;
}

void strand_settings_limit (strand_settings *s, const strand_limits *limits) {
  strand_lock_take(&s->lock);
  s->limits = *limits;
  strand_lock_release(&s->lock);
}

/*
** Pausing
*/

static bool covers (const char *topic, int32_t partition,
                    const strand_rule *rule) {
  if (topic == NULL) return true;
  if (rule->topic == NULL || strcmp(rule->topic, topic) != 0) return false;
  return partition < 0 || rule->partition == partition;
}

/* Those that are dropped stand behind the others: drop_topics frees them. */
static void drop_rules_locked (strand_settings *s, const char *topic,
                               int32_t partition) {
  size_t kept = 0;
  for (size_t i = 0; i < s->rule_count; i++) {
    strand_rule rule = s->rules[i];
    if (covers(topic, partition, &rule)) continue;
    s->rules[i] = s->rules[kept];
    s->rules[kept++] = rule;
  }
  s->rule_count = kept;
}

static void drop_topics (strand_rule *rules, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) free(rules[i].topic);
}

bool strand_settings_pause (strand_settings *s, const char *topic,
                            int32_t partition) {
  strand_rule rule = { topic != NULL ? strdup(topic) : NULL, partition };
  size_t count = s->rule_count;
  strand_rule *old, *grown = malloc((count + 1) * sizeof(*grown));
  if (grown == NULL || (topic != NULL && rule.topic == NULL)) {
    free(grown);
    free(rule.topic);
    return false;
  }
  strand_lock_take(&s->lock);
  drop_rules_locked(s, topic, partition);
  old = s->rules;
  if (s->rule_count > 0) memcpy(grown, old, s->rule_count * sizeof(*grown));
  grown[s->rule_count++] = rule;
  s->rules = grown;
  strand_lock_release(&s->lock);
  drop_topics(old, s->rule_count - 1, count);
  free(old);
  return true;
}

void strand_settings_resume (strand_settings *s, const char *topic,
                             int32_t partition) {
  size_t count = s->rule_count;
  strand_lock_take(&s->lock);
  drop_rules_locked(s, topic, partition);
  strand_lock_release(&s->lock);
  drop_topics(s->rules, s->rule_count, count);
}

static bool is_paused_by (const strand_rule *rule, const char *topic,
                          int32_t partition) {
  if (rule->topic == NULL) return true;
  return strcmp(rule->topic, topic) == 0
         && (rule->partition < 0 || rule->partition == partition);
}

bool strand_settings_paused (strand_settings *s, const char *topic,
                             int32_t partition) {
  bool paused = false;
  strand_lock_take(&s->lock);
  for (size_t i = 0; i < s->rule_count && !paused; i++) {
    paused = is_paused_by(&s->rules[i], topic, partition);
  }
  strand_lock_release(&s->lock);
  return paused;
}

void strand_settings_check (strand_settings *s) {
  strand_lock_take(&s->lock);
  for (size_t i = 0; i + 1 < s->rule_count; i++) {
    const strand_rule *last = &s->rules[s->rule_count - 1];
    assert(!covers(last->topic, last->partition, &s->rules[i])); /* (1) */
    (void)last;
  }
  strand_lock_release(&s->lock);
  assert(s->dead_letters.kafka == s->dead_letter_properties); /* (2) */
}
