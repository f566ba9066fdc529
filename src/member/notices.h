/*
** notices.h - what the engine tells, as events
**
** Thread: owner.
*/
#ifndef STRAND_NOTICES_H
#define STRAND_NOTICES_H

#include "member/owner.h"

/* A record that is exhausted, and whose policy says so, ends the consumer. */
void strand_notice_tell (const strand_owner *o, const strand_notice *n);

#endif
