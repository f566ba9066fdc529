/*
** group_metadata.h - who a member is in its group, for a transaction's offsets
**
** Thread: owner.
*/
#ifndef STRAND_GROUP_METADATA_H
#define STRAND_GROUP_METADATA_H

#include "member/owner.h"

/* Of now; the caller destroys it. NULL: it is no member, so nothing would
** fence what it sends. */
rd_kafka_consumer_group_metadata_t *
strand_group_metadata (const strand_owner *owner);

#endif
