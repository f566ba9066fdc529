/*
** staged_dead_letter.h - a dead letter as an output: exactly once both go into
** one transaction
**
** Thread: owner.
*/
#ifndef STRAND_STAGED_DEAD_LETTER_H
#define STRAND_STAGED_DEAD_LETTER_H

#include "member/dead_letter_format.h"
#include "member/outbox.h"
#include "shared/staged.h"

/* That of the record of 'staged', which has none yet, with bytes of its own.
** False: memory ran out. */
bool strand_staged_dead_letter (strand_staged *staged,
                                const strand_dead_letters_config *config,
                                const char *group, strand_dead_letter_cut cut,
                                const strand_time *time);
/* It is too large: it loses its reason, then, if that is allowed, its value.
** False: nothing is left to lose, or memory ran out. */
bool strand_staged_dead_letter_cut (strand_staged *staged,
                                    const strand_outbox *outbox);

#endif
