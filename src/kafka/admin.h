/*
** admin.h - what is asked of a cluster from outside: topics, settings, groups,
** offsets, records
**
** Every call waits for the brokers, at most for its timeout. The mock
** cluster does not speak most of the requests: librdkafka would wait for a
** controller until the timeout, so it is recognised by its cluster id.
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_H
#define STRAND_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/admin_reply.h"
#include "kafka/admin_cluster.h"
#include "kafka/admin_configs.h"
#include "kafka/admin_groups.h"
#include "kafka/admin_places.h"
#include "kafka/admin_reader.h"
#include "kafka/admin_topics.h"
#include "kafka/conf.h"
#include "kafka/group_changes.h"
#include "kafka/group_offsets.h"
#include "kafka/log.h"

typedef struct strand_admin strand_admin;

/* 'log' is kept. 'has_oauth': the caller gives tokens, see below. */
strand_admin *strand_admin_open (const strand_property *props, size_t count,
                                 strand_log *log, bool has_oauth,
                                 strand_failure *failure);

/* Looks whether librdkafka has asked for a token. It stays due until it is
** set. */
bool strand_admin_poll_oauth (strand_admin *admin);

/* Keeps it, for the clients of groups. False and a failure ("OAUTH"). */
bool strand_admin_oauth_set (strand_admin *admin, const char *token,
                             int64_t expires_ms, const char *principal,
                             strand_failure *failure);

/* There is none; it stays due. */
void strand_admin_oauth_fail (strand_admin *admin, const char *message);

/* Seconds, for a close that is not in a hurry. */
#define STRAND_ADMIN_END 1.0

/* Its client ends, as by a close, which is to follow. */
void strand_admin_end (strand_admin *admin, double timeout);

/* Accepts NULL. What librdkafka does not end in 'timeout' seconds goes on in
** the background. */
void strand_admin_close (strand_admin *admin, double timeout);

/* As of admin_topics.h. */
bool strand_admin_create_topics (strand_admin *admin,
                                 const strand_new_topic *topics, size_t count,
                                 double timeout, strand_topic_answers *answers,
                                 strand_failure *failure);
bool strand_admin_delete_topics (strand_admin *admin,
                                 const char *const *topics, size_t count,
                                 double timeout, strand_topic_answers *answers,
                                 strand_failure *failure);
bool strand_admin_create_partitions (strand_admin *admin,
                                     const strand_new_topic *topics,
                                     size_t count, double timeout,
                                     strand_topic_answers *answers,
                                     strand_failure *failure);

/* What each answers stands in the header of its unit; the answer is to be
** freed also on failure. */
bool strand_admin_describe (strand_admin *admin, const char *const *topics,
                            size_t count, double timeout, strand_reply *reply,
                            strand_failure *failure);
bool strand_admin_configs (strand_admin *admin, strand_config_kind kind,
                           const char *const *names, size_t count,
                           double timeout, strand_reply *reply,
                           strand_failure *failure);
bool strand_admin_alter_config (strand_admin *admin, strand_config_kind kind,
                                const char *name,
                                const strand_property *changes, size_t count,
                                double timeout, strand_failure *failure);
bool strand_admin_find_offsets (strand_admin *admin,
                                const strand_admin_place *places, size_t count,
                                double timeout, strand_reply *reply,
                                strand_failure *failure);
bool strand_admin_delete_records (strand_admin *admin,
                                  const strand_admin_place *places,
                                  size_t count, double timeout,
                                  strand_reply *reply,
                                  strand_failure *failure);
bool strand_admin_read (strand_admin *admin, const strand_admin_reading *what,
                        double timeout, strand_reply *reply,
                        strand_failure *failure);
bool strand_admin_list_groups (strand_admin *admin, double timeout,
                               strand_reply *reply, strand_failure *failure);
bool strand_admin_describe_groups (strand_admin *admin,
                                   const char *const *groups, size_t count,
                                   double timeout, strand_reply *reply,
                                   strand_failure *failure);
bool strand_admin_write_offsets (strand_admin *admin, const char *group,
                                 const strand_admin_place *places,
                                 size_t count, double timeout,
                                 strand_reply *reply, strand_failure *failure);
bool strand_admin_delete_offsets (strand_admin *admin, const char *group,
                                  const strand_admin_place *places,
                                  size_t count, double timeout,
                                  strand_reply *reply,
                                  strand_failure *failure);

/* 'topics' NULL: every topic the group has offsets of (not on the mock).
** False and a failure, or true and 'offsets', sorted, to be freed. */
bool strand_admin_group_offsets (strand_admin *admin, const char *group,
                                 const char *const *topics, size_t count,
                                 double timeout, strand_group_offsets *offsets,
                                 strand_failure *failure);

#endif
