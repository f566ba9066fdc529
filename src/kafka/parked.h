/*
** parked.h - looking at parked records, and resolving them
**
** Thread: owner.
*/
#ifndef STRAND_PARKED_H
#define STRAND_PARKED_H

#include "kafka/shared.h"

typedef struct strand_member strand_member;

typedef struct strand_parked_request {
  struct strand_parked_request *next;
  strand_ticket *ticket;
  bool resolves; /* else it asks for a page */
  strand_resolution resolution;
  char topic[250];
  int32_t partition;
  int64_t offset;
} strand_parked_request;

void strand_parked_serve (strand_member *m, strand_parked_request *requests,
                          int64_t now_us);

#endif
