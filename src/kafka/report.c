/*
** report.c - what a consumer did, does, and whether it is well
*/
#include <stdlib.h>

#include "kafka/clock.h"
#include "kafka/member.h"

#define STUCK_OWNER_US 10000000 /* an owner turns at least once a second */
#define NOTHING_FINISHES_US 60000000

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

/* A close whose time was over left something behind: whoever asked for NOW
** wanted that. A commit that failed is told before it. */
static void tell_late_locked (const strand_consumer *c, strand_report *r) {
  bool late = c->late || (c->detached && c->close_mode != STRAND_CLOSE_NOW);
  if (c->life != STRAND_CLOSED || !late || r->failure.code[0] != '\0') return;
  if (r->unfinished_total > 0) {
    strand_fail(&r->failure, "TIMED_OUT",
                "%llu record%s unfinished after "
                "%.14g s",
                (unsigned long long)r->unfinished_total,
                r->unfinished_total == 1 ? "" : "s", c->close_timeout);
  }
  else {
    strand_fail(&r->failure, "TIMED_OUT", "%s after %.14g s",
                c->members_open > 0    ? "the group is not left"
                : c->workers_alive > 0 ? "a worker has not ended"
                                       : "not all was ended",
                c->close_timeout);
  }
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
    r->skipped += v->engine.skipped;
    r->dead_lettered += v->engine.dead_lettered;
    r->parked += v->stopped ? v->unfinished_parked : v->engine.parked;
    r->unfinished_total += v->unfinished_total;
    ok = ok
         && copy_places(&r->unfinished, &r->unfinished_count, v->unfinished,
                        v->unfinished_count < room ? v->unfinished_count
                                                   : room);
  }
  tell_late_locked(c, r);
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
  to->parked += from->parked;
  to->letters += from->letters;
  to->shards += from->shards;
  to->done += from->done;
  to->failed += from->failed;
  to->skipped += from->skipped;
  to->dead_lettered += from->dead_lettered;
  to->stale_dropped += from->stale_dropped;
}

/* Nothing is published while nothing changes; but all grows older. */
static void add_age (strand_partition_view *partitions, size_t count,
                     strand_blocker *blockers, size_t blocker_count,
                     int64_t age_us) {
  for (size_t i = 0; i < count; i++) {
    strand_partition_stats *p = &partitions[i].stats;
    if (p->buffered_records + p->waiting_records == 0) continue;
    p->oldest_ms += (uint32_t)(age_us / 1000);
  }
  for (size_t i = 0; i < blocker_count; i++) {
    blockers[i].age += (double)age_us / 1e6;
  }
}

/* The next view has as many. False: it had, already. */
static bool want_blockers_locked (strand_consumer *c, size_t blockers) {
  bool more = false;
  if (c->life == STRAND_CLOSED) return false;
  for (unsigned i = 0; i < c->member_count; i++) {
    if (blockers <= c->members[i]->blockers_wanted) continue;
    c->members[i]->blockers_wanted = blockers;
    more = true;
  }
  return more;
}

static bool stats_locked (strand_consumer *c, strand_stats *s) {
  size_t partitions = 0, found = 0;
  int64_t now_us = strand_clock_us();
  for (unsigned i = 0; i < c->member_count; i++) {
    partitions += c->members[i]->view.partition_count;
    found += c->members[i]->view.blocker_count;
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
    add_age(s->partitions + s->partition_count, v->partition_count,
            s->blockers + s->blocker_count, v->blocker_count,
            c->life == STRAND_CLOSED ? 0 : now_us - v->published_us);
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
  bool ok, more;
  *stats = (strand_stats){ 0 };
  pthread_mutex_lock(&c->lock);
  more = want_blockers_locked(c, blockers);
  ok = stats_locked(c, stats);
  pthread_mutex_unlock(&c->lock);
  if (more) strand_shared_wake(c);
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
  stats->lost = strand_mailbox_lost(&c->mailbox);
  stats->prefetch_bytes = c->prefetch_kbytes * 1024 * stats->engine.partitions;
  stats->events_dropped = strand_events_dropped(c->events);
  stats->logs_dropped = (uint64_t)strand_log_dropped(c->log);
  stats->idle = (double)(strand_clock_coarse_us() - atomic_load(&c->ended_us))
                / 1e6;
  return true;
}

void strand_stats_clear (strand_stats *stats) {
  free(stats->partitions);
  free(stats->blockers);
  *stats = (strand_stats){ 0 };
}

/*
** Health
*/

static void member_problem (strand_member *m, strand_failure *problem) {
  strand_consumer *c = m->consumer;
  int64_t turned = atomic_load(&m->turned_us);
  if (strand_clock_us() - turned > STUCK_OWNER_US) {
    strand_fail(problem, "STUCK_OWNER", "an owner thread is stuck");
    return;
  }
  pthread_mutex_lock(&c->lock);
  *problem = m->problem;
  pthread_mutex_unlock(&c->lock);
}

static bool is_joined (strand_consumer *c) {
  bool joined;
  pthread_mutex_lock(&c->lock);
  joined = c->joined >= c->member_count;
  pthread_mutex_unlock(&c->lock);
  return joined;
}

static bool nothing_finishes (strand_consumer *c) {
  int64_t ended = atomic_load(&c->ended_us), began = atomic_load(&c->began_us);
  int64_t idle = strand_clock_coarse_us() - (began > ended ? began : ended);
  return atomic_load(&c->busy) > 0 && idle > NOTHING_FINISHES_US;
}

static void topics_problem (strand_consumer *c, strand_failure *problem) {
  pthread_mutex_lock(&c->lock);
  for (unsigned i = 0; i < c->member_count && problem->code[0] == '\0'; i++) {
    *problem = c->members[i]->topics_problem;
  }
  pthread_mutex_unlock(&c->lock);
}

void strand_consumer_health (strand_consumer *c, strand_failure *problem) {
  strand_life life = strand_shared_life(c);
  problem->code[0] = problem->message[0] = '\0';
  if (life == STRAND_CLOSED) {
    strand_fail(problem, "CLOSED", "the consumer is closed");
    return;
  }
  for (unsigned i = 0;
       life == STRAND_RUNS && problem->code[0] == '\0' && i < c->member_count;
       i++) {
    member_problem(c->members[i], problem);
  }
  if (problem->code[0] != '\0') return;
  if (life == STRAND_RUNS && nothing_finishes(c)) {
    strand_fail(problem, "NOTHING_FINISHES",
                "handlers run, and none has ended for a minute");
  }
  else if (is_joined(c)) {
    if (life == STRAND_RUNS) topics_problem(c, problem);
  }
  else {
    topics_problem(c, problem); /* no group is joined for what is missing */
    if (strcmp(problem->code, "TOPIC_MISSING") != 0) {
      strand_fail(problem, "NOT_ASSIGNED", "not a member of the group yet");
    }
  }
}
