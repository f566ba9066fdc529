/*
** owner.h - what each part of a member is given by the owner thread
**
** Made with the member. Parts read it and do not change it: member.c and
** closing.c do.
**
** A member's life:
**
**   SERVING -- close --> ENDING -- nothing in flight, or late --> COMMITTING
**     -- answered, or late --> LEAVING -- left --> DESTROYING -- gone --> ENDED
**
**   ENDING      nothing new starts (drain: until nothing is ready)
**   COMMITTING  the last commit; not after a fatal error
**   LEAVING     rd_kafka_consumer_close_queue is served until closed
**   DESTROYING  the helper destroys the client
**   ENDED       only leases of handlers that do not return may be out
**
** Thread: owner.
*/
#ifndef STRAND_OWNER_H
#define STRAND_OWNER_H

#include "core/engine.h"
#include "kafka/helper.h"
#include "member/assignment.h"
#include "shared/shared.h"

typedef enum strand_phase {
  STRAND_SERVING,
  STRAND_ENDING,
  STRAND_COMMITTING,
  STRAND_LEAVING,
  STRAND_DESTROYING,
  STRAND_ENDED
} strand_phase;

typedef struct strand_owner {
  unsigned index; /* of the member */
  strand_phase phase;
  /* Written by the owner, read by the helper's thread: it is not SERVING any
  ** more, and no answer need be waited for. */
  atomic_bool ending;
  strand_consumer *consumer; /* counted while the owner runs */
  strand_engine *engine;
  strand_helper *helper;
  rd_kafka_t *client;      /* NULL when destroyed */
  rd_kafka_queue_t *queue; /* the group's; NULL when destroyed */
} strand_owner;

/* An event of its. 'partition' may be NULL. */
strand_event strand_owner_event (const strand_owner *o, const char *type,
                                 const strand_assigned *assigned);
/* One that tells of a place in the log and another: "sought" and the like. */
void strand_owner_jumped (const strand_owner *o,
                          const strand_assigned *assigned, const char *type,
                          int64_t from, int64_t to);
/* One that something is wrong, and a line to the log. Who hears of it is to
** find it in health() too: so that is said first. */
void strand_owner_tell (const strand_owner *o, const char *type,
                        const char *code, const char *reason,
                        const char *topic, int32_t partition);
/* Of the lease's first record; its partition may be gone: the lease knows its
** name. */
strand_event strand_owner_lease_event (const strand_owner *o, const char *type,
                                       const strand_lease *lease);
/* Takes what 'event' owns. */
void strand_owner_emit (const strand_owner *o, strand_event *event);

#endif
