/*
** join_watch.h - whether librdkafka joins the group at this moment
**
** Thread: any, where nothing else is said.
*/
#ifndef STRAND_JOIN_WATCH_H
#define STRAND_JOIN_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include "base/waker.h"

typedef struct strand_join_watch {
  strand_waker *waker; /* the owner's: woken when it has joined */
  /* Written by the thread of the coordinator's broker, read by the owner,
  ** which keeps its commits meanwhile: what it reads a moment too late is a
  ** commit behind JoinGroup, see join_watch.c. */
  atomic_bool joining;
} strand_join_watch;

/* Thread: lua. Of the client that will be made with 'conf'. */
void strand_join_watch_add (strand_join_watch *watch, strand_waker *waker,
                            rd_kafka_conf_t *conf);
bool strand_join_watch_joins (const strand_join_watch *watch);

#endif
