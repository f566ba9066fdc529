/*
** system.h - what the system does not give: said with its reason and limit
**
** Each message ends with what the system says and the limit that was met, so
** that whoever reads it knows what to raise:
**
**   NO_DESCRIPTORS   RLIMIT_NOFILE of the process, or the system's own
**   NO_THREAD        RLIMIT_NPROC, pids.max of the control group, or memory
**                    for the stack
**   NO_MEMORY        memory
**   CRIT_SYS_RESOURCE   anything else
**
** Thread: any.
*/
#ifndef STRAND_SYSTEM_H
#define STRAND_SYSTEM_H

#include <stdbool.h>

#include "base/err.h"

/* What should have made a descriptor failed with 'error', an errno. */
void strand_fail_descriptor (strand_failure *failure, const char *what,
                             int error);

/* What should have started a thread failed with 'error'. */
void strand_fail_thread (strand_failure *failure, const char *what, int error);

#define STRAND_SYSTEM_MOST 128 /* of each, that strand_system_has looks for */

/* Are so many of both there now? They are taken and given back: librdkafka
** goes on without what it did not get, and then crashes or hangs. False and a
** failure that begins with 'what'. */
bool strand_system_has (unsigned descriptors, unsigned threads,
                        const char *what, strand_failure *failure);

#endif
