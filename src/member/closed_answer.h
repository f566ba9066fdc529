/*
** closed_answer.h - how a transaction has ended, and what is done by it
**
** Thread: owner.
*/
#ifndef STRAND_CLOSED_ANSWER_H
#define STRAND_CLOSED_ANSWER_H

#include "core/engine.h"
#include "member/transactor.h"

typedef struct strand_closed_answer {
  strand_answer answer; /* for the engine */
  rd_kafka_resp_err_t err;
  char reason[300];
  bool reported; /* by its records: not as a commit that failed */
} strand_closed_answer;

/* Of 'c', in which 'commit' was. What is done of it has 'open' 0 from now on:
** all, or nothing, or what the group has by its offsets and payloads. */
void strand_closed_answer_read (strand_closed *c, const strand_commit *commit,
                                strand_closed_answer *answer);

#endif
