/*
** admin_groups.h - which groups there are, and who is in them
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_GROUPS_H
#define STRAND_ADMIN_GROUPS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "kafka/admin_reply.h"
#include "kafka/admin_client.h"

/* { { group, state, simple } }, and where a broker does not say which it has,
** { message, code }. False and a failure. */
bool strand_admin_groups_list (strand_admin_client *c, double deadline,
                               strand_reply *reply, strand_failure *failure);

/* { { group, state, simple, assignor, coordinator = { id, host, port },
**     members = { { id, client_id, instance_id, host,
**     assignment = { { topic, partition } } } }, message, code } }
**
** 'c' is a client of its own, which ends after this: as with
** group_offsets.h. */
bool strand_admin_groups_describe (strand_admin_client *c,
                                   const char *const *groups, size_t count,
                                   double deadline, strand_reply *reply,
                                   strand_failure *failure);

#endif
