/*
** interrupt.h - a word to a thread that is busy with somebody else's code
**
** An owner that finds a handler past its time asks the worker's thread to do
** something about it; that is done in a signal handler, on the thread itself:
** the only place from where the Lua state that runs may be touched.
**
**   owner                                worker
**                                        1 strand_interrupt_open, _serve
**   2 strand_interrupt_send -- SIGURG -> 3 act(arg, what), between any two of
**                                          its instructions
**                                        4 strand_interrupt_close
**
** SIGURG: nobody who does not ask for it gets it, and by default it is
** ignored. It is unblocked in worker threads only. The process's handler is
** set when the first word is sent, once; who had the signal before is called
** for every other one that comes. System calls go on (SA_RESTART), but for
** those that never do: nanosleep, poll and the like end with EINTR.
**
** Thread: worker, but for strand_interrupt_send.
*/
#ifndef STRAND_INTERRUPT_H
#define STRAND_INTERRUPT_H

#include <pthread.h>
#include <stdatomic.h>

/* A thread that may be interrupted. */
typedef struct strand_interrupt {
  pthread_t thread;
  /* Bits are set by any before the signal is sent, and taken by the signal
  ** handler: none is lost, and two signals may be one. */
  atomic_uint wanted;
  /* Written by its thread, and read there by the signal handler: 'arg' while
  ** there is no 'act'. */
  void (*volatile act)(void *arg, unsigned what); /* NULL: nothing is done */
  void *volatile arg;
} strand_interrupt;

/* Of the calling thread, from now on; it has one at a time. */
void strand_interrupt_open (strand_interrupt *i);
/* Nothing is done any more. */
void strand_interrupt_close (void);

/* What a word to the calling thread does from now on: 'act', which may do what
** a signal handler may. NULL: nothing, and what comes is forgotten. Without
** strand_interrupt_open this does nothing. */
void strand_interrupt_serve (void (*act)(void *arg, unsigned what), void *arg);

/* 'what': bits, which are collected until the thread looks. Thread: owner;
** the caller makes sure that the thread has not closed it meanwhile. */
void strand_interrupt_send (strand_interrupt *i, unsigned what);

#endif
