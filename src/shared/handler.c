/*
** handler.c - what a worker calls, and what it is told
*/
#include "shared/handler.h"

#include <stdio.h>

void strand_deadline_text (char text[STRAND_DEADLINE_TEXT],
                           int64_t deadline_us) {
  snprintf(text, STRAND_DEADLINE_TEXT,
           "the handler took longer than its "
           "deadline of %g s",
           (double)deadline_us / 1e6);
}
