/*
** unwritable.h - partitions of which some is done and in no commit, as it does
** not fit in the metadata
**
** Thread: owner.
*/
#ifndef STRAND_UNWRITABLE_H
#define STRAND_UNWRITABLE_H

#include "member/owner.h"

/* There are some: the failure names them. */
bool strand_unwritable_find (const strand_owner *owner,
                             strand_failure *failure);

#endif
