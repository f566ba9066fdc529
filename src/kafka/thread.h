/*
** thread.h - threads of ours, and conditions that follow the right clock
**
** Every signal is blocked in them, so that SIGINT and SIGTERM reach the
** thread that runs Lua.
**
** Thread: any.
*/
#ifndef STRAND_THREAD_H
#define STRAND_THREAD_H

#include <pthread.h>

/* 0 when the thread could not be made. */
int strand_thread_start (pthread_t *thread, void *(*run) (void *),
                         void *argument);

/* A condition for strand_clock_timespec. 0 when it could not be made. */
int strand_thread_condition (pthread_cond_t *condition);

#endif
