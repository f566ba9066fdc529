/*
** membership.c - what a member is of its group
*/
#include "member/membership.h"

#include <assert.h>

void strand_membership_init (strand_membership *s, strand_consumer *consumer) {
  *s = (strand_membership){ .consumer = consumer };
}

void strand_membership_join (strand_membership *s) {
  strand_shared_joined(s->consumer, s->joined);
  s->joined = true;
}

void strand_membership_leave (strand_membership *s) {
  if (!s->joined) return;
  s->joined = false;
  strand_shared_left(s->consumer);
}

void strand_membership_follow (strand_membership *s, bool cooperative) {
  s->cooperative = cooperative;
}

void strand_membership_rebalance (strand_membership *s, bool rebalancing) {
  s->rebalancing = rebalancing;
}

void strand_membership_fail (strand_membership *s) {
  s->fatal = true;
}

void strand_membership_check (const strand_membership *s) {
  strand_counts counts;
  strand_tally_read(&s->consumer->tally, &counts);
  assert(!s->joined || counts.joined > 0); /* (1) */
  (void)counts;
}
