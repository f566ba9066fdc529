/*
** incremental.h - librdkafka's IncrementalAlterConfigs, where there is one
**
** The module is built against 2.0.2 and may be loaded beside 2.2 or newer,
** which has it: its functions are looked up at run time.
**
** Thread: lua.
*/
#ifndef STRAND_INCREMENTAL_H
#define STRAND_INCREMENTAL_H

#include <stdbool.h>
#include <stddef.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "kafka/admin_client.h"

bool strand_incremental_is_there (void);

/* What follows only when it is there. A value of NULL: the default again.
** False and a failure. */
bool strand_incremental_add (rd_kafka_ConfigResource_t *r, const char *name,
                             const char *value, strand_failure *failure);

/* The answer comes to c->answers. */
bool strand_incremental_send (strand_admin_client *c,
                              rd_kafka_ConfigResource_t *r, double deadline,
                              strand_failure *failure);

/* Of the answer; they last as long as it does. */
const rd_kafka_ConfigResource_t **
strand_incremental_resources (rd_kafka_event_t *event, size_t *count);

#endif
