/*
** routes.h - which handler takes a topic's records, and within which limits
**
** Invariants:
**   (1) A route is a pattern when its topic says so.
**
** Thread: lua makes and configures them; owner reads. A leaf lock of its own
** for their limits.
*/
#ifndef STRAND_ROUTES_H
#define STRAND_ROUTES_H

#include <stdbool.h>

#include "base/lock.h"
#include "shared/settings.h"

typedef struct strand_matcher strand_matcher;

typedef struct strand_routes {
  strand_matcher *each; /* in the order of the consumer's options */
  size_t count;         /* set by init, and only read */
  strand_lock lock;     /* of each one's limits */
} strand_routes;

/* False and a failure; code "OPTION" for what is no pattern; without memory
** the failure stays. It is to be freed all the same. */
bool strand_routes_init (strand_routes *r,
                         const strand_consumer_config *config,
                         strand_failure *failure);
/* Thread: whoever is last. */
void strand_routes_free (strand_routes *r);

/* The route of a topic, or -1 for none. -2: memory ran out. */
int strand_routes_find (const strand_routes *r, const char *topic);
/* What a route leaves to the consumer is as in 'l' from now on. */
void strand_routes_follow (strand_routes *r, const strand_limits *l);
strand_route_limits strand_routes_limits (strand_routes *r, size_t route);
/* How long a call of the handler may take; 0: as it likes. */
int64_t strand_routes_deadline (const strand_routes *r, size_t route);
/* Between two turns, in debug builds. */
void strand_routes_check (const strand_routes *r);

#endif
