/*
** request.c - what the lua thread asks of the owners
*/
#include <stdlib.h>

#include "consumer/consumer.h"
#include "worker/worker.h"

/*
** Requests
*/

/* With 'waiting' members to answer. NULL and a failure: no memory. */
static strand_ticket *new_ticket (strand_consumer *c, unsigned waiting,
                                  strand_failure *failure) {
  strand_ticket *ticket = strand_ticket_new(&c->tickets, waiting);
  if (ticket != NULL) ticket->consumer = strand_shared_ref(c);
  else strand_fail(failure, "NO_MEMORY", "memory ran out");
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
  if (strand_shared_state(c) != STRAND_RUNS) {
    strand_fail(failure, "NOT_RUNNING", "the consumer does not run");
    return NULL;
  }
  ticket = new_ticket(c, c->inboxes.count, failure);
  if (ticket == NULL) return NULL;
  waiters = new_waiters(c->inboxes.count, ticket);
  if (waiters == NULL) {
    strand_shared_free_ticket(ticket);
    strand_fail(failure, "NO_MEMORY", "memory ran out");
    return NULL;
  }
  strand_inboxes_ask_commit(&c->inboxes, waiters);
  strand_inboxes_wake(&c->inboxes);
  return ticket;
}

strand_ticket *strand_consumer_seek (strand_consumer *c, const char *topic,
                                     int32_t partition, strand_seek_kind kind,
                                     int64_t value, strand_failure *failure) {
  strand_seek_request *r;
  strand_ticket *ticket;
  if (kind == STRAND_SEEK_OFFSET && value < 0) { /* librdkafka's own words */
    strand_fail(failure, "INVALID_ARG", "no offset is below 0");
    return NULL;
  }
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  r = calloc(1, sizeof(*r));
  ticket = new_ticket(c, 1, failure);
  if (r != NULL) r->topic = strdup(topic);
  if (r != NULL && r->topic != NULL && ticket != NULL) {
    r->ticket = ticket;
    r->partition = partition;
    r->kind = kind;
    r->value = value;
    if (strand_shared_state(c) == STRAND_RUNS
        && strand_inboxes_ask_seek(&c->inboxes, r))
      return ticket;
    strand_fail(failure, "NOT_ASSIGNED",
                "partition %d of '%s' is not assigned here", (int)partition,
                topic);
  }
  if (r != NULL) free(r->topic);
  free(r);
  if (ticket != NULL) strand_shared_free_ticket(ticket);
  return NULL;
}

void strand_consumer_drop (strand_ticket *ticket) {
  if (!strand_ticket_give_up(ticket)) return; /* whoever answers frees it */
  strand_shared_settle(ticket->consumer);
  strand_shared_free_ticket(ticket);
}

/*
** Pausing, limits
*/

bool strand_consumer_pause (strand_consumer *c, const char *topic,
                            int32_t partition, bool paused,
                            strand_failure *failure) {
  bool ok = true;
  if (paused) ok = strand_settings_pause(&c->settings, topic, partition);
  else strand_settings_resume(&c->settings, topic, partition);
  strand_inboxes_tell(&c->inboxes, (strand_asked){ .rules = true });
  if (!ok) strand_fail(failure, "NO_MEMORY", "memory ran out");
  if (strand_shared_state(c) != STRAND_CLOSED)
    strand_inboxes_wake(&c->inboxes);
  return ok;
}

static bool start_workers (strand_consumer *c, unsigned count,
                           strand_failure *failure) {
  return !strand_life_hire(&c->life, count)
         || strand_workers_start(c, count, failure);
}

/* As many as 'limits' want, or as many as before. None leaves meanwhile: so
** they are wanted before they are there. */
static bool grow (strand_consumer *c, const strand_limits *limits,
                  strand_failure *failure) {
  strand_limits was = strand_settings_limits(&c->settings), wanted = was;
  unsigned serving;
  if (limits->workers == 0 || strand_shared_state(c) == STRAND_NEW)
    return true;
  wanted.workers = limits->workers;
  serving = strand_shared_limit_workers(c, &wanted);
  if (serving >= limits->workers
      || start_workers(c, limits->workers - serving, failure)) {
    return true;
  }
  strand_shared_limit_workers(c, &was);
  return false;
}

static void set_limits (strand_consumer *c, strand_limits limits) {
  if (limits.workers == 0) {
    limits.workers = strand_settings_limits(&c->settings).workers;
  }
  strand_settings_limit(&c->settings, &limits);
  strand_routes_follow(&c->routes, &limits);
  strand_inboxes_tell(&c->inboxes, (strand_asked){ .limits = true });
  if (c->settings.is_local) return;                 /* it has its own */
  if (strand_shared_state(c) == STRAND_NEW) return; /* start sets them */
  strand_shared_limit_workers(c, &limits);
}

bool strand_consumer_configure (strand_consumer *c,
                                const strand_limits *limits,
                                strand_failure *failure) {
  if (!grow(c, limits, failure)) return false;
  set_limits(c, *limits);
  if (strand_shared_state(c) != STRAND_CLOSED)
    strand_inboxes_wake(&c->inboxes);
  return true;
}

/*
** Parked records
*/

/* Takes the request, which 'member' gets; negative: whoever has the
** partition. */
static strand_ticket *post_parked (strand_consumer *c, int member,
                                   strand_parked_request *r,
                                   strand_failure *failure) {
  strand_ticket *ticket = r->ticket;
  bool runs = strand_shared_state(c) == STRAND_RUNS;
  if (runs && strand_inboxes_ask_parked(&c->inboxes, member, r)) return ticket;
  if (!runs) strand_fail(failure, "NOT_RUNNING", "the consumer does not run");
  else {
    strand_fail(failure, "NOT_ASSIGNED",
                "partition %d of '%s' is not assigned here", (int)r->partition,
                r->topic);
  }
  strand_shared_free_ticket(ticket);
  free(r);
  return NULL;
}

static strand_parked_request *new_request (strand_consumer *c,
                                           const char *topic,
                                           int32_t partition, int64_t offset,
                                           strand_failure *failure) {
  strand_parked_request *r = calloc(1, sizeof(*r));
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  if (r == NULL) return NULL;
  snprintf(r->topic, sizeof(r->topic), "%s", topic);
  r->partition = partition;
  r->offset = offset;
  r->ticket = new_ticket(c, 1, failure);
  if (r->ticket != NULL) return r;
  free(r);
  return NULL;
}

strand_ticket *strand_consumer_parked (strand_consumer *c, unsigned member,
                                       const char *topic, int32_t partition,
                                       int64_t offset,
                                       strand_failure *failure) {
  strand_parked_request *r = new_request(c, topic, partition, offset, failure);
  return r == NULL ? NULL : post_parked(c, (int)member, r, failure);
}

strand_ticket *strand_consumer_resolve (strand_consumer *c, const char *topic,
                                        int32_t partition, int64_t offset,
                                        strand_resolution resolution,
                                        strand_failure *failure) {
  strand_parked_request *r;
  if (resolution == STRAND_RESOLVE_DEAD_LETTER
      && c->settings.dead_letters.topic == NULL) {
    strand_fail(failure, "NO_DEAD_LETTER_TOPIC",
                "the option 'dead_letter.topic' is not set");
    return NULL;
  }
  r = new_request(c, topic, partition, offset, failure);
  if (r == NULL) return NULL;
  r->resolves = true;
  r->resolution = resolution;
  return post_parked(c, -1, r, failure);
}
