/*
** opening.c - how a member is made of its parts and freed, and its tokens
*/
#include <stdlib.h>
#include <sys/random.h>

#include "base/clock.h"
#include "member/member.h"

/*
** Parts, in their order: each is given those above that it needs
*/

void strand_member_init (strand_member *m, strand_consumer *c,
                         unsigned index) {
  atomic_init(&m->refs, 1);
  m->owner.consumer = strand_shared_ref(c);
  m->owner.index = index;
  m->waker = &c->inboxes.each[index].waker;
  strand_shares_init(&m->shares, &m->owner);
  strand_problem_init(&m->problem);
  strand_membership_init(&m->membership, c);
  strand_snapshot_init(&m->snapshot, &m->owner, &m->assignment);
  strand_known_errors_init(&m->known_errors, &m->owner, &m->assignment,
                           &m->signs, &m->problem);
  strand_topics_init(&m->topics, &m->owner, &m->assignment, &m->membership,
                     &m->known_errors, &m->problem);
  strand_outage_init(&m->outage, &m->owner, &m->assignment, &m->topics,
                     &m->membership, &m->signs, &m->problem);
  m->health = (strand_health){ &m->owner, &m->assignment, &m->known_errors,
                               &m->topics, &m->outage };
  strand_positions_init(&m->positions, &m->owner, &m->assignment, &m->health);
  strand_positions_watch(&m->positions, &m->signs);
  strand_reassign_init(&m->reassign, &m->owner, &m->assignment, &m->membership,
                       &m->health, m->waker, &m->positions);
  strand_starts_init(&m->starts, &m->owner, &m->assignment);
  strand_seeks_init(&m->seeks, &m->owner, &m->assignment, &m->positions,
                    &m->reassign);
  m->parking = (strand_parking){ &m->owner, &m->assignment, &m->snapshot };
  strand_reader_init(&m->reader, &m->owner, &m->assignment, &m->membership,
                     &m->positions, &m->health, &m->outage, &m->snapshot);
  strand_outbox_init(&m->outbox, &m->owner, m->waker);
  strand_transactor_init(&m->transactor, &m->owner, &m->outbox, m->waker);
  strand_transactions_init(&m->transactions, &m->owner, &m->transactor,
                           &m->outbox, &m->output_topics, &m->problem,
                           &m->snapshot);
  strand_dead_letters_init(&m->dead_letters, &m->owner, &m->outbox,
                           &m->snapshot);
  m->output_topics = (strand_output_topics){ .owner = &m->owner,
                                             .outbox = &m->outbox };
  strand_outputs_init(&m->outputs, &m->owner, &m->outbox, &m->output_topics,
                      &m->snapshot);
  if (strand_transactions_is_on(&m->transactions))
    strand_outputs_give_to(&m->outputs, &m->transactions);
  m->reports = (strand_reports){ &m->outbox, &m->dead_letters, &m->outputs,
                                 &m->snapshot, m->waker };
  strand_watchdog_init(&m->watchdog, &m->owner, &m->snapshot);
  strand_handover_init(&m->handover, &m->owner, &m->assignment, &m->snapshot,
                       &m->watchdog, &m->outputs, m->waker,
                       strand_settings_many(&c->settings)
                         ? &c->inboxes.each[index].progress
                         : NULL);
  m->epochs = (strand_epochs){ .owner = &m->owner,
                               .assignment = &m->assignment,
                               .topics = &m->topics,
                               .health = &m->health,
                               .positions = &m->positions,
                               .handover = &m->handover,
                               .dead_letters = &m->dead_letters,
                               .outputs = &m->outputs,
                               .snapshot = &m->snapshot,
                               .waker = m->waker };
  strand_committer_init(&m->committer, &m->owner, &m->membership,
                        &m->join_watch, &m->health, &m->problem, &m->snapshot);
  if (strand_transactions_is_on(&m->transactions))
    strand_committer_transact(&m->committer, &m->transactions);
  m->group = (strand_group){ .owner = &m->owner,
                             .assignment = &m->assignment,
                             .membership = &m->membership,
                             .health = &m->health,
                             .topics = &m->topics,
                             .outage = &m->outage,
                             .positions = &m->positions,
                             .handover = &m->handover,
                             .committer = &m->committer,
                             .shares = &m->shares,
                             .snapshot = &m->snapshot,
                             .epochs = &m->epochs,
                             .waker = m->waker };
}

static void free_parts (strand_member *m) {
  strand_transactions_free(&m->transactions);
  strand_transactor_free(&m->transactor);
  strand_outbox_free(&m->outbox);
  strand_dead_letters_free(&m->dead_letters);
  strand_outputs_free(&m->outputs);
  strand_output_topics_free(&m->output_topics);
  strand_known_errors_free(&m->known_errors);
  strand_topics_free(&m->topics);
  strand_engine_free(m->owner.engine);
  strand_handover_free(&m->handover);
  strand_snapshot_free(&m->snapshot);
  strand_problem_free(&m->problem);
  strand_assignment_free(&m->assignment);
  strand_shares_free(&m->shares);
}

void strand_member_unref (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  if (atomic_fetch_sub(&m->refs, 1) > 1) return;
  strand_committer_close(&m->committer);
  strand_calls_free(strand_output_topics_leave(&m->output_topics));
  if (m->owner.queue != NULL) rd_kafka_queue_destroy(m->owner.queue);
  if (m->owner.client != NULL) rd_kafka_destroy(m->owner.client);
  free_parts(m);
  free(m);
  strand_shared_unref(c);
}

/*
** The client
*/

static bool add_index (const char *name) {
  return strcmp(name, "client.id") == 0
         || strcmp(name, "group.instance.id") == 0;
}

/* With several members, each gets an id of its own: NAME-<index>. */
static rd_kafka_conf_t *make_conf (const strand_member *m, unsigned members,
                                   const strand_property *props, size_t count,
                                   strand_failure *failure) {
  rd_kafka_conf_t *conf = strand_conf_new(RD_KAFKA_CONSUMER, props, count,
                                          failure);
  char value[INT16_MAX + 1]; /* of Kafka's protocol: no name is longer */
  if (conf == NULL || members == 1) return conf;
  for (size_t i = 0; i < count; i++) {
    if (!add_index(props[i].name)) continue;
    snprintf(value, sizeof(value), "%s-%u", props[i].value, m->owner.index);
    rd_kafka_conf_set(conf, props[i].name, value, NULL, 0);
  }
  return conf;
}

/* librdkafka's error_cb: what it puts on a partition's queue, and a read does
** not return. */
static void hear_error (rd_kafka_t *client, int err, const char *text,
                        void *member) {
  (void)client;
  strand_reader_hear(&((strand_member *)member)->reader,
                     (rd_kafka_resp_err_t)err, text);
}

/* And its throttle_cb, inside the owner's polls. */
static void hear_throttled (rd_kafka_t *client, const char *broker, int32_t id,
                            int wait_ms, void *member) {
  (void)client;
  strand_health_throttled(&((strand_member *)member)->health, broker, id,
                          wait_ms);
}

static bool open_client (strand_member *m, const strand_property *props,
                         size_t count, strand_failure *failure) {
  static const uint64_t one = 1;
  strand_consumer *c = m->owner.consumer;
  rd_kafka_conf_t *conf = make_conf(m, c->inboxes.count, props, count,
                                    failure);
  if (conf == NULL) return false;
  m->opaque.log = c->notifier.log;
  rd_kafka_conf_set_opaque(conf, m);
  if (strand_conf_loses_assignments(props, count)) {
    strand_join_watch_add(&m->join_watch, m->waker, conf);
  }
  strand_signs_watch(&m->signs, m->waker, conf);
  rd_kafka_conf_set_error_cb(conf, hear_error);
  rd_kafka_conf_set_throttle_cb(conf, hear_throttled);
  rd_kafka_conf_set_events(
    conf, RD_KAFKA_EVENT_REBALANCE | RD_KAFKA_EVENT_OFFSET_COMMIT
            | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH);
  m->owner.client = strand_conf_open(RD_KAFKA_CONSUMER, conf, failure);
  if (m->owner.client == NULL) return false;
  rd_kafka_poll_set_consumer(m->owner.client);
  m->waker->lent = true;
  m->owner.queue = rd_kafka_queue_get_consumer(m->owner.client);
  if (m->owner.queue == NULL) { /* it belongs to the group */
    strand_fail(failure, "OPTION", "option 'kafka': 'group.id' is empty");
    return false;
  }
  rd_kafka_queue_io_event_enable(m->owner.queue, m->waker->queue_fd, &one,
                                 sizeof(one));
  strand_committer_open(&m->committer, m->waker);
  return true;
}

/*
** The engine, and what it says
*/

static void take_notice (void *arg, const strand_notice *n) {
  strand_member *m = arg;
  if (n->type != STRAND_NOTICE_STOP) strand_snapshot_change(&m->snapshot);
  strand_notice_tell(&m->owner, n);
}

/* The handler of an orphaned shard has returned. */
static void take_release (void *arg, const strand_orphan *orphan) {
  const strand_member *m = arg;
  strand_inboxes_release(&m->owner.consumer->inboxes, orphan);
}

static bool take_dead_letter (void *arg, strand_partition *p,
                              strand_record *record) {
  strand_member *m = arg;
  if (strand_transactions_is_on(&m->transactions))
    return strand_transactions_take_dead_letter(&m->transactions, p, record);
  return strand_dead_letters_take(&m->dead_letters, p, record);
}

static strand_engine *open_engine (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  strand_engine_config config = { 0 };
  strand_share share;
  strand_shares_take(&m->shares, &config, &share); /* the rest: turn() */
  config.ordering = c->settings.ordering;
  config.delivery = c->settings.delivery;
  config.null_key_unordered = c->settings.null_key_unordered;
  config.ordering_header = c->settings.ordering_header;
  config.park_alone = c->settings.park_alone;
  config.arg = m;
  config.notice = take_notice;
  config.release = take_release;
  if (c->settings.dead_letters.topic != NULL)
    config.dead_letter = take_dead_letter;
  if (getrandom(config.seed, sizeof(config.seed), 0)
      != (ssize_t)sizeof(config.seed)) {
    config.seed[0] = (uint64_t)strand_clock_us();
  }
  return strand_engine_new(&config);
}

/*
** All
*/

strand_member *strand_member_new (strand_consumer *c, unsigned index,
                                  const strand_property *props, size_t count,
                                  strand_failure *failure) {
  strand_member *m = calloc(1, sizeof(*m));
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  if (m == NULL) return NULL;
  strand_member_init(m, c, index);
  if (strand_shares_open(&m->shares)) m->owner.engine = open_engine(m);
  if (m->owner.engine != NULL && strand_waker_open(m->waker, failure)
      && open_client(m, props, count, failure)
      && strand_outbox_open(&m->outbox, &m->opaque, failure)
      && (!strand_transactions_is_on(&m->transactions)
          || strand_transactor_open(&m->transactor, failure))) {
    strand_output_topics_open(&m->output_topics, m->waker);
    failure->code[0] = '\0';
    return m;
  }
  strand_member_unref(m);
  return NULL;
}

/*
** Tokens
*/

/* Of the two clients maybe only one has tokens: the other says __STATE. */
static rd_kafka_resp_err_t set_tokens (strand_member *m, const char *token,
                                       int64_t expires_ms,
                                       const char *principal, char *error,
                                       size_t size) {
  rd_kafka_resp_err_t err = rd_kafka_oauthbearer_set_token(
    m->owner.client, token, expires_ms, principal, NULL, 0, error, size);
  bool transacts = strand_transactions_is_on(&m->transactions);
  if ((!strand_outbox_is_wanted(&m->outbox) && !transacts)
      || (err != 0 && err != RD_KAFKA_RESP_ERR__STATE)) {
    return err;
  }
  if (transacts) {
    err = strand_transactor_client_token(&m->transactor.client, token,
                                         expires_ms, principal, error, size);
    return err == RD_KAFKA_RESP_ERR__STATE ? RD_KAFKA_RESP_ERR_NO_ERROR : err;
  }
  err = strand_outbox_token(&m->outbox, token, expires_ms, principal, error,
                            size);
  return err == RD_KAFKA_RESP_ERR__STATE ? RD_KAFKA_RESP_ERR_NO_ERROR : err;
}

bool strand_member_token (strand_member *m, const char *token,
                          int64_t expires_ms, const char *principal,
                          char *error, size_t size) {
  if (set_tokens(m, token, expires_ms, principal, error, size) != 0) {
    return false;
  }
  atomic_fetch_add(&m->signs.tokens, 1);
  return true;
}

void strand_member_token_fail (strand_member *m, const char *message) {
  rd_kafka_oauthbearer_set_token_failure(m->owner.client, message);
  strand_outbox_token_fail(&m->outbox, message);
  strand_transactor_client_token_fail(&m->transactor.client, message);
}
