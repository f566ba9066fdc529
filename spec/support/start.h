/*
** start.h - a consumer is started, as Lua's start() does it, which serves
** meanwhile what this waits for
*/
#ifndef STRAND_SPEC_START_H
#define STRAND_SPEC_START_H

#include "consumer/consumer.h"
#include "shared/shared.h"

static bool start_consumer (strand_consumer *c, strand_failure *failure) {
  if (!strand_consumer_start_begin(c, failure)) return false;
  (void)strand_pool_wait(&c->pool, failure);
  return strand_consumer_start_done(c, failure) == 1;
}

#endif
