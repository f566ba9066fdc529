/*
** routes.c - which handler takes a topic's records, and within which limits
*/
#include "shared/routes.h"

#include <assert.h>
#include <regex.h>
#include <stdatomic.h>
#include <stdlib.h>

struct strand_matcher {
  char *topic; /* NULL: every topic */
  bool is_pattern;
  regex_t pattern;
  strand_route_limits limits; /* lock */
  bool own_retry;             /* these are the route's, not the consumer's */
  bool own_exhausted;
  bool own_deadline;
  /* Written by the lua thread, read by owners: of a lease that is handed over
  ** meanwhile either holds. */
  _Atomic int64_t deadline_us;
};

/* How POSIX reads the pattern; without memory for it the failure stays. */
static bool compile (strand_matcher *to, strand_failure *failure) {
  char problem[128];
  int status = regcomp(&to->pattern, to->topic, REG_EXTENDED | REG_NOSUB);
  to->is_pattern = status == 0;
  if (status == 0 || status == REG_ESPACE) return to->is_pattern;
  regerror(status, &to->pattern, problem, sizeof(problem));
  strand_fail(failure, "OPTION",
              "option 'handler': '%.200s' is no POSIX pattern: %s", to->topic,
              problem);
  return false;
}

bool strand_routes_init (strand_routes *r,
                         const strand_consumer_config *config,
                         strand_failure *failure) {
  strand_lock_init(&r->lock, STRAND_RANK_LEAF);
  r->each = calloc(config->route_count, sizeof(*r->each));
  if (r->each == NULL) return false;
  for (size_t i = 0; i < config->route_count; i++) {
    const strand_route *from = &config->routes[i];
    strand_matcher *to = &r->each[i];
    to->limits = from->limits;
    to->own_retry = from->own_retry;
    to->own_exhausted = from->own_exhausted;
    to->own_deadline = from->own_deadline;
    atomic_init(&to->deadline_us, from->deadline_us);
    r->count = i + 1;
    if (from->topic == NULL) continue;
    to->topic = strdup(from->topic);
    if (to->topic == NULL) return false;
    if (to->topic[0] == '^' && !compile(to, failure)) return false;
  }
  return true;
}

void strand_routes_free (strand_routes *r) {
  for (size_t i = 0; i < r->count; i++) {
    free(r->each[i].topic);
    if (r->each[i].is_pattern) regfree(&r->each[i].pattern);
  }
  free(r->each);
  strand_lock_free(&r->lock);
}

int strand_routes_find (const strand_routes *r, const char *topic) {
  for (size_t i = 0; i < r->count; i++) {
    const strand_matcher *m = &r->each[i];
    int differs = 0;
    if (m->is_pattern) differs = regexec(&m->pattern, topic, 0, NULL, 0);
    else if (m->topic != NULL) differs = strcmp(m->topic, topic);
    if (differs == 0) return (int)i;
    if (m->is_pattern && differs == REG_ESPACE) return -2;
  }
  return -1;
}

static void follow_locked (strand_matcher *m, const strand_limits *l) {
  strand_policy policy = m->limits.policy;
  if (!m->own_retry) m->limits.policy = l->policy;
  m->limits.policy.exhausted = m->own_exhausted ? policy.exhausted
                                                : l->policy.exhausted;
}

void strand_routes_follow (strand_routes *r, const strand_limits *l) {
  strand_lock_take(&r->lock);
  for (size_t i = 0; i < r->count; i++) follow_locked(&r->each[i], l);
  strand_lock_release(&r->lock);
  for (size_t i = 0; i < r->count; i++) {
    if (r->each[i].own_deadline) continue;
    atomic_store(&r->each[i].deadline_us, l->deadline_us);
  }
}

strand_route_limits strand_routes_limits (strand_routes *r, size_t route) {
  strand_route_limits limits;
  strand_lock_take(&r->lock);
  limits = r->each[route].limits;
  strand_lock_release(&r->lock);
  return limits;
}

int64_t strand_routes_deadline (const strand_routes *r, size_t route) {
  return atomic_load_explicit(&r->each[route].deadline_us,
                              memory_order_relaxed);
}

void strand_routes_check (const strand_routes *r) {
  for (size_t i = 0; i < r->count; i++) {
    const strand_matcher *m = &r->each[i];
    assert(m->is_pattern
           == (m->topic != NULL && m->topic[0] == '^')); /* (1) */
    (void)m;
  }
}
