/*
** barred_topics.h - topics that have just refused an output
**
** One that may not be written to fails each transaction with a record for it,
** and its name has to be found out (refused_topic.c). So for a while its
** records end without one. Then it is tried again, and later each time that it
** refuses: a right that comes meanwhile is seen within STRAND_BARRED_MOST_US.
**
** Invariants:
**   (1) No topic stands here twice, nor more than STRAND_BARRED_TOPICS: the one
**       that is tried first is forgotten for a new one.
**
** Thread: owner.
*/
#ifndef STRAND_BARRED_TOPICS_H
#define STRAND_BARRED_TOPICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRAND_BARRED_TOPICS 64
#define STRAND_BARRED_FIRST_US 1000000
#define STRAND_BARRED_MOST_US 30000000

typedef struct strand_barred_topic {
  struct strand_barred_topic *next;
  int64_t until_us; /* from then on it is tried again */
  int64_t wait_us;  /* the pause when it refuses again */
  char name[];
} strand_barred_topic;

/* All 0: none. */
typedef struct strand_barred_topics {
  strand_barred_topic *first;
  size_t count;
} strand_barred_topics;

/* It has refused an output just now. Without memory it is not remembered. */
void strand_barred_topics_add (strand_barred_topics *b, const char *name,
                               int64_t now_us);
/* It is not to be tried now. */
bool strand_barred_topics_has (const strand_barred_topics *b, const char *name,
                               int64_t now_us);
/* It has taken an output. */
void strand_barred_topics_remove (strand_barred_topics *b, const char *name);
void strand_barred_topics_free (strand_barred_topics *b);

/* Between two turns, in debug builds. */
void strand_barred_topics_check (const strand_barred_topics *b);

#endif
