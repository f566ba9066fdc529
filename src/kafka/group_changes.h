/*
** group_changes.h - a group's offsets, set and deleted from outside
**
** The group's coordinator takes neither from outside while the group has
** members that read these topics: so it cannot be raced.
**
** Thread: lua.
*/
#ifndef STRAND_GROUP_CHANGES_H
#define STRAND_GROUP_CHANGES_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "kafka/admin_reply.h"
#include "kafka/admin_client.h"
#include "kafka/admin_places.h"

/* { { topic, partition, offset, message, code } } of each. What is written
** has no metadata: what a commit before told of records above its offset is
** gone. 'c' as in group_offsets.h. False and a failure. */
bool strand_group_offsets_write (strand_admin_client *c, const char *group,
                                 const strand_admin_place *places,
                                 size_t count, double deadline,
                                 strand_reply *reply, strand_failure *failure);

/* The same, without offsets. */
bool strand_group_offsets_delete (strand_admin_client *c, const char *group,
                                  const strand_admin_place *places,
                                  size_t count, double deadline,
                                  strand_reply *reply,
                                  strand_failure *failure);

#endif
