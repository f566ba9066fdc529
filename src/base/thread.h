/*
** thread.h - threads of ours
**
** Every signal is blocked in them, so that SIGINT and SIGTERM reach the
** thread that runs Lua.
**
** Thread: any.
*/
#ifndef STRAND_THREAD_H
#define STRAND_THREAD_H

#include <pthread.h>
#include <signal.h>

/* 0 and errno when the thread could not be made. */
int strand_thread_start (pthread_t *thread, void *(*run)(void *),
                         void *argument);

/* With a stack of its own size, in bytes; 0: the system's default. */
int strand_thread_start_deep (pthread_t *thread, void *(*run)(void *),
                              void *argument, size_t stack);

/* Around what makes threads: these have every signal blocked too. */
void strand_thread_block_signals (sigset_t *before);
void strand_thread_restore_signals (const sigset_t *before);

/* How often the calling thread has given up its core to wait: not how often
** others have taken it. */
long strand_thread_waits (void);

#endif
