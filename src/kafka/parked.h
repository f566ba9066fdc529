/*
** parked.h - looking at parked records, and resolving them
**
** Thread: owner.
*/
#ifndef STRAND_PARKED_H
#define STRAND_PARKED_H

#include "kafka/shared.h"

typedef struct strand_member strand_member;

void strand_parked_serve (strand_member *m, strand_parked_request *requests,
                          int64_t now_us);

#endif
