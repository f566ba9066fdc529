/*
** warnings.h - what went wrong, said in the log of a consumer without on_event,
** or of a producer without on_delivery
**
** Nothing fails in silence: a handler that fails, a record that is parked or
** sent away, a lost worker and the like are warnings where nobody takes the
** events. Those alike, by type, topic and reason, are one a second at most,
** with a count of the others:
**
**   record_failed orders/3/7 key "42" attempt 2, again in 1.5 s: no route to
**   the database (and 41 more like it)
**
** Numbers in a reason do not make it another one. Kinds are remembered up to
** STRAND_WARNINGS_MAX; beyond that, in one second, they are counted only.
**
** Thread: any. A leaf lock, under which nothing is written.
*/
#ifndef STRAND_WARNINGS_H
#define STRAND_WARNINGS_H

#include "kafka/log.h"
#include "shared/event.h"

#define STRAND_WARNINGS_MAX 32

typedef struct strand_warnings strand_warnings;

/* Borrows the log. NULL when memory runs out. */
strand_warnings *strand_warnings_new (strand_log *log);
/* Accepts NULL. */
void strand_warnings_free (strand_warnings *w);

/* Says it, counts it, or neither: most events are no failures. */
void strand_warnings_take (strand_warnings *w, const strand_event *event,
                           int64_t now_us);
/* Says how many were alike, a second after the last that was said. */
void strand_warnings_tick (strand_warnings *w, int64_t now_us);

#endif
