/*
** admin.c - see admin.h
*/
#include "kafka/admin.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

struct strand_admin {
  strand_admin_client own;
  bool has_oauth;
  bool oauth_wanted;
  char *token; /* NULL: none; the rest only with it */
  char *principal;
  int64_t expires_ms;
};

/*
** Opening and closing
*/

/* RD_KAFKA_EVENT_... that are read. */
static int events_of (const strand_admin *admin) {
  return admin->has_oauth ? RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH : 0;
}

static bool open_client (strand_admin *admin, const strand_property *props,
                         size_t count, strand_log *log,
                         strand_failure *failure) {
  rd_kafka_conf_t *conf = strand_conf_new(RD_KAFKA_PRODUCER, props, count,
                                          failure);
  if (conf == NULL) return false;
  /* Nothing is produced: no need for a producer id. Nor does a topic begin to
  ** exist because somebody looks at it. */
  rd_kafka_conf_set(conf, "enable.idempotence", "false", NULL, 0);
  rd_kafka_conf_set(conf, "allow.auto.create.topics", "false", NULL, 0);
  return strand_admin_client_open(&admin->own, RD_KAFKA_PRODUCER, conf, log,
                                  events_of(admin), failure);
}

/* The same connection, for a consumer. */
static rd_kafka_conf_t *consumer_conf (const strand_admin *admin) {
  rd_kafka_conf_t *conf = rd_kafka_conf_dup(
    rd_kafka_conf(admin->own.client->handle));
  char errstr[256];
  /* no warnings of properties that a producer has and a consumer has not */
  rd_kafka_conf_set(conf, "log_level", "3", errstr, sizeof(errstr));
  return conf;
}

/* Takes 'conf'. It is to be closed also on failure. */
static bool open_other (const strand_admin *admin, rd_kafka_conf_t *conf,
                        strand_admin_client *other, strand_failure *failure) {
  return strand_admin_client_open(other, RD_KAFKA_CONSUMER, conf,
                                  admin->own.client->opaque.log,
                                  events_of(admin), failure)
         && (admin->token == NULL
             || strand_client_token(other->client, admin->token,
                                    admin->expires_ms, admin->principal,
                                    failure));
}

/* A client of the group; see group_offsets.h. */
static bool open_reader (const strand_admin *admin, const char *group,
                         strand_admin_client *reader,
                         strand_failure *failure) {
  rd_kafka_conf_t *conf = consumer_conf(admin);
  char errstr[256];
  rd_kafka_conf_set(conf, "group.id", group, errstr, sizeof(errstr));
  return open_other(admin, conf, reader, failure);
}

static void close_other (strand_admin_client *other) {
  strand_admin_client_check(other);
  strand_admin_client_close(other, STRAND_ADMIN_END);
  strand_admin_client_check(other);
}

static void forget_token (strand_admin *admin) {
  free(admin->token);
  free(admin->principal);
  admin->token = admin->principal = NULL;
}

strand_admin *strand_admin_open (const strand_property *props, size_t count,
                                 strand_log *log, bool has_oauth,
                                 strand_failure *failure) {
  strand_admin *admin = calloc(1, sizeof(*admin));
  if (admin == NULL) {
    strand_admin_no_memory(failure);
    return NULL;
  }
  admin->has_oauth = has_oauth;
  if (open_client(admin, props, count, log, failure)) return admin;
  strand_admin_close(admin, STRAND_ADMIN_END);
  return NULL;
}

void strand_admin_end (strand_admin *admin, double timeout) {
  strand_admin_client_check(&admin->own);
  strand_admin_client_close(&admin->own, timeout);
  strand_admin_client_check(&admin->own);
}

void strand_admin_close (strand_admin *admin, double timeout) {
  if (admin == NULL) return;
  strand_admin_end(admin, timeout);
  forget_token(admin);
  free(admin);
}

/*
** Tokens
*/

bool strand_admin_poll_oauth (strand_admin *admin) {
  rd_kafka_queue_t *queue = admin->own.client->queue;
  rd_kafka_event_t *event;
  while ((event = rd_kafka_queue_poll(queue, 0)) != NULL) {
    if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OAUTHBEARER_TOKEN_REFRESH)
      admin->oauth_wanted = true;
    rd_kafka_event_destroy(event);
  }
  return admin->oauth_wanted;
}

bool strand_admin_oauth_set (strand_admin *admin, const char *token,
                             int64_t expires_ms, const char *principal,
                             strand_failure *failure) {
  if (!strand_client_token(admin->own.client, token, expires_ms, principal,
                           failure))
    return false;
  forget_token(admin);
  admin->token = strdup(token);
  admin->principal = strdup(principal);
  admin->expires_ms = expires_ms;
  if (admin->token == NULL || admin->principal == NULL) {
    forget_token(admin);
    return strand_admin_no_memory(failure);
  }
  admin->oauth_wanted = false;
  return true;
}

void strand_admin_oauth_fail (strand_admin *admin, const char *message) {
  admin->oauth_wanted = true;
  rd_kafka_oauthbearer_set_token_failure(admin->own.client->handle, message);
}

/*
** Topics
*/

bool strand_admin_create_topics (strand_admin *admin,
                                 const strand_new_topic *topics, size_t count,
                                 double timeout, strand_topic_answers *answers,
                                 strand_failure *failure) {
  return strand_admin_topics_create(&admin->own, topics, count,
                                    strand_clock_now() + timeout, answers,
                                    failure);
}

bool strand_admin_delete_topics (strand_admin *admin,
                                 const char *const *topics, size_t count,
                                 double timeout, strand_topic_answers *answers,
                                 strand_failure *failure) {
  return strand_admin_topics_delete(&admin->own, topics, count,
                                    strand_clock_now() + timeout, answers,
                                    failure);
}

bool strand_admin_create_partitions (strand_admin *admin,
                                     const strand_new_topic *topics,
                                     size_t count, double timeout,
                                     strand_topic_answers *answers,
                                     strand_failure *failure) {
  return strand_admin_topics_extend(&admin->own, topics, count,
                                    strand_clock_now() + timeout, answers,
                                    failure);
}

bool strand_admin_describe (strand_admin *admin, const char *const *topics,
                            size_t count, double timeout, strand_reply *reply,
                            strand_failure *failure) {
  return strand_admin_cluster_describe(
    &admin->own, topics, count, strand_clock_now() + timeout, reply, failure);
}

bool strand_admin_configs (strand_admin *admin, strand_config_kind kind,
                           const char *const *names, size_t count,
                           double timeout, strand_reply *reply,
                           strand_failure *failure) {
  return strand_admin_configs_describe(&admin->own, kind, names, count,
                                       strand_clock_now() + timeout, reply,
                                       failure);
}

bool strand_admin_alter_config (strand_admin *admin, strand_config_kind kind,
                                const char *name,
                                const strand_property *changes, size_t count,
                                double timeout, strand_failure *failure) {
  return strand_admin_configs_alter(&admin->own, kind, name, changes, count,
                                    strand_clock_now() + timeout, failure);
}

/*
** Places in topics
*/

bool strand_admin_find_offsets (strand_admin *admin,
                                const strand_admin_place *places, size_t count,
                                double timeout, strand_reply *reply,
                                strand_failure *failure) {
  return strand_admin_places_find(
    &admin->own, places, count, strand_clock_now() + timeout, reply, failure);
}

bool strand_admin_delete_records (strand_admin *admin,
                                  const strand_admin_place *places,
                                  size_t count, double timeout,
                                  strand_reply *reply,
                                  strand_failure *failure) {
  return strand_admin_places_delete(
    &admin->own, places, count, strand_clock_now() + timeout, reply, failure);
}

bool strand_admin_read (strand_admin *admin, const strand_admin_reading *what,
                        double timeout, strand_reply *reply,
                        strand_failure *failure) {
  double deadline = strand_clock_now() + timeout;
  strand_admin_client reader = { NULL, NULL };
  rd_kafka_conf_t *conf = consumer_conf(admin);
  bool ok;
  strand_admin_reader_configure(conf);
  ok = open_other(admin, conf, &reader, failure)
       && strand_admin_reader_read(&reader, what, deadline, reply, failure);
  close_other(&reader);
  return ok;
}

/*
** Groups
*/

bool strand_admin_list_groups (strand_admin *admin, double timeout,
                               strand_reply *reply, strand_failure *failure) {
  return strand_admin_groups_list(&admin->own, strand_clock_now() + timeout,
                                  reply, failure);
}

bool strand_admin_describe_groups (strand_admin *admin,
                                   const char *const *groups, size_t count,
                                   double timeout, strand_reply *reply,
                                   strand_failure *failure) {
  double deadline = strand_clock_now() + timeout;
  strand_admin_client reader = { NULL, NULL };
  bool ok = strand_admin_client_is_real(&admin->own, deadline, "groups",
                                        "it knows no requests about groups",
                                        failure)
            && open_reader(admin, groups[0], &reader, failure)
            && strand_admin_groups_describe(&reader, groups, count, deadline,
                                            reply, failure);
  close_other(&reader);
  return ok;
}

bool strand_admin_write_offsets (strand_admin *admin, const char *group,
                                 const strand_admin_place *places,
                                 size_t count, double timeout,
                                 strand_reply *reply,
                                 strand_failure *failure) {
  double deadline = strand_clock_now() + timeout;
  strand_admin_client reader = { NULL, NULL };
  bool ok = open_reader(admin, group, &reader, failure)
            && strand_group_offsets_write(&reader, group, places, count,
                                          deadline, reply, failure);
  close_other(&reader);
  return ok;
}

bool strand_admin_delete_offsets (strand_admin *admin, const char *group,
                                  const strand_admin_place *places,
                                  size_t count, double timeout,
                                  strand_reply *reply,
                                  strand_failure *failure) {
  double deadline = strand_clock_now() + timeout;
  strand_admin_client reader = { NULL, NULL };
  bool ok = strand_admin_client_is_real(&admin->own, deadline,
                                        "delete_group_offsets",
                                        "take another group", failure)
            && open_reader(admin, group, &reader, failure)
            && strand_group_offsets_delete(&reader, group, places, count,
                                           deadline, reply, failure);
  close_other(&reader);
  return ok;
}

/*
** Offsets of a group
*/

/* NULL and a failure. */
static rd_kafka_topic_partition_list_t *
partitions_of (const strand_admin *admin, const char *const *topics,
               size_t count, double deadline, strand_failure *failure) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(
    16);
  size_t i;
  for (i = 0; i < count; i++) {
    if (strand_admin_cluster_partitions(&admin->own, topics[i], deadline, list,
                                        failure))
      continue;
    rd_kafka_topic_partition_list_destroy(list);
    return NULL;
  }
  return list;
}

static bool read_offsets (const strand_admin *admin, const char *group,
                          const rd_kafka_topic_partition_list_t *partitions,
                          double deadline, strand_group_offsets *offsets,
                          strand_failure *failure) {
  strand_admin_client reader = { NULL, NULL };
  bool ok = open_reader(admin, group, &reader, failure)
            && strand_group_offsets_read(&reader, group, partitions, deadline,
                                         offsets, failure);
  close_other(&reader);
  return ok;
}

bool strand_admin_group_offsets (strand_admin *admin, const char *group,
                                 const char *const *topics, size_t count,
                                 double timeout, strand_group_offsets *offsets,
                                 strand_failure *failure) {
  double deadline = strand_clock_now() + timeout;
  rd_kafka_topic_partition_list_t *partitions;
  bool ok;
  *offsets = (strand_group_offsets){ NULL, 0 };
  if (topics == NULL)
    return strand_admin_client_is_real(&admin->own, deadline, "group_offsets",
                                       "name the topics", failure)
           && read_offsets(admin, group, NULL, deadline, offsets, failure);
  if (count == 0) return true;
  partitions = partitions_of(admin, topics, count, deadline, failure);
  if (partitions == NULL) return false;
  ok = read_offsets(admin, group, partitions, deadline, offsets, failure);
  rd_kafka_topic_partition_list_destroy(partitions);
  return ok;
}
