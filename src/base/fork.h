/*
** fork.h - is this still the process that opened an object?
**
** Threads do not survive a fork: a client of the parent can neither be used
** nor destroyed in the child. Every object keeps the generation in which it
** was opened, and its methods compare. Costs a load; getpid is a system call.
**
** Thread: any.
*/
#ifndef STRAND_FORK_H
#define STRAND_FORK_H

/* A number that is another one in each descendant of this process. */
int strand_fork_generation (void);

#endif
