/*
** intake.h - exactly once: how many outputs a transaction takes
**
** A transaction that took longer than the interval is followed by one with half
** as many outputs: so its readers wait less, and less is sent again should it
** be aborted. But most of its time may be that of brokers which are slow to
** answer, however little they are asked: then smaller ones only come more
** often. So the half must be faster, by a quarter of the time at least; else as
** many as before go again, for STRAND_INTAKE_KEEP_US.
**
** Where transaction_timeout ended one, the half goes in any case: as large as
** that it would never be committed.
**
** Invariants:
**   (1) 1 <= size <= most.
**   (2) Below 'least' it goes by transaction_timeout alone.
**
** Thread: owner.
*/
#ifndef STRAND_INTAKE_H
#define STRAND_INTAKE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define STRAND_INTAKE_LEAST 1000
#define STRAND_INTAKE_KEEP_US 10000000

typedef struct strand_intake {
  /* set by init, and only read */
  size_t most;
  size_t least;
  int64_t interval_us;

  size_t size;           /* outputs of the next transaction, at most */
  size_t before;         /* of that which it was lowered after; 0: none */
  int64_t before_us;     /* how long that took */
  int64_t keep_until_us; /* smaller ones are not faster */
} strand_intake;

void strand_intake_init (strand_intake *i, size_t most, int64_t interval_us);
/* One with so many outputs was committed, and took so long. */
void strand_intake_committed (strand_intake *i, size_t outputs,
                              int64_t took_us, int64_t now_us);
/* One ran into transaction_timeout. */
void strand_intake_timed_out (strand_intake *i, size_t outputs);
/* Between two turns, in debug builds. */
void strand_intake_check (const strand_intake *i);

#endif
