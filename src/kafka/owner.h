/*
** owner.h - what each part of a member is given by the owner thread
**
** Made with the member. Parts read it and do not change it.
**
** Thread: owner.
*/
#ifndef STRAND_OWNER_H
#define STRAND_OWNER_H

#include "core/engine.h"
#include "kafka/assignment.h"
#include "kafka/helper.h"
#include "kafka/shared.h"

typedef struct strand_owner {
  unsigned index;            /* of the member */
  strand_consumer *consumer; /* counted while the owner runs */
  strand_engine *engine;
  strand_helper *helper;
  rd_kafka_t *client;      /* NULL when destroyed */
  rd_kafka_queue_t *queue; /* the group's; NULL when destroyed */
} strand_owner;

/* An event of its. 'tag' may be NULL. */
strand_event strand_owner_event (const strand_owner *o, const char *type,
                                 const strand_tag *tag);
/* Takes what 'event' owns. */
void strand_owner_emit (const strand_owner *o, strand_event *event);

#endif
