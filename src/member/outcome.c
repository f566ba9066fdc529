/*
** outcome.c - what a handler's outcome makes of a lease
*/
#include "member/outcome.h"

#include <stdlib.h>

static void tell_policy (const strand_owner *o, const strand_lease *lease,
                         strand_outcome *v) {
  strand_event event;
  if (v->policy_problem == NULL) return;
  event = strand_owner_lease_event(o, "policy_failed", lease);
  strand_event_set_reason(&event, v->policy_problem,
                          strlen(v->policy_problem));
  strand_owner_emit(o, &event);
  free(v->policy_problem);
  v->policy_problem = NULL;
}

strand_err strand_outcome_end (const strand_owner *o, strand_lease *lease,
                               strand_outcome *v, int64_t now_us) {
  strand_ending ending = { v->kind, v->delay_us,
                           v->reason != NULL ? v->reason : "",
                           v->reason != NULL ? v->reason_length : 0 };
  tell_policy(o, lease, v);
  return strand_engine_end(o->engine, lease, &ending, now_us);
}
