/*
** request.c - what the lua thread asks of the owners
*/
#include <stdlib.h>

#include "kafka/consumer.h"
#include "kafka/worker.h"

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
  if (strand_shared_life(c) != STRAND_RUNS) {
    strand_fail(failure, "NOT_RUNNING", "the consumer does not run");
    return NULL;
  }
  ticket = new_ticket(c, c->member_count, failure);
  if (ticket == NULL) return NULL;
  waiters = new_waiters(c->member_count, ticket);
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
    if (strand_shared_life(c) == STRAND_RUNS
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
    if (!covers(topic, partition, &c->rules[i]))
      c->rules[kept++] = c->rules[i];
    else free(c->rules[i].topic);
  }
  c->rule_count = kept;
}

/* Without memory the rules stay as they were. Only this thread writes them. */
static bool add_rule (strand_consumer *c, const char *topic,
                      int32_t partition) {
  strand_rule rule = { topic != NULL ? strdup(topic) : NULL, partition };
  strand_rule *old, *grown = malloc((c->rule_count + 1) * sizeof(*grown));
  if (grown == NULL || (topic != NULL && rule.topic == NULL)) {
    free(grown);
    free(rule.topic);
    return false;
  }
  strand_lock_take(&c->lock);
  drop_rules_locked(c, topic, partition);
  if (c->rule_count > 0) {
    memcpy(grown, c->rules, c->rule_count * sizeof(*grown));
  }
  grown[c->rule_count++] = rule;
  old = c->rules;
  c->rules = grown;
  strand_lock_release(&c->lock);
  free(old);
  return true;
}

static void drop_rules (strand_consumer *c, const char *topic,
                        int32_t partition) {
  strand_lock_take(&c->lock);
  drop_rules_locked(c, topic, partition);
  strand_lock_release(&c->lock);
}

bool strand_consumer_pause (strand_consumer *c, const char *topic,
                            int32_t partition, bool paused,
                            strand_failure *failure) {
  bool ok = true;
  if (paused) ok = add_rule(c, topic, partition);
  else drop_rules(c, topic, partition);
  strand_inboxes_tell(&c->inboxes, (strand_asked){ .rules = true });
  if (!ok) strand_fail(failure, "NO_MEMORY", "memory ran out");
  if (strand_shared_life(c) != STRAND_CLOSED) strand_inboxes_wake(&c->inboxes);
  return ok;
}

/* What a route leaves to the consumer. */
static void follow_locked (strand_matcher *route, const strand_limits *l) {
  strand_policy policy = route->limits.policy;
  if (!route->own_retry) route->limits.policy = l->policy;
  route->limits.policy.exhausted = route->own_exhausted ? policy.exhausted
                                                        : l->policy.exhausted;
  if (!route->own_deadline) route->deadline_us = l->deadline_us;
}

/* They may take what they have room for now. */
static bool may_grow_locked (const strand_consumer *c) {
  return c->life == STRAND_RUNS
         || (c->life == STRAND_CLOSING && c->members_open > 0);
}

/* As many as 'limits' want, or as many as before. None leaves meanwhile: so
** they are wanted before they are there. */
static bool grow_locked (strand_consumer *c, const strand_limits *limits,
                         strand_failure *failure) {
  unsigned in_flight = (unsigned)c->limits.max_in_flight, serving;
  if (limits->workers == 0 || !may_grow_locked(c)) return true;
  serving = strand_mailbox_limit(&c->mailbox, in_flight, limits->workers);
  if (serving >= limits->workers
      || strand_workers_start_locked(c, limits->workers - serving, failure)) {
    return true;
  }
  strand_mailbox_limit(&c->mailbox, in_flight, c->limits.workers);
  return false;
}

static void set_limits_locked (strand_consumer *c,
                               const strand_limits *limits) {
  unsigned workers = c->limits.workers;
  c->limits = *limits;
  if (limits->workers == 0) c->limits.workers = workers;
  for (size_t i = 0; i < c->route_count; i++) {
    follow_locked(&c->routes[i], limits);
  }
  strand_inboxes_tell(&c->inboxes, (strand_asked){ .limits = true });
  if (c->life == STRAND_NEW) return; /* strand_consumer_start sets them */
  strand_mailbox_limit(&c->mailbox, (unsigned)limits->max_in_flight,
                       c->limits.workers);
}

bool strand_consumer_configure (strand_consumer *c,
                                const strand_limits *limits,
                                strand_failure *failure) {
  bool possible;
  strand_lock_take(&c->lock);
  possible = grow_locked(c, limits, failure);
  if (possible) set_limits_locked(c, limits);
  strand_lock_release(&c->lock);
  if (possible && strand_shared_life(c) != STRAND_CLOSED) {
    strand_inboxes_wake(&c->inboxes);
  }
  return possible;
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
  bool runs = strand_shared_life(c) == STRAND_RUNS;
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
  if (resolution == STRAND_RESOLVE_DEAD_LETTER && c->letters.topic == NULL) {
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
