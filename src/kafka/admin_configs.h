/*
** admin_configs.h - settings of topics and brokers, read and changed
**
** A change leaves every other setting as it is. librdkafka has such a request
** from 2.2 on (IncrementalAlterConfigs); what is older can only write all the
** settings of a topic or broker at once, and one that is left out goes back to
** its default. So there they are read, changed and written, and what somebody
** else changes in between is lost. A sensitive value cannot be read: while
** there is one that would be lost, nothing is written.
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_CONFIGS_H
#define STRAND_ADMIN_CONFIGS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "kafka/admin_reply.h"
#include "kafka/admin_client.h"
#include "kafka/conf.h"

typedef enum strand_config_kind {
  STRAND_CONFIG_TOPIC,
  STRAND_CONFIG_BROKER /* named by its number */
} strand_config_kind;

/* { { name, settings = { { name, value, source, default, read_only,
** sensitive } }, message, code } }. A value that is sensitive is not there.
** False and a failure. */
bool strand_admin_configs_describe (strand_admin_client *c,
                                    strand_config_kind kind,
                                    const char *const *names, size_t count,
                                    double deadline, strand_reply *reply,
                                    strand_failure *failure);

/* A value of NULL: the default again. Waits until the brokers show the change,
** 5 s at most. False and a failure: nothing was changed, unless no answer
** came. */
bool strand_admin_configs_alter (strand_admin_client *c,
                                 strand_config_kind kind, const char *name,
                                 const strand_property *changes, size_t count,
                                 double deadline, strand_failure *failure);

#endif
