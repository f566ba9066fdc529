/*
** refused_topic.c - exactly once: which topic may not be written to, where
** nobody says
**
** A partition that may not be added to a transaction fails all of it, with the
** error of a topic that librdkafka does not name; it then reports outputs as
** purged, or not at all. So each topic of the transaction is tried: its first
** output alone, in a transaction that is aborted. That makes as many of them as
** there are topics, at most, and none where there is but one.
*/
#include <stdlib.h>
#include <string.h>

#include "member/transactor_own.h"

#define ROOM_FIRST 16

typedef struct topic_list {
  strand_output **first; /* the first output of each */
  size_t count;
  size_t room;
} topic_list;

static bool has (const topic_list *l, const char *name) {
  for (size_t i = l->count; i-- > 0;)
    if (strcmp(strand_output_topic(l->first[i]), name) == 0) return true;
  return false;
}

/* False: memory ran out. */
static bool add (topic_list *l, strand_output *o) {
  size_t room = l->room > 0 ? 2 * l->room : ROOM_FIRST;
  strand_output **first;
  if (l->count == l->room) {
    first = realloc(l->first, room * sizeof(*first));
    if (first == NULL) return false;
    l->first = first;
    l->room = room;
  }
  l->first[l->count++] = o;
  return true;
}

static bool list_topics (topic_list *l, const strand_closed *c) {
  for (size_t i = 0; i < c->count; i++) {
    strand_output *o = c->staged[i]->first;
    for (; o != NULL; o = o->next)
      if (!has(l, strand_output_topic(o)) && !add(l, o)) return false;
  }
  return true;
}

static bool is_unnamed (const strand_closed *c) {
  if (!strand_transactor_is_refused(&c->answer)
      || strcmp(c->step, STRAND_CLOSED_STEP_OUTPUTS) != 0)
    return false;
  for (size_t i = 0; i < c->count; i++)
    if (c->staged[i]->refused != NULL) return false;
  return true;
}

/* All that go there. */
static void refuse (strand_closed *c, const char *topic) {
  for (size_t i = 0; i < c->count; i++) {
    strand_staged *s = c->staged[i];
    strand_output *o = s->first;
    while (o != NULL && strcmp(strand_output_topic(o), topic) != 0)
      o = o->next;
    if (o == NULL || s->refused != NULL) continue;
    s->refused = o;
    s->err = RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
  }
}

/* False: it cannot be found out now. */
static bool try_topic (strand_transactor *t, strand_closed *c,
                       strand_output *o) {
  strand_transaction_answer answer;
  strand_transaction_kind kind;
  bool refused;
  if (!strand_transactor_make_ready(t, c->batch_size)) return false;
  kind = strand_transactor_try(t, c, o, &answer);
  refused = strand_transactor_is_refused(&answer);
  if (refused) refuse(c, strand_output_topic(o));
  if (kind > STRAND_TRANSACTION_UNDELIVERED
      || !strand_transactor_abort(t, &answer)
      || kind != STRAND_TRANSACTION_WORKED)
    strand_transactor_spend(t, &answer);
  return refused || kind == STRAND_TRANSACTION_WORKED;
}

void strand_transactor_name_refused (strand_transactor *t, strand_closed *c) {
  topic_list l = { 0 };
  bool goes_on = is_unnamed(c) && list_topics(&l, c);
  if (goes_on && l.count == 1) refuse(c, strand_output_topic(l.first[0]));
  for (size_t i = 0; goes_on && l.count > 1 && i < l.count; i++)
    goes_on = !atomic_load(&c->abandoned) && try_topic(t, c, l.first[i]);
  free(l.first);
}
