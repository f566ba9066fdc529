/*
** plights.c - topics with which something is wrong
*/
#include "member/plights.h"

#include <assert.h>
#include <stdlib.h>

void strand_plights_init (strand_plights *p, const strand_owner *owner,
                          strand_problem *problem) {
  *p = (strand_plights){ .owner = owner, .problem = problem };
}

void strand_plights_free (strand_plights *p) {
  while (p->list != NULL) strand_plights_drop(p, p->list);
}

static strand_topic *topic_of (const strand_plights *p, const char *name,
                               bool no_route) {
  strand_topic *e = p->list;
  while (e != NULL
         && ((e->plight == STRAND_TOPIC_NO_ROUTE) != no_route
             || strcmp(e->name, name) != 0))
    e = e->next;
  return e;
}

/* NULL without memory: it is found again. */
static strand_topic *note (strand_plights *p, const char *name,
                           strand_plight plight, int64_t now_us) {
  strand_topic *e = topic_of(p, name, plight == STRAND_TOPIC_NO_ROUTE);
  if (e == NULL) {
    e = calloc(1, sizeof(*e) + strlen(name) + 1);
    if (e == NULL) return NULL;
    strcpy(e->name, name);
    e->next = p->list;
    p->list = e;
  }
  else if (e->plight != plight
           && (e->plight == STRAND_TOPIC_UNASSIGNED
               || plight == STRAND_TOPIC_UNASSIGNED)) {
    e->trouble.since_us = 0; /* another one */
  }
  e->plight = plight;
  strand_trouble_begin(&e->trouble, now_us, 0);
  return e;
}

static const char *plight_text (const strand_topic *e, char text[128]) {
  switch (e->plight) {
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

/* The first with that plight, or 'otherwise'. */
static const strand_topic *first_of (const strand_plights *p,
                                     strand_plight plight,
                                     const strand_topic *otherwise) {
  const strand_topic *e = p->list;
  while (e != NULL && e->plight != plight) e = e->next;
  return e != NULL ? e : otherwise;
}

/* For health: what is nobody's comes before what is missing, and that before
** what has no route. */
void strand_plights_publish (const strand_plights *p) {
  static const char *const codes[] = {
    [STRAND_TOPIC_MISSING] = "TOPIC_MISSING",
    [STRAND_TOPIC_UNASSIGNED] = "TOPIC_UNASSIGNED",
    [STRAND_TOPIC_NO_ROUTE] = "NO_ROUTE"
  };
  strand_failure problem;
  const strand_topic *worst = first_of(p, STRAND_TOPIC_NO_ROUTE, NULL);
  char text[128];
  worst = first_of(p, STRAND_TOPIC_MISSING, worst);
  worst = first_of(p, STRAND_TOPIC_UNASSIGNED, worst);
  if (worst != NULL) {
    strand_fail(&problem, codes[worst->plight], "topic '%s': %s", worst->name,
                plight_text(worst, text));
  }
  strand_problem_set(p->problem, STRAND_PROBLEM_TOPIC,
                     worst != NULL ? &problem : NULL);
}

/* Who hears of it finds it in health() too. */
static void tell (const strand_plights *p, strand_topic *e, int64_t now_us) {
  static const char *const types[] = { "topic_missing", NULL,
                                       "topic_unassigned", "error" };
  static const char *const codes[] = { "UNKNOWN_TOPIC_OR_PART", NULL,
                                       "TOPIC_UNASSIGNED", "NO_ROUTE" };
  char text[128];
  if (types[e->plight] == NULL
      || !strand_trouble_take_due(&e->trouble, now_us)) {
    return;
  }
  strand_plights_publish(p);
  strand_owner_tell(p->owner, types[e->plight], codes[e->plight],
                    plight_text(e, text), e->name, -1);
}

const strand_topic *strand_plights_find (const strand_plights *p,
                                         const char *name) {
  return topic_of(p, name, false);
}

size_t strand_plights_count (const strand_plights *p, strand_plight plight) {
  size_t count = 0;
  for (const strand_topic *e = p->list; e != NULL; e = e->next) {
    if (e->plight == plight) count++;
  }
  return count;
}

void strand_plights_missing (strand_plights *p, const char *name,
                             int64_t now_us) {
  strand_topic *e = note(p, name, STRAND_TOPIC_MISSING, now_us);
  if (e == NULL) return;
  tell(p, e, now_us);
  strand_plights_publish(p);
}

void strand_plights_no_route (strand_plights *p, const char *name,
                              int64_t now_us) {
  strand_topic *e = note(p, name, STRAND_TOPIC_NO_ROUTE, now_us);
  if (e != NULL) tell(p, e, now_us);
}

void strand_plights_unassigned (strand_plights *p, const char *name,
                                int32_t partitions, int32_t owned,
                                int64_t now_us) {
  strand_topic *e = note(p, name, STRAND_TOPIC_UNASSIGNED, now_us);
  if (e == NULL) return;
  e->partitions = partitions;
  e->owned = owned;
  tell(p, e, now_us);
}

/* It may be changed: the list is this unit's. */
static strand_topic **place_of (strand_plights *p, const strand_topic *topic) {
  strand_topic **at = &p->list;
  while (*at != topic) at = &(*at)->next;
  return at;
}

const strand_topic *strand_plights_drop (strand_plights *p,
                                         const strand_topic *topic) {
  strand_topic **at = place_of(p, topic), *e = *at;
  *at = e->next;
  free(e);
  return *at;
}

const strand_topic *strand_plights_found (strand_plights *p,
                                          const strand_topic *topic) {
  if (topic->name[0] == '^') return strand_plights_drop(p, topic);
  (*place_of(p, topic))->plight = STRAND_TOPIC_FOUND;
  return topic->next;
}

void strand_plights_tick (strand_plights *p, int64_t now_us) {
  for (strand_topic *e = p->list; e != NULL; e = e->next) tell(p, e, now_us);
  strand_plights_publish(p); /* also what is well again */
}

void strand_plights_check (const strand_plights *p) {
  for (const strand_topic *e = p->list; e != NULL; e = e->next) {
    assert(topic_of(p, e->name, e->plight == STRAND_TOPIC_NO_ROUTE)
           == e); /* (1) */
    assert(e->plight != STRAND_TOPIC_UNASSIGNED
           || e->owned < e->partitions); /* (2) */
  }
}
