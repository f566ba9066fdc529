#include "kafka/consumer.h"

#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "kafka/clock.h"
#include "kafka/member.h"
#include "kafka/thread.h"

#define GIVE_UP_US 1000000      /* past close's timeout */
#define STUCK_OWNER_US 10000000 /* an owner turns at least once a second */
#define NOTHING_FINISHES_US 60000000

/*
** Opening
*/

static bool copy_routes (strand_consumer *c,
                         const strand_consumer_config *config,
                         strand_failure *failure) {
  c->routes = calloc(config->route_count, sizeof(*c->routes));
  if (c->routes == NULL) return false;
  for (size_t i = 0; i < config->route_count; i++) {
    const strand_route *from = &config->routes[i];
    strand_matcher *to = &c->routes[i];
    to->policy = from->policy;
    to->own_policy = from->own_policy;
    c->route_count = i + 1;
    if (from->topic == NULL) continue;
    to->topic = strdup(from->topic);
    if (to->topic == NULL) return false;
    if (to->topic[0] != '^') continue;
    if (regcomp(&to->pattern, to->topic, REG_EXTENDED | REG_NOSUB) != 0) {
      strand_fail(failure, "OPTION",
                  "option 'handler': '%s' is no POSIX pattern", to->topic);
      return false;
    }
    to->is_pattern = true;
  }
  return true;
}

static void copy_topics (strand_consumer *c,
                         const strand_consumer_config *config) {
  c->topics = rd_kafka_topic_partition_list_new((int)config->topic_count);
  for (size_t i = 0; i < config->topic_count; i++) {
    rd_kafka_topic_partition_list_add(c->topics, config->topics[i],
                                      RD_KAFKA_PARTITION_UA);
  }
}

static bool make_fds (strand_consumer *c) {
  struct epoll_event event = { .events = EPOLLIN };
  c->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  c->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  c->fd = epoll_create1(EPOLL_CLOEXEC);
  return c->wake_fd >= 0 && c->timer_fd >= 0 && c->fd >= 0
         && epoll_ctl(c->fd, EPOLL_CTL_ADD, c->wake_fd, &event) == 0
         && epoll_ctl(c->fd, EPOLL_CTL_ADD, c->timer_fd, &event) == 0;
}

static void notify (void *consumer) {
  strand_shared_signal(consumer);
}

static strand_consumer *new_shared (const strand_consumer_config *config) {
  strand_consumer *c = calloc(1, sizeof(*c));
  if (c == NULL) return NULL;
  atomic_store(&c->refs, 1);
  c->handler = config->handler;
  c->fd = c->wake_fd = c->timer_fd = -1;
  pthread_mutex_init(&c->lock, NULL);
  strand_thread_condition(&c->changed);
  strand_mailbox_init(&c->mailbox);
  c->has_oauth = config->has_oauth;
  c->has_log = config->has_log;
  c->ordering = config->ordering;
  c->null_key_unordered = config->null_key_unordered;
  c->max_metadata = config->max_metadata;
  c->unreadable_fail = config->unreadable_fail;
  c->limits = config->limits;
  c->log = strand_log_new(!config->has_log);
  c->events = strand_events_new();
  return c;
}

/* What librdkafka holds of its own, and how long it waits for a poll. */
static void read_settings (strand_consumer *c) {
  const rd_kafka_conf_t *conf = rd_kafka_conf(c->members[0]->client);
  char value[64];
  size_t size = sizeof(value);
  c->max_poll_us = 300000000;
  if (rd_kafka_conf_get(conf, "max.poll.interval.ms", value, &size) == 0) {
    c->max_poll_us = strtoll(value, NULL, 10) * 1000;
  }
  size = sizeof(value);
  if (rd_kafka_conf_get(conf, "queued.max.messages.kbytes", value, &size)
      == 0) c->prefetch_kbytes = (size_t)strtoull(value, NULL, 10);
}

static bool open_members (strand_consumer *c,
                          const strand_consumer_config *config,
                          strand_failure *failure) {
  c->members = calloc(config->members, sizeof(*c->members));
  if (c->members == NULL) return false;
  c->member_count = config->members;
  for (unsigned i = 0; i < config->members; i++) {
    c->members[i] = strand_member_new(c, i, config->kafka,
                                      config->kafka_count, failure);
    if (c->members[i] == NULL) return false;
  }
  read_settings(c);
  return true;
}

strand_consumer *strand_consumer_open (const strand_consumer_config *config,
                                       strand_failure *failure) {
  strand_consumer *c = new_shared(config);
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  if (c == NULL) {
    config->handler.release(config->handler.config);
    return NULL;
  }
  if (config->ordering_header != NULL) {
    c->ordering_header = strdup(config->ordering_header);
  }
  if (c->log != NULL && c->events != NULL && make_fds(c)
      && copy_routes(c, config, failure)) {
    copy_topics(c, config);
    if (c->has_log) strand_log_set_notify(c->log, notify, c);
    strand_conf_warn(RD_KAFKA_CONSUMER, config->kafka, config->kafka_count,
                     c->log);
    if (open_members(c, config, failure)) {
      failure->code[0] = '\0';
      return c;
    }
  }
  strand_shared_unref(c);
  return NULL;
}

/*
** Starting
*/

static bool load_handlers (strand_consumer *c, strand_failure *failure) {
  unsigned made;
  bool loaded;
  strand_mailbox_limit(&c->mailbox, (unsigned)c->limits.max_in_flight,
                       c->limits.workers);
  pthread_mutex_lock(&c->lock);
  made = strand_workers_start_locked(c, c->limits.workers);
  while (c->loading > 0) pthread_cond_wait(&c->changed, &c->lock);
  loaded = made == c->limits.workers && c->load_failure.code[0] == '\0';
  if (!loaded) *failure = c->load_failure;
  pthread_mutex_unlock(&c->lock);
  if (made < c->limits.workers) {
    strand_fail(failure, "NO_THREAD", "only %u of %u workers could start",
                made, c->limits.workers);
  }
  return loaded;
}

static bool start_members (strand_consumer *c, strand_failure *failure) {
  for (unsigned i = 0; i < c->member_count; i++) {
    pthread_mutex_lock(&c->lock);
    c->members_open++;
    pthread_mutex_unlock(&c->lock);
    if (strand_member_start(c->members[i])) continue;
    pthread_mutex_lock(&c->lock);
    c->members_open--;
    pthread_mutex_unlock(&c->lock);
    strand_fail(failure, "NO_THREAD", "the thread of member %u could not "
                "start", i);
    return false;
  }
  return true;
}

bool strand_consumer_start (strand_consumer *c, strand_failure *failure) {
  c->started_us = strand_clock_us();
  atomic_store(&c->ended_us, strand_clock_coarse_us());
  if (!load_handlers(c, failure)) return false;
  pthread_mutex_lock(&c->lock);
  c->life = STRAND_RUNS;
  pthread_mutex_unlock(&c->lock);
  return start_members(c, failure);
}

static strand_life life_of (strand_consumer *c) {
  strand_life life;
  pthread_mutex_lock(&c->lock);
  life = c->life;
  pthread_mutex_unlock(&c->lock);
  return life;
}

const char *strand_consumer_state (const strand_consumer *c) {
  static const char *const names[] = { "new", "running", "closing",
                                       "closed" };
  return names[life_of((strand_consumer *)(uintptr_t)c)];
}

int strand_consumer_joined (strand_consumer *c, strand_failure *failure) {
  int joined = 0;
  pthread_mutex_lock(&c->lock);
  if (c->joined >= c->member_count) joined = 1;
  else if (c->ending) {
    *failure = c->ending_reason;
    joined = -1;
  }
  if (joined != 0) c->joined_told = true;
  pthread_mutex_unlock(&c->lock);
  strand_shared_settle(c);
  return joined;
}

int strand_consumer_fd (const strand_consumer *c) {
  return c->fd;
}

/*
** What waits to be taken
*/

bool strand_consumer_next_event (strand_consumer *c, strand_event *event) {
  if (strand_events_pop(c->events, event)) return true;
  strand_shared_settle(c);
  return strand_events_pop(c->events, event);
}

bool strand_consumer_next_log (strand_consumer *c, strand_log_line *line) {
  if (strand_log_pop(c->log, line)) return true;
  strand_shared_settle(c);
  return strand_log_pop(c->log, line) != 0;
}

bool strand_consumer_oauth_needed (strand_consumer *c) {
  bool needed;
  pthread_mutex_lock(&c->lock);
  needed = c->oauth_wanted;
  c->oauth_wanted = false;
  pthread_mutex_unlock(&c->lock);
  return needed;
}

/* A client that is being destroyed needs no token. */
static bool is_serving (const strand_consumer *c) {
  return life_of((strand_consumer *)(uintptr_t)c) < STRAND_CLOSING;
}

bool strand_consumer_oauth_set (strand_consumer *c, const char *token,
                                int64_t expires_ms, const char *principal,
                                strand_failure *failure) {
  char error[256];
  if (!is_serving(c)) return true;
  for (unsigned i = 0; i < c->member_count; i++) {
    rd_kafka_resp_err_t err = rd_kafka_oauthbearer_set_token(
      c->members[i]->client, token, expires_ms, principal, NULL, 0, error,
      sizeof(error));
    if (err == RD_KAFKA_RESP_ERR_NO_ERROR) continue;
    strand_fail(failure, "OAUTH", "the token was refused: %s", error);
    return false;
  }
  return true;
}

void strand_consumer_oauth_fail (strand_consumer *c, const char *message) {
  if (!is_serving(c)) return;
  for (unsigned i = 0; i < c->member_count; i++) {
    rd_kafka_oauthbearer_set_token_failure(c->members[i]->client, message);
  }
}

bool strand_consumer_ending (strand_consumer *c, strand_close_mode *mode,
                             strand_failure *reason) {
  bool now;
  pthread_mutex_lock(&c->lock);
  now = c->ending && !c->ending_told;
  c->ending_told = c->ending;
  *mode = c->ending_mode;
  *reason = c->ending_reason;
  pthread_mutex_unlock(&c->lock);
  return now;
}

/*
** Closing
*/

static void arm (strand_consumer *c, int64_t at_us) {
  struct itimerspec when = { { 0, 0 }, { 0, 0 } };
  when.it_value.tv_sec = at_us / 1000000;
  when.it_value.tv_nsec = at_us % 1000000 * 1000;
  timerfd_settime(c->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
}

static void wake_all (strand_consumer *c) {
  for (unsigned i = 0; i < c->member_count; i++) {
    strand_member_wake(c->members[i]);
  }
}

void strand_consumer_close_begin (strand_consumer *c, strand_close_mode mode,
                                  double timeout) {
  int64_t deadline_us = strand_clock_us() + (int64_t)(timeout * 1e6);
  bool open;
  pthread_mutex_lock(&c->lock);
  if (c->life != STRAND_CLOSING || deadline_us < c->close_deadline_us) {
    c->close_deadline_us = deadline_us;
  }
  c->close_mode = mode;
  if (c->life != STRAND_CLOSED) c->life = STRAND_CLOSING;
  for (unsigned i = 0; i < c->member_count; i++) {
    c->members[i]->inbox.close = true;
  }
  open = c->members_open > 0;
  strand_shared_closed_locked(c);
  arm(c, c->close_deadline_us + GIVE_UP_US);
  pthread_mutex_unlock(&c->lock);
  if (!open) strand_mailbox_close(&c->mailbox);
  wake_all(c);
}

bool strand_consumer_close_wait (strand_consumer *c) {
  bool over;
  pthread_mutex_lock(&c->lock);
  over = c->life == STRAND_CLOSED;
  if (!over && c->life == STRAND_CLOSING
      && strand_clock_us() >= c->close_deadline_us + GIVE_UP_US) {
    over = c->detached = true;
    c->life = STRAND_CLOSED;
    c->closed_us = strand_clock_us();
  }
  if (over) {
    c->close_told = true;
    arm(c, 0);
  }
  pthread_mutex_unlock(&c->lock);
  if (over) {
    strand_mailbox_close(&c->mailbox);
    strand_shared_settle(c);
  }
  return over;
}

static bool wait_closed (strand_consumer *c, double timeout) {
  double deadline = strand_clock_now() + timeout;
  struct timespec until = strand_clock_timespec(deadline);
  bool closed;
  pthread_mutex_lock(&c->lock);
  while (c->life != STRAND_CLOSED
         && pthread_cond_timedwait(&c->changed, &c->lock, &until) == 0) {}
  closed = c->life == STRAND_CLOSED;
  pthread_mutex_unlock(&c->lock);
  return closed;
}

void strand_consumer_discard (strand_consumer *c, double timeout) {
  if (life_of(c) != STRAND_CLOSED) {
    double most = timeout > 1 ? timeout - 1 : timeout / 2;
    strand_consumer_close_begin(c, STRAND_CLOSE_NOW, most);
    wait_closed(c, timeout);
    strand_mailbox_close(&c->mailbox);
  }
  if (c->has_log) strand_log_set_notify(c->log, NULL, NULL);
  strand_shared_unref(c);
}

/*
** Reports and statistics
*/

static bool copy_places (strand_place **to, size_t *count,
                         const strand_place *from, size_t more) {
  strand_place *grown;
  if (more == 0) return true;
  grown = realloc(*to, (*count + more) * sizeof(*grown));
  if (grown == NULL) return false;
  *to = grown;
  for (size_t i = 0; i < more; i++) {
    grown[*count] = from[i];
    grown[*count].topic = strdup(from[i].topic);
    if (grown[*count].topic == NULL) return false;
    (*count)++;
  }
  return true;
}

static bool report_locked (strand_consumer *c, strand_report *r) {
  int64_t end = c->closed_us != 0 ? c->closed_us : strand_clock_us();
  bool ok = copy_places(&r->committed, &r->committed_count, c->committed,
                        c->committed_count);
  r->lost = c->lost;
  r->detached = c->detached;
  r->failure = c->failure;
  r->seconds = c->started_us == 0 ? 0 : (double)(end - c->started_us) / 1e6;
  for (unsigned i = 0; i < c->member_count; i++) {
    const strand_view *v = &c->members[i]->view;
    size_t room = STRAND_REPORT_UNFINISHED_MAX - r->unfinished_count;
    r->done += v->engine.done;
    r->failed += v->engine.failed;
    r->unfinished_total += v->unfinished_total;
    ok = ok && copy_places(&r->unfinished, &r->unfinished_count,
                           v->unfinished,
                           v->unfinished_count < room ? v->unfinished_count
                                                      : room);
  }
  return ok;
}

bool strand_consumer_report (strand_consumer *c, strand_report *report) {
  bool ok;
  *report = (strand_report){ 0 };
  pthread_mutex_lock(&c->lock);
  ok = report_locked(c, report);
  pthread_mutex_unlock(&c->lock);
  if (!ok) strand_report_clear(report);
  return ok;
}

static void clear_places (strand_place *places, size_t count) {
  for (size_t i = 0; i < count; i++) free(places[i].topic);
  free(places);
}

void strand_report_clear (strand_report *report) {
  clear_places(report->unfinished, report->unfinished_count);
  clear_places(report->committed, report->committed_count);
  *report = (strand_report){ 0 };
}

static void add_engine (strand_engine_stats *to,
                        const strand_engine_stats *from) {
  to->partitions += from->partitions;
  to->buffered_records += from->buffered_records;
  to->buffered_bytes += from->buffered_bytes;
  to->waiting_records += from->waiting_records;
  to->waiting_bytes += from->waiting_bytes;
  to->in_flight += from->in_flight;
  to->stale += from->stale;
  to->ready += from->ready;
  to->retries += from->retries;
  to->shards += from->shards;
  to->done += from->done;
  to->failed += from->failed;
  to->stale_dropped += from->stale_dropped;
}

static bool stats_locked (strand_consumer *c, size_t blockers,
                          strand_stats *s) {
  size_t partitions = 0, found = 0;
  for (unsigned i = 0; i < c->member_count; i++) {
    partitions += c->members[i]->view.partition_count;
    found += c->members[i]->view.blocker_count;
    if (blockers > c->members[i]->blockers_wanted) {
      c->members[i]->blockers_wanted = blockers;
    }
  }
  s->partitions = malloc((partitions + 1) * sizeof(*s->partitions));
  s->blockers = malloc((found + 1) * sizeof(*s->blockers));
  if (s->partitions == NULL || s->blockers == NULL) return false;
  for (unsigned i = 0; i < c->member_count; i++) {
    const strand_view *v = &c->members[i]->view;
    add_engine(&s->engine, &v->engine);
    if (v->partition_count > 0) {
      memcpy(s->partitions + s->partition_count, v->partitions,
             v->partition_count * sizeof(*v->partitions));
    }
    if (v->blocker_count > 0) {
      memcpy(s->blockers + s->blocker_count, v->blockers,
             v->blocker_count * sizeof(*v->blockers));
    }
    s->partition_count += v->partition_count;
    s->blocker_count += v->blocker_count;
  }
  s->commits = c->commits;
  s->commits_failed = c->commits_failed;
  s->rebalances = c->rebalances;
  s->workers = c->workers_alive;
  return true;
}

static int older_first (const void *a, const void *b) {
  double x = ((const strand_blocker *)a)->age;
  double y = ((const strand_blocker *)b)->age;
  return x > y ? -1 : x < y ? 1 : 0;
}

bool strand_consumer_stats (strand_consumer *c, size_t blockers,
                            strand_stats *stats) {
  bool ok;
  *stats = (strand_stats){ 0 };
  pthread_mutex_lock(&c->lock);
  ok = stats_locked(c, blockers, stats);
  pthread_mutex_unlock(&c->lock);
  if (!ok) {
    strand_stats_clear(stats);
    return false;
  }
  for (size_t i = 0; i < stats->partition_count; i++) {
    stats->partitions[i].stats.topic = stats->partitions[i].topic;
  }
  qsort(stats->blockers, stats->blocker_count, sizeof(*stats->blockers),
        older_first);
  if (stats->blocker_count > blockers) stats->blocker_count = blockers;
  stats->members = c->member_count;
  stats->busy = atomic_load(&c->busy);
  stats->prefetch_bytes = c->prefetch_kbytes * 1024
                          * stats->engine.partitions;
  stats->events_dropped = strand_events_dropped(c->events);
  stats->logs_dropped = (uint64_t)strand_log_dropped(c->log);
  stats->idle = (double)(strand_clock_coarse_us()
                         - atomic_load(&c->ended_us)) / 1e6;
  return true;
}

void strand_stats_clear (strand_stats *stats) {
  free(stats->partitions);
  free(stats->blockers);
  *stats = (strand_stats){ 0 };
}

/*
** Requests
*/

static strand_ticket *new_ticket (strand_consumer *c, unsigned waiting,
                                  strand_failure *failure) {
  strand_ticket *ticket = calloc(1, sizeof(*ticket));
  if (ticket == NULL) {
    strand_fail(failure, "NO_MEMORY", "memory ran out");
    return NULL;
  }
  ticket->consumer = strand_shared_ref(c);
  ticket->waiting = waiting;
  return ticket;
}

static strand_waiter *new_waiters (unsigned count, strand_ticket *ticket) {
  strand_waiter *first = NULL;
  for (unsigned i = 0; i < count; i++) {
    strand_waiter *w = calloc(1, sizeof(*w));
    if (w == NULL) {
      while (first != NULL) {
        w = first;
        first = w->next;
        free(w);
      }
      return NULL;
    }
    w->ticket = ticket;
    w->next = first;
    first = w;
  }
  return first;
}

strand_ticket *strand_consumer_commit (strand_consumer *c,
                                       strand_failure *failure) {
  strand_ticket *ticket;
  strand_waiter *waiters;
  if (life_of(c) != STRAND_RUNS) {
    strand_fail(failure, "NOT_RUNNING", "the consumer does not run");
    return NULL;
  }
  ticket = new_ticket(c, c->member_count, failure);
  if (ticket == NULL) return NULL;
  waiters = new_waiters(c->member_count, ticket);
  if (waiters == NULL) {
    free(ticket);
    strand_shared_unref(c);
    strand_fail(failure, "NO_MEMORY", "memory ran out");
    return NULL;
  }
  pthread_mutex_lock(&c->lock);
  for (unsigned i = 0; i < c->member_count; i++) {
    strand_waiter *w = waiters;
    waiters = w->next;
    w->next = c->members[i]->inbox.commits;
    c->members[i]->inbox.commits = w;
  }
  pthread_mutex_unlock(&c->lock);
  wake_all(c);
  return ticket;
}

strand_ticket *strand_consumer_seek (strand_consumer *c, const char *topic,
                                     int32_t partition, strand_seek_kind kind,
                                     int64_t value, strand_failure *failure) {
  strand_seek_request *r = calloc(1, sizeof(*r));
  strand_ticket *ticket = new_ticket(c, 1, failure);
  int member = -1;
  if (r != NULL) r->topic = strdup(topic);
  if (r != NULL && r->topic != NULL && ticket != NULL) {
    r->ticket = ticket;
    r->partition = partition;
    r->kind = kind;
    r->value = value;
    pthread_mutex_lock(&c->lock);
    member = c->life == STRAND_RUNS
               ? strand_held_member(&c->held, topic, partition) : -1;
    if (member >= 0) {
      r->next = c->members[member]->inbox.seeks;
      c->members[member]->inbox.seeks = r;
    }
    pthread_mutex_unlock(&c->lock);
    if (member >= 0) {
      strand_member_wake(c->members[member]);
      return ticket;
    }
    strand_fail(failure, "NOT_ASSIGNED",
                "partition %d of '%s' is not assigned here", (int)partition,
                topic);
  }
  if (r != NULL) free(r->topic);
  free(r);
  if (ticket != NULL) strand_shared_unref(c);
  free(ticket);
  return NULL;
}

int strand_ticket_done (strand_ticket *ticket, strand_failure *failure) {
  strand_consumer *c = ticket->consumer;
  int done = 0;
  pthread_mutex_lock(&c->lock);
  if (ticket->waiting == 0) {
    done = ticket->failure.code[0] == '\0' ? 1 : -1;
    *failure = ticket->failure;
  }
  pthread_mutex_unlock(&c->lock);
  return done;
}

void strand_ticket_drop (strand_ticket *ticket) {
  strand_consumer *c = ticket->consumer;
  bool answered;
  pthread_mutex_lock(&c->lock);
  ticket->dropped = true;
  answered = ticket->waiting == 0;
  if (answered) c->answers--;
  pthread_mutex_unlock(&c->lock);
  if (!answered) return; /* whoever answers frees it */
  strand_shared_settle(c);
  free(ticket);
  strand_shared_unref(c);
}

/*
** Pausing, limits
*/

static bool covers (const char *topic, int32_t partition,
                    const strand_rule *rule) {
  if (topic == NULL) return true;
  if (rule->topic == NULL || strcmp(rule->topic, topic) != 0) return false;
  return partition < 0 || rule->partition == partition;
}

static void drop_rules_locked (strand_consumer *c, const char *topic,
                               int32_t partition) {
  size_t kept = 0;
  for (size_t i = 0; i < c->rule_count; i++) {
    if (!covers(topic, partition, &c->rules[i])) c->rules[kept++] = c->rules[i];
    else free(c->rules[i].topic);
  }
  c->rule_count = kept;
}

static bool add_rule_locked (strand_consumer *c, const char *topic,
                             int32_t partition) {
  strand_rule rule = { NULL, partition };
  strand_rule *grown = realloc(c->rules, (c->rule_count + 1)
                                         * sizeof(*grown));
  if (grown == NULL) return false;
  c->rules = grown;
  if (topic != NULL && (rule.topic = strdup(topic)) == NULL) return false;
  grown[c->rule_count++] = rule;
  return true;
}

bool strand_consumer_pause (strand_consumer *c, const char *topic,
                            int32_t partition, bool paused,
                            strand_failure *failure) {
  bool ok = true;
  pthread_mutex_lock(&c->lock);
  drop_rules_locked(c, topic, partition);
  if (paused) ok = add_rule_locked(c, topic, partition);
  for (unsigned i = 0; i < c->member_count; i++) {
    c->members[i]->inbox.rules = true;
  }
  pthread_mutex_unlock(&c->lock);
  if (!ok) strand_fail(failure, "NO_MEMORY", "memory ran out");
  wake_all(c);
  return ok;
}

bool strand_consumer_configure (strand_consumer *c,
                                const strand_limits *limits,
                                strand_failure *failure) {
  unsigned serving, made = 0, more = 0;
  pthread_mutex_lock(&c->lock);
  c->limits = *limits;
  for (unsigned i = 0; i < c->member_count; i++) {
    c->members[i]->inbox.limits = true;
  }
  pthread_mutex_unlock(&c->lock);
  if (is_serving(c) && life_of(c) == STRAND_RUNS) {
    strand_mailbox_limit(&c->mailbox, (unsigned)limits->max_in_flight,
                         limits->workers);
    pthread_mutex_lock(&c->mailbox.lock);
    serving = c->mailbox.serving;
    pthread_mutex_unlock(&c->mailbox.lock);
    if (limits->workers > serving) more = limits->workers - serving;
    pthread_mutex_lock(&c->lock);
    made = strand_workers_start_locked(c, more);
    pthread_mutex_unlock(&c->lock);
  }
  wake_all(c);
  if (made == more) return true;
  strand_fail(failure, "NO_THREAD", "only %u of %u more workers could start",
              made, more);
  return false;
}

void strand_consumer_set_policy (strand_consumer *c,
                                 const strand_policy *policy) {
  pthread_mutex_lock(&c->lock);
  for (size_t i = 0; i < c->route_count; i++) {
    if (!c->routes[i].own_policy) c->routes[i].policy = *policy;
  }
  for (unsigned i = 0; i < c->member_count; i++) {
    c->members[i]->inbox.limits = true;
  }
  pthread_mutex_unlock(&c->lock);
  wake_all(c);
}

/*
** Health
*/

static const char *member_problem (const strand_member *m) {
  int64_t turned = atomic_load(&m->turned_us);
  if (strand_clock_us() - turned > STUCK_OWNER_US) return "STUCK_OWNER";
  if (atomic_load(&m->refused)) return "AUTH";
  if (atomic_load(&m->unreachable)) return "UNREACHABLE";
  return NULL;
}

static const char *problem_text (const char *code) {
  if (strcmp(code, "STUCK_OWNER") == 0) return "an owner thread is stuck";
  if (strcmp(code, "AUTH") == 0) return "the brokers refuse the credentials";
  if (strcmp(code, "UNREACHABLE") == 0) return "no broker answers";
  if (strcmp(code, "CLOSED") == 0) return "the consumer is closed";
  if (strcmp(code, "NOT_ASSIGNED") == 0) {
    return "not a member of the group yet";
  }
  return "handlers run, and none has ended for a minute";
}

void strand_consumer_health (strand_consumer *c, strand_failure *problem) {
  const char *code = NULL;
  strand_life life = life_of(c);
  int64_t idle = strand_clock_coarse_us() - atomic_load(&c->ended_us);
  problem->code[0] = problem->message[0] = '\0';
  if (life == STRAND_CLOSED) code = "CLOSED";
  for (unsigned i = 0; life == STRAND_RUNS && code == NULL
                       && i < c->member_count; i++) {
    code = member_problem(c->members[i]);
  }
  if (code == NULL && life == STRAND_RUNS && atomic_load(&c->busy) > 0
      && idle > NOTHING_FINISHES_US) code = "NOTHING_FINISHES";
  if (code == NULL && life != STRAND_CLOSED) {
    pthread_mutex_lock(&c->lock);
    if (c->joined < c->member_count) code = "NOT_ASSIGNED";
    pthread_mutex_unlock(&c->lock);
  }
  if (code != NULL) strand_fail(problem, code, "%s", problem_text(code));
}
