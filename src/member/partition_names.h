/*
** partition_names.h - partitions, named in a message: the first of them, and
** how many more
**
** Thread: owner.
*/
#ifndef STRAND_PARTITION_NAMES_H
#define STRAND_PARTITION_NAMES_H

#include "core/engine.h"

#define STRAND_NAMES_MOST 8  /* that are named */
#define STRAND_NAMES_MORE 32 /* " and 1000000 more" */

typedef struct strand_partition_names { /* all 0: none */
  char text[384];
  size_t length;
  size_t named;
  size_t count;
} strand_partition_names;

void strand_partition_names_add (strand_partition_names *n,
                                 const strand_partition *p);
/* What is to be said. */
const char *strand_partition_names_end (strand_partition_names *n);

#endif
