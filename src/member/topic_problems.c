/*
** topic_problems.c - topics with which something is wrong
*/
#include "member/topic_problems.h"

#include <assert.h>
#include <stdlib.h>

void strand_topic_problems_init (strand_topic_problems *p,
                                 const strand_owner *owner,
                                 strand_problem *problem) {
  *p = (strand_topic_problems){ .owner = owner, .problem = problem };
}

void strand_topic_problems_free (strand_topic_problems *p) {
  while (p->list != NULL) strand_topic_problems_drop(p, p->list);
}

static strand_topic_problem *topic_of (const strand_topic_problems *p,
                                       const char *name, bool no_route) {
  strand_topic_problem *e = p->list;
  while (e != NULL
         && ((e->kind == STRAND_TOPIC_NO_ROUTE) != no_route
             || strcmp(e->name, name) != 0))
    e = e->next;
  return e;
}

/* NULL without memory: it is found again. */
static strand_topic_problem *note (strand_topic_problems *p, const char *name,
                                   strand_topic_problem_kind kind,
                                   int64_t now_us) {
  strand_topic_problem *e = topic_of(p, name, kind == STRAND_TOPIC_NO_ROUTE);
  if (e == NULL) {
    e = calloc(1, sizeof(*e) + strlen(name) + 1);
    if (e == NULL) return NULL;
    strcpy(e->name, name);
    e->next = p->list;
    p->list = e;
  }
  else if (e->kind != kind
           && (e->kind == STRAND_TOPIC_UNASSIGNED
               || kind == STRAND_TOPIC_UNASSIGNED)) {
    e->alert.since_us = 0; /* another one */
  }
  e->kind = kind;
  strand_alert_begin(&e->alert, now_us, 0);
  return e;
}

static const char *kind_text (const strand_topic_problem *e, char text[128]) {
  switch (e->kind) {
    case STRAND_TOPIC_NO_ROUTE:
      return "no route of 'handler' matches this topic";
    case STRAND_TOPIC_UNASSIGNED:
      if (e->owned == 0) return "it exists, and no member of the group has it";
      snprintf(text, 128, "of its %d partitions only %d are a member's",
               (int)e->partitions, (int)e->owned);
      return text;
    default:
      return e->name[0] == '^' ? "no topic matches it (yet)"
                               : "the topic does not exist (yet)";
  }
}

/* The first of that kind, or 'otherwise'. */
static const strand_topic_problem *
first_of (const strand_topic_problems *p, strand_topic_problem_kind kind,
          const strand_topic_problem *otherwise) {
  const strand_topic_problem *e = p->list;
  while (e != NULL && e->kind != kind) e = e->next;
  return e != NULL ? e : otherwise;
}

/* For health: what is nobody's comes before what is missing, and that before
** what has no route. */
void strand_topic_problems_publish (const strand_topic_problems *p) {
  static const char *const codes[] = {
    [STRAND_TOPIC_MISSING] = "TOPIC_MISSING",
    [STRAND_TOPIC_UNASSIGNED] = "TOPIC_UNASSIGNED",
    [STRAND_TOPIC_NO_ROUTE] = "NO_ROUTE"
  };
  strand_failure problem;
  const strand_topic_problem *worst = first_of(p, STRAND_TOPIC_NO_ROUTE, NULL);
  char text[128];
  worst = first_of(p, STRAND_TOPIC_MISSING, worst);
  worst = first_of(p, STRAND_TOPIC_UNASSIGNED, worst);
  if (worst != NULL) {
    strand_fail(&problem, codes[worst->kind], "topic '%s': %s", worst->name,
                kind_text(worst, text));
  }
  strand_problem_set(p->problem, STRAND_PROBLEM_TOPIC,
                     worst != NULL ? &problem : NULL);
}

/* Who hears of it finds it in health() too. */
static void tell (const strand_topic_problems *p, strand_topic_problem *e,
                  int64_t now_us) {
  static const char *const types[] = { "topic_missing", NULL,
                                       "topic_unassigned", "error" };
  static const char *const codes[] = { "UNKNOWN_TOPIC_OR_PART", NULL,
                                       "TOPIC_UNASSIGNED", "NO_ROUTE" };
  char text[128];
  if (types[e->kind] == NULL || !strand_alert_take_due(&e->alert, now_us)) {
    return;
  }
  strand_topic_problems_publish(p);
  strand_owner_tell(p->owner, types[e->kind], codes[e->kind],
                    kind_text(e, text), e->name, -1);
}

const strand_topic_problem *
strand_topic_problems_find (const strand_topic_problems *p, const char *name) {
  return topic_of(p, name, false);
}

size_t strand_topic_problems_count (const strand_topic_problems *p,
                                    strand_topic_problem_kind kind) {
  size_t count = 0;
  for (const strand_topic_problem *e = p->list; e != NULL; e = e->next) {
    if (e->kind == kind) count++;
  }
  return count;
}

void strand_topic_problems_missing (strand_topic_problems *p, const char *name,
                                    int64_t now_us) {
  strand_topic_problem *e = note(p, name, STRAND_TOPIC_MISSING, now_us);
  if (e == NULL) return;
  tell(p, e, now_us);
  strand_topic_problems_publish(p);
}

void strand_topic_problems_no_route (strand_topic_problems *p,
                                     const char *name, int64_t now_us) {
  strand_topic_problem *e = note(p, name, STRAND_TOPIC_NO_ROUTE, now_us);
  if (e != NULL) tell(p, e, now_us);
}

void strand_topic_problems_unassigned (strand_topic_problems *p,
                                       const char *name, int32_t partitions,
                                       int32_t owned, int64_t now_us) {
  strand_topic_problem *e = note(p, name, STRAND_TOPIC_UNASSIGNED, now_us);
  if (e == NULL) return;
  e->partitions = partitions;
  e->owned = owned;
  tell(p, e, now_us);
}

/* It may be changed: the list is this unit's. */
static strand_topic_problem **place_of (strand_topic_problems *p,
                                        const strand_topic_problem *topic) {
  strand_topic_problem **at = &p->list;
  while (*at != topic) at = &(*at)->next;
  return at;
}

const strand_topic_problem *
strand_topic_problems_drop (strand_topic_problems *p,
                            const strand_topic_problem *topic) {
  strand_topic_problem **at = place_of(p, topic), *e = *at;
  *at = e->next;
  free(e);
  return *at;
}

const strand_topic_problem *
strand_topic_problems_found (strand_topic_problems *p,
                             const strand_topic_problem *topic) {
  if (topic->name[0] == '^') return strand_topic_problems_drop(p, topic);
  (*place_of(p, topic))->kind = STRAND_TOPIC_FOUND;
  return topic->next;
}

void strand_topic_problems_tick (strand_topic_problems *p, int64_t now_us) {
  for (strand_topic_problem *e = p->list; e != NULL; e = e->next)
    tell(p, e, now_us);
  strand_topic_problems_publish(p); /* also what is well again */
}

void strand_topic_problems_check (const strand_topic_problems *p) {
  for (const strand_topic_problem *e = p->list; e != NULL; e = e->next) {
    assert(topic_of(p, e->name, e->kind == STRAND_TOPIC_NO_ROUTE)
           == e); /* (1) */
    assert(e->kind != STRAND_TOPIC_UNASSIGNED
           || e->owned < e->partitions); /* (2) */
  }
}
