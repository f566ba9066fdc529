/*
** known_errors.h - errors that were told, so that none is told every two
** seconds
**
** Each is an error by its code, its topic and its partition, or its broker.
**
** Invariants:
**   (1) All are counted, and no more are remembered than may be.
**   (2) One that is of a broker or of a token is a refusal.
**   (3) No two are the same.
**
** Thread: owner.
*/
#ifndef STRAND_KNOWN_ERRORS_H
#define STRAND_KNOWN_ERRORS_H

#include "kafka/alert.h"
#include "kafka/signs.h"
#include "member/assignment.h"
#include "member/owner.h"
#include "shared/problem.h"

/* Different errors that one member remembers; beyond, the one that was not
** heard for the longest time is forgotten. */
#define STRAND_ERRORS_KNOWN_MAX 64

/* An error that was told. */
typedef struct strand_known_error {
  struct strand_known_error *next;
  strand_alert alert;
  int64_t heard_us;
  int64_t again_us; /* when the partition is to be read again */
  strand_heard cause;
  bool refused;    /* credentials or rights */
  bool of_token;   /* there is none to send */
  unsigned tokens; /* of the signs, when it was heard last */
  uint64_t broker; /* that refused the credentials; see signs.h */
  int32_t partition;
  char topic[]; /* "": of none */
} strand_known_error;

typedef struct strand_known_errors {
  /* set by init, and only read */
  const strand_owner *owner;
  const strand_assignment *assignment;
  strand_signs *signs;
  strand_problem *problem;

  strand_known_error *list;
  unsigned count;
  unsigned ups_seen; /* of the signs */
} strand_known_errors;

void strand_known_errors_init (strand_known_errors *k,
                               const strand_owner *owner,
                               const strand_assignment *assignment,
                               strand_signs *signs, strand_problem *problem);
void strand_known_errors_free (strand_known_errors *k);

static inline bool
strand_known_errors_is_empty (const strand_known_errors *k) {
  return k->list == NULL;
}
/* Is it to be told now? Also without memory to remember it. 'refused':
** credentials or rights, which last until a sign of life. */
bool strand_known_errors_hear (strand_known_errors *k, rd_kafka_resp_err_t err,
                               const char *text, const char *topic,
                               int32_t partition, bool refused,
                               int64_t now_us);
/* Tells again what lasts, and forgets what is over. True: partitions are to
** be read again, as their partitions say. */
bool strand_known_errors_tick (strand_known_errors *k, int64_t now_us);
/* What was refused works: of the topic; NULL: of the group. */
void strand_known_errors_works (strand_known_errors *k, const char *topic,
                                int32_t partition);
/* A broker that was asked at 'asked_us' lets us see the topic, whoever in the
** group reads it. */
void strand_known_errors_seen (strand_known_errors *k, const char *topic,
                               int64_t asked_us);
/* The partition is not ours any more. */
void strand_known_errors_gone (strand_known_errors *k, const char *topic,
                               int32_t partition);
/* Between two turns, in debug builds. */
void strand_known_errors_check (const strand_known_errors *k);

#endif
