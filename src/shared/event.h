/*
** event.h - what happened, for on_event: a bounded ring
**
** Invariants:
**   (1) At most STRAND_EVENTS_MAX events wait; a newer one drops the oldest,
**       and the drop is counted.
**   (2) Each that waits has a type.
**
** Pushing needs no memory, and waits for nobody. What an event owns is not
** there when memory ran out: it then says less.
**
** Thread: any (one leaf mutex).
*/
#ifndef STRAND_EVENT_H
#define STRAND_EVENT_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRAND_EVENTS_MAX 1024
#define STRAND_EVENT_KEY_MAX 256 /* bytes of a key that are shown */
#define STRAND_EVENT_REASON_MAX 1024

/* Fields that do not apply are NULL, or -1. Owned by whoever has it. */
typedef struct strand_event {
  const char *type; /* static: the names of DESIGN 7 */
  double time;      /* seconds since 1970 */
  int member;       /* from 0; -1 */
  char *topic;
  int32_t partition;
  int64_t offset;
  int64_t to; /* sought, reset, truncated: the position it is now;
                       records_deleted: the start of the log */
  int64_t epoch;
  int attempt;
  double delay;   /* seconds until it is tried again; -1 */
  double seconds; /* that it is in its handler; -1 */
  char *key;      /* bytes, cut to STRAND_EVENT_KEY_MAX */
  size_t key_length;
  char *reason;  /* terminated */
  char code[48]; /* "" for none */
} strand_event;

typedef struct strand_events strand_events;

strand_events *strand_events_new (void);
void strand_events_free (strand_events *events);
/* An event of 'type' with nothing else in it. */
strand_event strand_event_of (const char *type, int member);
void strand_event_set_topic (strand_event *event, const char *topic,
                             int32_t partition);
void strand_event_set_key (strand_event *event, const char *key,
                           size_t length);
void strand_event_set_reason (strand_event *event, const char *reason,
                              size_t length);
/* Takes what 'event' owns. */
void strand_events_push (strand_events *events, strand_event *event);
/* False when none waits. The caller then owns what is in it. */
bool strand_events_pop (strand_events *events, strand_event *event);
bool strand_events_waiting (strand_events *events);
uint64_t strand_events_dropped (strand_events *events);
/* Frees what is in it. */
void strand_event_clear (strand_event *event);

#endif
