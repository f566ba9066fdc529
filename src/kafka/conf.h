/*
** conf.h - from a user's properties to a librdkafka configuration
**
** Three rules. What the user set wins over what strand would set. What the
** design depends on cannot be set (it is refused by name, with the reason).
** A message never shows the value of a property: the name and librdkafka's
** complaint say enough, and a password may sit in the wrong field.
**
** What strand sets when the user did not. Versions are librdkafka's, asked
** at run time: a module built against 2.0.2 may be loaded beside 2.15.
**
**   consumer                            value             when
**   enable.auto.commit                  false             always, owned
**   enable.auto.offset.store            false             always, owned
**   enable.partition.eof                true              always, owned
**   auto.offset.reset                   earliest
**   partition.assignment.strategy       range,roundrobin  classic protocol
**   queued.min.messages                 10000000          below 2.2
**   queued.max.messages.kbytes          65536             below 2.2
**   queued.max.messages.kbytes          8192              from 2.2
**   fetch.queue.backoff.ms              20                from 2.2
**
**   producer
**   enable.idempotence                  true  (implies acks=all)
**   partitioner                         murmur2_random    owned
**   linger.ms                           5
**
**   both
**   socket.nagle.disable                true
**   enable.metrics.push                 false             from 2.5
**   reconnect.backoff.max.ms            1000
**
** Below 2.2 a full fetch queue costs a second of back-off, so bytes are the
** bound there and not the number of records. librdkafka's ten seconds of
** reconnect back-off make a broker's restart look like an outage, and make
** message.timeout.ms late by as much; once a second is cheap to try.
**
** Thread: any (no state).
*/
#ifndef STRAND_CONF_H
#define STRAND_CONF_H

#include <stdbool.h>
#include <stddef.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"
#include "kafka/log.h"

/* Both end with NUL and hold none. */
typedef struct strand_property {
  const char *name;
  const char *value;
} strand_property;

/* Defaults of one client at most. */
#define STRAND_CONF_DEFAULTS_MAX 16

/* NULL and a failure ("OPTION") for a property that is refused or
** that librdkafka does not take. The log callback is set; the caller sets
** an opaque (log.h), events and the rest. */
rd_kafka_conf_t *strand_conf_new (rd_kafka_type_t kind,
                                  const strand_property *props, size_t count,
                                  strand_failure *failure);

/* Did the user set it, by this name or by librdkafka's other one? */
bool strand_conf_has (const strand_property *props, size_t count,
                      const char *name);

/* The settings that strand itself makes beside 'props', for benchmarks and
** bug reports: never anything of the user's. Returns their number; strings
** are static. */
size_t strand_conf_dump (rd_kafka_type_t kind, const strand_property *props,
                         size_t count,
                         strand_property out[STRAND_CONF_DEFAULTS_MAX]);

/* This librdkafka drops a cooperative member's assignment when a commit comes
** while it joins. */
bool strand_conf_loses_assignments (const strand_property *props,
                                    size_t count);

/* Warnings about settings that work and should not be used. */
void strand_conf_warn (rd_kafka_type_t kind, const strand_property *props,
                       size_t count, strand_log *log);

/* rd_kafka_new on 'conf', taken also on failure. librdkafka checks how the
** properties fit together only there: "OPTION" then. Descriptors and threads
** that the client needs from the start are looked for before: without them it
** would abort the process, or go on crippled. */
rd_kafka_t *strand_conf_open (rd_kafka_type_t kind, rd_kafka_conf_t *conf,
                              strand_failure *failure);

/* Is the librdkafka that is loaded at least this one? */
bool strand_conf_version_at_least (int major, int minor, int patch);

/* How many copies acknowledge a record; all that are in sync. */
#define STRAND_ACKS_ALL (-1)
int strand_conf_acks (const rd_kafka_conf_t *conf);

/* Why nobody but strand sets a property of that name; NULL: it may be set. */
const char *strand_conf_refusal (rd_kafka_type_t kind, const char *name);

/* Is this the name of a property whose value is nobody's business? */
bool strand_conf_is_secret (const char *name);

#endif
