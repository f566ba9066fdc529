/*
** member.c - see member.h
*/
#include "kafka/member.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "kafka/clock.h"
#include "kafka/errors.h"
#include "kafka/system.h"
#include "kafka/thread.h"

#define POLL_MOST_US 1000000

#ifdef NDEBUG
#define CHECKED false
#else
#define CHECKED true /* the invariants of the parts, after each turn */
#endif

static void wake (void *member) {
  strand_waker_wake(((strand_member *)member)->waker);
}

/* A thread of its ends: the last use of it there. */
static void let_go (void *member) {
  strand_member *m = member;
  strand_shared_leave(m->owner.consumer);
  strand_member_unref(m);
}

static void enter (strand_member *m) {
  atomic_fetch_add(&m->refs, 1);
  strand_shared_enter(m->owner.consumer);
}

/*
** What the engine says
*/

static void take_notice (void *arg, const strand_notice *n) {
  strand_member *m = arg;
  if (n->type != STRAND_NOTICE_STOP) strand_snapshot_change(&m->snapshot);
  strand_notice_tell(&m->owner, n);
}

/* The handler of a held shard has returned. */
static void take_release (void *arg, const strand_held *held) {
  strand_consumer *c = ((strand_member *)arg)->owner.consumer;
  if (strand_inboxes_release(&c->inboxes, held) == STRAND_OK) return;
  strand_shared_end(c, STRAND_CLOSE_NOW, "NO_MEMORY",
                    "memory ran out after a revoke"); /* else held for ever */
}

static bool take_letter (void *arg, strand_partition *p,
                         strand_record *record) {
  return strand_letters_take(((strand_member *)arg)->letters, p, record);
}

/*
** Inbox
*/

static void set_share (strand_member *m, const strand_share *share) {
  m->reader.max_ready = share->max_ready;
  strand_handover_limit(&m->handover, share->max_ready);
  strand_handover_widen(&m->handover, share->batch_most);
  strand_watchdog_limit(&m->watchdog, share->slow_after_us);
}

static void take_limits (strand_member *m) {
  strand_engine_config config = { 0 };
  strand_share share;
  strand_shares_take(&m->shares, &config, &share);
  set_share(m, &share);
  strand_engine_configure(m->owner.engine, &config);
}

static void take_rules (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  bool recall = false;
  for (size_t i = 0; i < m->assignment.count; i++) {
    strand_partition *p = m->assignment.tags[i]->partition;
    bool paused;
    if (p == NULL) continue;
    paused = strand_shared_paused(c, strand_partition_topic(p),
                                  strand_partition_index(p));
    strand_engine_pause(m->owner.engine, p, paused);
    recall = recall || paused;
    atomic_store_explicit(&m->assignment.tags[i]->stop,
                          paused || m->assignment.tags[i]->leaving,
                          memory_order_release);
  }
  strand_snapshot_change(&m->snapshot);
  if (recall) strand_handover_recall(&m->handover);
}

static void take_releases (strand_member *m, strand_release *releases) {
  while (releases != NULL) {
    strand_release *r = releases;
    releases = r->next;
    strand_engine_release(m->owner.engine, &r->held);
    strand_release_free(r);
  }
}

static void take_inbox (strand_member *m, int64_t now_us) {
  strand_consumer *c = m->owner.consumer;
  strand_asked asked = strand_inboxes_take(&c->inboxes, m->owner.index);
  if (asked.limits) take_limits(m);
  if (asked.close) strand_closing_begin(m, now_us);
  if (asked.rules) take_rules(m);
  if (asked.yields && m->owner.phase == STRAND_SERVING)
    strand_epoch_claim(&m->epochs);
  take_releases(m, asked.releases);
  strand_seek_take(&m->seeks, asked.seeks);
  strand_parked_serve(&m->parking, asked.parked, now_us);
  while (asked.commits != NULL) {
    strand_waiter *w = asked.commits;
    asked.commits = w->next;
    strand_committer_wait(&m->committer, w);
  }
}

/*
** What the helper found
*/

/* A new epoch begins where the user wanted the partition to go. */
static void take_seek (strand_member *m, strand_tag *tag,
                       const strand_call *call, int64_t now_us) {
  bool again;
  if (!strand_seek_answer(&m->seeks, tag, call, now_us)) return;
  again = tag->again;
  tag = strand_epoch_restart(&m->epochs, tag, call->list->elems[0].offset);
  strand_seek_arrived(&m->seeks, tag, call, again, now_us);
}

/* Of one partition. */
static void take_position (strand_member *m, const strand_call *call,
                           int64_t now_us) {
  const rd_kafka_topic_partition_t *p = &call->list->elems[0];
  strand_tag *tag = strand_assignment_find(&m->assignment, p->topic,
                                           p->partition);
  if (tag != NULL && tag->leaving) tag = NULL;
  if (call->why >= STRAND_WHY_TARGET) take_seek(m, tag, call, now_us);
  else if (tag != NULL) {
    strand_position_answer(&m->positions, tag, call, now_us);
    strand_epoch_reset(&m->epochs, now_us);
  }
}

static void take_topics (strand_member *m, const strand_call *call,
                         int64_t now_us) {
  if (call->err == 0) strand_outage_reached(&m->outage, now_us);
  strand_topics_listed(&m->topics, call, now_us);
}

static void take_answer (strand_member *m, const strand_call *call,
                         int64_t now_us) {
  switch (call->kind) {
    case STRAND_CALL_COMMITTED:
      strand_position_committed(&m->positions, call, now_us);
      return;
    case STRAND_CALL_STARTS:
      strand_starts_answer(&m->starts, call, now_us);
      return;
    case STRAND_CALL_TOPICS: take_topics(m, call, now_us); return;
    case STRAND_CALL_OWNERS:
      strand_topics_owners(&m->topics, call, now_us);
      return;
    case STRAND_CALL_REACH:
      strand_outage_reach(&m->outage, call, now_us);
      return;
    case STRAND_CALL_LEADERS:
      strand_trouble_leaders(&m->troubles, call, now_us);
      return;
    case STRAND_CALL_STALLED:
      strand_letters_stalled(m->letters, call, now_us);
      return;
    case STRAND_CALL_DROP: strand_letters_gone(m->letters); return;
    case STRAND_CALL_DESTROY: m->owner.client = NULL; return;
    default: take_position(m, call, now_us);
  }
}

void strand_member_answers (strand_member *m, int64_t now_us) {
  strand_call *call;
  while ((call = strand_helper_answer(m->owner.helper)) != NULL) {
    take_answer(m, call, now_us);
    strand_call_free(call);
    strand_snapshot_change(&m->snapshot);
  }
}

/*
** The loop
*/

static int64_t min64 (int64_t a, int64_t b) {
  return a < b ? a : b;
}

static int64_t poll_every (const strand_member *m) {
  return min64(POLL_MOST_US, m->owner.consumer->max_poll_us / 4);
}

/* Between a handler's stop and the close that comes of it nothing starts: else
** the record that stopped, which is not done, would run again. */
static void hand_over (strand_member *m, int64_t now_us) {
  if (m->owner.phase != STRAND_SERVING
      || !atomic_load(&m->owner.consumer->halted)) {
    strand_handover_post(&m->handover, now_us);
  }
  else strand_handover_halt(&m->handover);
}

static int64_t tick_troubles (strand_member *m, int64_t now_us) {
  if (m->owner.phase >= STRAND_LEAVING) return INT64_MAX;
  strand_committer_look(&m->committer, now_us);
  if (strand_known_tick(&m->known, now_us))
    strand_position_reread(&m->positions);
  return strand_outage_tick(&m->outage, now_us);
}

/* One turn; when the next is due at the latest. */
static int64_t turn (strand_member *m, int64_t now_us) {
  int64_t due = now_us + poll_every(m);
  take_inbox(m, now_us);
  strand_member_answers(m, now_us);
  strand_seek_serve(&m->seeks);
  if (m->owner.queue != NULL) strand_group_serve(&m->group, now_us);
  strand_handover_harvest(&m->handover, now_us);
  strand_letters_serve(m->letters, now_us);
  if (m->committer.queue != NULL) {
    strand_committer_serve(&m->committer, now_us);
    strand_group_advance(&m->group, now_us);
  }
  if (m->owner.phase
      == STRAND_SERVING) { /* a retry of the end waits for ever */
    due = min64(due, strand_engine_tick(m->owner.engine, now_us));
  }
  strand_reader_read(&m->reader, now_us);
  strand_epoch_reset(&m->epochs, now_us);
  hand_over(m, now_us);
  due = min64(due, strand_engine_gates(m->owner.engine, now_us));
  strand_closing_advance(m, now_us);
  due = min64(due, tick_troubles(m, now_us)); /* also when it is busy */
  strand_snapshot_publish(&m->snapshot, now_us);
  if (m->owner.consumer->warnings != NULL) {
    strand_warnings_tick(m->owner.consumer->warnings, now_us);
  }
  if (strand_reader_busy(&m->reader)) return now_us;
  if (m->waker->more && m->owner.queue != NULL) return now_us;
  due = min64(due, strand_position_tick(&m->positions, now_us));
  due = min64(due, strand_starts_tick(&m->starts, now_us));
  due = min64(due, strand_topics_tick(&m->topics, now_us));
  due = min64(due, strand_group_due(&m->group));
  due = min64(due, strand_letters_due(m->letters, now_us));
  due = min64(due, strand_committer_due(&m->committer, now_us));
  due = min64(due, strand_handover_due(&m->handover));
  due = min64(due, strand_closing_due(m));
  return min64(due, strand_snapshot_due(&m->snapshot));
}

static void free_parts (strand_member *m) {
  strand_letters_free(m->letters);
  strand_known_free(&m->known);
  strand_topics_free(&m->topics);
  strand_engine_free(m->owner.engine);
  strand_handover_free(&m->handover);
  strand_snapshot_free(&m->snapshot);
  strand_problem_free(&m->problem);
  strand_assignment_free(&m->assignment);
  strand_shares_free(&m->shares);
}

static void check_parts (const strand_member *m) {
  strand_inboxes_check(&m->owner.consumer->inboxes);
  strand_waker_check(m->waker);
  strand_assignment_check(&m->assignment);
  strand_snapshot_check(&m->snapshot);
  strand_shares_check(&m->shares);
  strand_known_check(&m->known);
  strand_topics_check(&m->topics);
  strand_outage_check(&m->outage);
  strand_positions_check(&m->positions);
  strand_starts_check(&m->starts);
  strand_reader_check(&m->reader);
  strand_watchdog_check(&m->watchdog);
  strand_handover_check(&m->handover);
  strand_committer_check(&m->committer);
  strand_group_check(&m->group);
  strand_closing_check(m);
}

/* A client that could not be destroyed yet still writes to the waker. */
static void note_clients (strand_member *m) {
  m->waker->lent = m->owner.client != NULL
                   || strand_letters_have_client(m->letters);
}

/* Handlers that do not return keep the owner, which waits for them: their
** slots and records are its. */
static void *run_owner (void *arg) {
  strand_member *m = arg;
  strand_topics_subscribe(&m->topics);
  while (m->owner.phase != STRAND_OVER || strand_handover_out(&m->handover)) {
    int64_t now_us = strand_clock_us(), due;
    atomic_store_explicit(&m->waker->turned_us, now_us, memory_order_relaxed);
    due = turn(m, now_us);
    if (CHECKED) check_parts(m);
    if (m->owner.phase == STRAND_OVER && !strand_handover_out(&m->handover))
      break;
    if (strand_waker_sleep(m->waker, due > now_us ? due : 0)) {
      m->reader.ready = true;
    }
  }
  note_clients(m);
  strand_helper_end(m->owner.helper);
  let_go(m);
  return NULL;
}

static void fail_start (const strand_member *m, strand_failure *failure) {
  int error = errno;
  char what[64];
  snprintf(what, sizeof(what), "a thread of member %u could not start",
           m->owner.index);
  strand_fail_thread(failure, what, error);
}

bool strand_member_start (strand_member *m, strand_failure *failure) {
  pthread_t thread;
  enter(m); /* the helper */
  m->owner.helper = strand_helper_new(m->owner.client, wake, let_go, m);
  if (m->owner.helper == NULL) {
    fail_start(m, failure);
    let_go(m);
    return false;
  }
  enter(m); /* the owner */
  atomic_store(&m->waker->turned_us, strand_clock_us());
  if (strand_thread_start(&thread, run_owner, m)) {
    pthread_detach(thread);
    return true;
  }
  fail_start(m, failure);
  strand_helper_end(m->owner.helper);
  m->owner.helper = NULL;
  let_go(m);
  return false;
}

void strand_member_dismiss (strand_member *m) {
  strand_call *call;
  if (m->owner.helper != NULL || m->owner.client == NULL) return;
  call = strand_call_new(STRAND_CALL_DESTROY, NULL);
  if (call == NULL) return; /* it goes with the member */
  enter(m);
  m->owner.helper = strand_helper_new(m->owner.client, wake, let_go, m);
  if (m->owner.helper == NULL) {
    let_go(m);
    strand_call_free(call);
    return;
  }
  strand_committer_close(&m->committer);
  rd_kafka_queue_destroy(m->owner.queue);
  m->owner.queue = NULL;
  m->owner.client = NULL;
  strand_letters_leave(m->letters); /* else it goes with the member */
  note_clients(m);
  strand_helper_leave(m->owner.helper, call);
  strand_helper_end(m->owner.helper);
}

/*
** Opening
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
  char value[512], error[512];
  if (conf == NULL || members == 1) return conf;
  for (size_t i = 0; i < count; i++) {
    if (!add_index(props[i].name)) continue;
    snprintf(value, sizeof(value), "%s-%u", props[i].value, m->owner.index);
    rd_kafka_conf_set(conf, props[i].name, value, error, sizeof(error));
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
  strand_trouble_throttled(&((strand_member *)member)->troubles, broker, id,
                           wait_ms);
}

static bool open_client (strand_member *m, const strand_property *props,
                         size_t count, strand_failure *failure) {
  static const uint64_t one = 1;
  strand_consumer *c = m->owner.consumer;
  rd_kafka_conf_t *conf = make_conf(m, c->inboxes.count, props, count,
                                    failure);
  if (conf == NULL) return false;
  m->opaque.log = c->log;
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

static strand_engine *open_engine (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  strand_engine_config config = { 0 };
  strand_share share;
  strand_shares_take(&m->shares, &config, &share);
  set_share(m, &share);
  config.ordering = c->ordering;
  config.null_key_unordered = c->null_key_unordered;
  config.ordering_header = c->ordering_header;
  config.park_alone = c->park_alone;
  config.arg = m;
  config.notice = take_notice;
  config.release = take_release;
  if (c->letters.topic != NULL) config.letter = take_letter;
  if (getrandom(config.seed, sizeof(config.seed), 0)
      != (ssize_t)sizeof(config.seed)) {
    config.seed[0] = (uint64_t)strand_clock_us();
  }
  return strand_engine_new(&config);
}

void strand_member_init (strand_member *m, strand_consumer *c,
                         unsigned index) {
  atomic_init(&m->refs, 1);
  m->owner.consumer = strand_shared_ref(c);
  m->owner.index = index;
  m->waker = &c->inboxes.each[index].waker;
  strand_shares_init(&m->shares, &m->owner);
  strand_snapshot_init(&m->snapshot, &m->owner, &m->assignment);
  strand_watchdog_init(&m->watchdog, &m->owner, &m->snapshot);
  strand_handover_init(&m->handover, &m->owner, &m->assignment, &m->snapshot,
                       &m->watchdog, m->waker);
  strand_problem_init(&m->problem);
  strand_membership_init(&m->membership, c);
  strand_known_init(&m->known, &m->owner, &m->assignment, &m->signs,
                    &m->problem);
  strand_topics_init(&m->topics, &m->owner, &m->assignment, &m->membership,
                     &m->known, &m->problem);
  strand_outage_init(&m->outage, &m->owner, &m->assignment, &m->topics,
                     &m->membership, &m->signs, &m->problem);
  m->troubles = (strand_troubles){ &m->owner, &m->assignment, &m->known,
                                   &m->topics, &m->outage };
  strand_positions_init(&m->positions, &m->owner, &m->assignment,
                        &m->troubles);
  strand_starts_init(&m->starts, &m->owner, &m->assignment);
  strand_seeks_init(&m->seeks, &m->owner, &m->assignment, &m->membership,
                    &m->positions);
  strand_committer_init(&m->committer, &m->owner, &m->membership,
                        &m->join_watch, &m->troubles, &m->problem,
                        &m->snapshot);
  m->epochs = (strand_epochs){ .owner = &m->owner,
                               .assignment = &m->assignment,
                               .topics = &m->topics,
                               .troubles = &m->troubles,
                               .positions = &m->positions,
                               .handover = &m->handover,
                               .snapshot = &m->snapshot,
                               .waker = m->waker };
  m->group = (strand_group){ .owner = &m->owner,
                             .assignment = &m->assignment,
                             .membership = &m->membership,
                             .troubles = &m->troubles,
                             .topics = &m->topics,
                             .outage = &m->outage,
                             .positions = &m->positions,
                             .handover = &m->handover,
                             .committer = &m->committer,
                             .shares = &m->shares,
                             .snapshot = &m->snapshot,
                             .epochs = &m->epochs,
                             .waker = m->waker };
  m->parking = (strand_parking){ &m->owner, &m->assignment, &m->snapshot };
  strand_reader_init(&m->reader, &m->owner, &m->assignment, &m->positions,
                     &m->troubles, &m->outage, &m->snapshot);
}

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
      && strand_letters_open(&m->letters, &m->owner, &m->snapshot, m->waker,
                             &m->opaque, failure)) {
    failure->code[0] = '\0';
    return m;
  }
  strand_member_unref(m);
  return NULL;
}

void strand_member_unref (strand_member *m) {
  strand_consumer *c = m->owner.consumer;
  if (atomic_fetch_sub(&m->refs, 1) > 1) return;
  strand_committer_close(&m->committer);
  if (m->owner.queue != NULL) rd_kafka_queue_destroy(m->owner.queue);
  if (m->owner.client != NULL) rd_kafka_destroy(m->owner.client);
  free_parts(m);
  free(m);
  strand_shared_unref(c);
}
