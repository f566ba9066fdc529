/*
** report.c - what a consumer did, does, and whether it is well
*/
#include <stdlib.h>

#include "base/clock.h"
#include "consumer/consumer.h"
#include "member/member.h"

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
static void tell_late (const strand_facts *f, strand_report *r) {
  bool late = f->late || (f->detached && f->mode != STRAND_CLOSE_NOW);
  if (!late || r->failure.code[0] != '\0') return;
  if (r->unfinished_total > 0) {
    strand_fail(&r->failure, "TIMED_OUT",
                "%llu record%s unfinished after "
                "%.14g s",
                (unsigned long long)r->unfinished_total,
                r->unfinished_total == 1 ? "" : "s", f->timeout);
  }
  else {
    strand_fail(&r->failure, "TIMED_OUT", "%s after %.14g s",
                f->members > 0   ? "the group is not left"
                : f->workers > 0 ? "a worker has not ended"
                                 : "not all was ended",
                f->timeout);
  }
}

static bool add_unfinished (strand_report *r, const strand_unfinished *u) {
  size_t room = STRAND_REPORT_UNFINISHED_MAX - r->unfinished_count;
  r->unfinished_total += u->total;
  return copy_places(&r->unfinished, &r->unfinished_count, u->places,
                     u->count < room ? u->count : room);
}

static bool add_committed (strand_report *r, strand_consumer *c) {
  size_t count;
  strand_place *places = strand_tally_committed(&c->tally, &count);
  bool ok = places != NULL
            && copy_places(&r->committed, &r->committed_count, places, count);
  free(places);
  return ok;
}

static void add_counts (strand_report *r, strand_tally *tally) {
  strand_counts counts;
  strand_tally_read(tally, &counts);
  r->lost = counts.lost;
  r->failure = counts.failure;
}

static void add_times (strand_report *r, const strand_facts *f) {
  int64_t end = f->closed_us != 0 ? f->closed_us : strand_clock_us();
  r->detached = f->detached;
  r->seconds = f->started_us == 0 ? 0 : (double)(end - f->started_us) / 1e6;
}

static bool add_member (strand_report *r, strand_snapshot *snapshot) {
  strand_published p;
  strand_snapshot_take(snapshot, &p);
  strand_published_release(&p);
  r->done += p.stats.done;
  r->failed += p.stats.failed;
  r->skipped += p.stats.skipped;
  r->dead_lettered += p.stats.dead_lettered;
  r->parked += p.unfinished != NULL ? p.unfinished->parked : p.stats.parked;
  return p.unfinished == NULL || add_unfinished(r, p.unfinished);
}

/* A member tells what is unfinished, and why its last commit failed, before it
** is over: so all else is read after the facts, and what is late is only told
** of a consumer that was closed then. */
bool strand_consumer_report (strand_consumer *c, strand_report *report) {
  bool ok = true;
  strand_facts facts;
  *report = (strand_report){ 0 };
  strand_life_read(&c->life, &facts);
  for (unsigned i = 0; ok && i < c->inboxes.count; i++) {
    ok = add_member(report, &c->members[i]->snapshot);
  }
  ok = ok && add_committed(report, c);
  add_counts(report, &c->tally);
  report->outputs = strand_staging_counts(&c->staging);
  add_times(report, &facts);
  if (facts.state == STRAND_CLOSED) tell_late(&facts, report);
  if (!ok) strand_report_clear(report);
  return ok;
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
  to->dead_letters += from->dead_letters;
  to->sending += from->sending;
  to->shards += from->shards;
  to->done += from->done;
  to->failed += from->failed;
  to->skipped += from->skipped;
  to->dead_lettered += from->dead_lettered;
  to->stale_dropped += from->stale_dropped;
}

/* Nothing is published while nothing changes; but all grows older. */
static void add_age (strand_partition_snapshot *partitions, size_t count,
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

/* The owners' descriptors may be gone when it is closed: none is woken. */
static bool want_blockers (strand_consumer *c, size_t blockers) {
  bool more = false;
  for (unsigned i = 0; i < c->inboxes.count; i++) {
    if (strand_snapshot_want(&c->members[i]->snapshot, blockers)) more = true;
  }
  return more && strand_shared_state(c) != STRAND_CLOSED;
}

/* Room for more, also when there is nothing. */
static bool make_room (strand_stats *s, const strand_snapshot_copy *v) {
  size_t partitions = s->partition_count + v->partition_count + 1;
  size_t blockers = s->blocker_count + v->blocker_count + 1;
  strand_partition_snapshot *p = realloc(s->partitions,
                                         partitions * sizeof(*p));
  strand_blocker *b = NULL;
  if (p != NULL) {
    s->partitions = p;
    b = realloc(s->blockers, blockers * sizeof(*b));
  }
  if (b != NULL) s->blockers = b;
  return b != NULL;
}

static bool add_copy (strand_stats *s, const strand_snapshot_copy *v,
                      int64_t age_us) {
  strand_partition_snapshot *p;
  strand_blocker *b;
  if (!make_room(s, v)) return false;
  p = s->partitions + s->partition_count;
  b = s->blockers + s->blocker_count;
  if (v->partition_count > 0) {
    memcpy(p, v->partitions, v->partition_count * sizeof(*p));
  }
  if (v->blocker_count > 0) {
    memcpy(b, v->blockers, v->blocker_count * sizeof(*b));
  }
  add_age(p, v->partition_count, b, v->blocker_count, age_us);
  s->partition_count += v->partition_count;
  s->blocker_count += v->blocker_count;
  return true;
}

static bool add_copies (strand_consumer *c, strand_stats *s) {
  static const strand_snapshot_copy none = { 0 };
  bool closed = strand_shared_state(c) == STRAND_CLOSED;
  bool ok = make_room(s, &none);
  for (unsigned i = 0; ok && i < c->inboxes.count; i++) {
    strand_published p;
    strand_snapshot_take(&c->members[i]->snapshot, &p);
    add_engine(&s->engine, &p.stats);
    if (p.copy != NULL) {
      ok = add_copy(s, p.copy, closed ? 0 : strand_clock_us() - p.at_us);
    }
    strand_published_release(&p);
  }
  return ok;
}

static void add_tally (strand_consumer *c, strand_stats *s) {
  strand_counts counts;
  strand_facts facts;
  strand_tally_read(&c->tally, &counts);
  strand_life_read(&c->life, &facts);
  s->commits = counts.commits;
  s->commits_failed = counts.commits_failed;
  s->rebalances = counts.rebalances;
  s->workers = facts.workers;
  s->outputs = strand_staging_counts(&c->staging);
}

static int older_first (const void *a, const void *b) {
  double x = ((const strand_blocker *)a)->age;
  double y = ((const strand_blocker *)b)->age;
  return x > y ? -1 : x < y ? 1 : 0;
}

bool strand_consumer_stats (strand_consumer *c, size_t blockers,
                            strand_stats *stats) {
  bool more = want_blockers(c, blockers);
  *stats = (strand_stats){ 0 };
  if (more) strand_inboxes_wake(&c->inboxes);
  if (!add_copies(c, stats)) {
    strand_stats_clear(stats);
    return false;
  }
  add_tally(c, stats);
  for (size_t i = 0; i < stats->partition_count; i++) {
    stats->partitions[i].stats.topic = stats->partitions[i].topic;
  }
  qsort(stats->blockers, stats->blocker_count, sizeof(*stats->blockers),
        older_first);
  if (stats->blocker_count > blockers) stats->blocker_count = blockers;
  stats->members = c->inboxes.count;
  stats->busy = strand_pool_busy(&c->pool);
  stats->lost = strand_mailbox_lost(&c->mailbox);
  stats->prefetch_bytes = c->settings.prefetch_kbytes * 1024
                          * stats->engine.partitions;
  stats->events_dropped = strand_events_dropped(c->notifier.events);
  stats->logs_dropped = (uint64_t)strand_log_dropped(c->notifier.log);
  stats->longest_slice = (double)atomic_load(&c->notifier.watch.longest_us)
                         / 1e6;
  stats->idle = (double)strand_pool_idle_us(&c->pool) / 1e6;
  return true;
}

/*
** Health
*/

static void member_problem (strand_member *m, strand_failure *problem) {
  int64_t turned = atomic_load(&m->waker->turned_us);
  if (strand_clock_us() - turned > STUCK_OWNER_US) {
    strand_fail(problem, "STUCK_OWNER", "an owner thread is stuck");
    return;
  }
  strand_problem_get(&m->problem, problem);
}

static void topics_problem (strand_consumer *c, strand_failure *problem) {
  for (unsigned i = 0; i < c->inboxes.count && problem->code[0] == '\0'; i++) {
    strand_problem_topic(&c->members[i]->problem, problem);
  }
}

void strand_consumer_health (strand_consumer *c, strand_failure *problem) {
  strand_state state = strand_shared_state(c);
  problem->code[0] = problem->message[0] = '\0';
  if (state == STRAND_CLOSED) {
    strand_fail(problem, "CLOSED", "the consumer is closed");
    return;
  }
  for (unsigned i = 0; state == STRAND_RUNS && problem->code[0] == '\0'
                       && i < c->inboxes.count;
       i++) {
    member_problem(c->members[i], problem);
  }
  if (problem->code[0] != '\0') return;
  if (state == STRAND_RUNS
      && strand_pool_stuck_us(&c->pool) > NOTHING_FINISHES_US) {
    strand_fail(problem, "NOTHING_FINISHES",
                "handlers run, and none has ended for a minute");
  }
  else if (strand_shared_all_joined(c)) {
    if (state == STRAND_RUNS) topics_problem(c, problem);
  }
  else {
    topics_problem(c, problem); /* no group is joined for what is missing */
    if (strcmp(problem->code, "TOPIC_MISSING") != 0) {
      strand_fail(problem, "NOT_ASSIGNED", "not a member of the group yet");
    }
  }
}
