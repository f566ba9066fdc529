/*
** renewal.c - a producer gets another client; see producer_own.h
**
** One that is spent (transaction.h), or at its end (fatal.h); or, since
** librdkafka takes batch.size when a client is opened, and never after, one
** whose batches are too large for a topic. Only while nothing is queued: two
** clients know nothing of each other's order.
*/
#include <stdio.h>

#include "base/clock.h"
#include "kafka/conf.h"
#include "producer/producer_own.h"

static bool open_client (const strand_producer *p, strand_client *client,
                         rd_kafka_conf_t *conf, strand_failure *failure) {
  if (!strand_client_open(client, RD_KAFKA_PRODUCER, conf, p->renewal.events,
                          failure))
    return false;
  if (!p->transactional || strand_client_open_transactions(client))
    return true;
  strand_fail(failure, "NO_MEMORY", "out of memory");
  return false;
}

bool strand_renewal_open (strand_producer *p, rd_kafka_conf_t *conf,
                          int events, strand_failure *failure) {
  p->renewal.conf = rd_kafka_conf_dup(conf);
  p->renewal.events = events;
  return open_client(p, p->client, conf, failure);
}

/* How many partitions it has goes on being known. */
static bool take_topic (strand_calls *calls, const strand_cached_topic *old,
                        strand_failure *failure) {
  strand_cached_topic *t = strand_calls_topic(calls, old->name, failure);
  int32_t count = strand_topic_place_count(old->place);
  if (t == NULL) return false;
  if (count > 0) strand_topic_place_note(t->place, count);
  strand_calls_want(calls, t, 1);
  return true;
}

static const strand_cached_topic *topic_at (const strand_calls *calls,
                                            size_t index) {
  const strand_cached_topic *t = strand_calls_topics(calls);
  while (t != NULL && t->index != index) t = t->next;
  return t;
}

/* In the order in which they came: by that they are known (topic_watch.h). */
static bool take_topics (strand_calls *calls, const strand_calls *old,
                         strand_failure *failure) {
  const strand_cached_topic *t;
  for (size_t i = 0; (t = topic_at(old, i)) != NULL; i++) {
    if (!take_topic(calls, t, failure)) return false;
  }
  return true;
}

strand_client *strand_renewal_client (const strand_producer *p,
                                      strand_failure *failure) {
  rd_kafka_conf_t *conf;
  strand_client *client = strand_client_new(p->log, p->readiness.wake_fd,
                                            failure);
  if (client == NULL) return NULL;
  conf = rd_kafka_conf_dup(p->renewal.conf);
  strand_placement_renew(conf, &p->client->placement, &client->placement);
  if (open_client(p, client, conf, failure)
      && take_topics(client->calls, p->client->calls, failure))
    return client;
  strand_client_end(client, strand_clock_now());
  return NULL;
}

void strand_renewal_take (strand_producer *p, strand_client *client,
                          double seconds) {
  strand_client_end(p->client, strand_clock_now() + seconds);
  p->client = client;
  p->unreachable = p->oauth_wanted = false;
  strand_unacked_move(&p->unacked);
  strand_flushing_move(&p->flushing);
}

/*
** batch.size
*/

bool strand_renewal_owns_batch_size (const strand_producer_options *options) {
  return options->transactional_id == NULL
         && !strand_conf_has(options->props, options->prop_count,
                             "batch.size");
}

/* For good: what follows a renewal has it, too. */
static void set_batch_size (strand_producer *p, int64_t size) {
  char text[32];
  snprintf(text, sizeof(text), "%lld", (long long)size);
  rd_kafka_conf_set(p->renewal.conf, "batch.size", text, NULL, 0);
}

void strand_renewal_turn (strand_producer *p) {
  int64_t before = p->watch.batch_size, size = p->watch.smallest;
  strand_failure failure;
  strand_client *client;
  if (size == 0 || size >= before || !p->watch.owns_batch_size
      || p->bounds.records > 0 || p->fatal.state != STRAND_FATAL_NONE)
    return;
  set_batch_size(p, size);
  client = strand_renewal_client(p, &failure);
  if (client == NULL) {
    p->watch.owns_batch_size = false; /* and so it is not tried again */
    strand_log_printf(p->log, STRAND_LOG_WARNING, "strand",
                      "batch.size stays %lld: %s", (long long)before,
                      failure.message);
    return;
  }
  strand_log_printf(p->log, STRAND_LOG_INFO, "strand",
                    "batch.size is %lld now, and was %lld", (long long)size,
                    (long long)before);
  p->watch.batch_size = size;
  strand_renewal_take(p, client, 0); /* the old one goes on by itself */
}
