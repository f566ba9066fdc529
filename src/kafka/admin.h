/*
** admin.h - topics made and deleted, offsets read from outside
**
** Every call waits for the brokers, at most for its timeout. The mock
** cluster does not speak the requests about topics: librdkafka would wait
** for a controller until the timeout, so it is recognised by its cluster id.
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_H
#define STRAND_ADMIN_H

#include <stddef.h>
#include <stdint.h>

#include "core/err.h"
#include "kafka/conf.h"
#include "kafka/log.h"

typedef struct strand_admin strand_admin;

typedef struct strand_new_topic {
  const char *name;
  int partitions;
  int replication; /* -1: the brokers' default */
  const strand_property *config;
  size_t config_count;
} strand_new_topic;

/* What the brokers say of each topic; failure.code "": it was done. */
typedef struct strand_topic_answer {
  char topic[250];
  strand_failure failure;
} strand_topic_answer;

typedef struct strand_topic_answers {
  strand_topic_answer *list; /* NULL: no answer came */
  size_t count;
} strand_topic_answers;

/* Offsets of a group: one entry for each partition that has one. */
typedef struct strand_group_offset {
  char *topic;
  int32_t partition;
  int64_t offset;
  char *metadata; /* bytes, not ended by NUL */
  size_t metadata_size;
} strand_group_offset;

typedef struct strand_group_offsets {
  strand_group_offset *list;
  size_t count;
} strand_group_offsets;

/* 'log' is kept. 'has_oauth': the caller gives tokens, see below. */
strand_admin *strand_admin_open (const strand_property *props, size_t count,
                                 strand_log *log, int has_oauth,
                                 strand_failure *failure);

/* A token is due. */
int strand_admin_oauth_needed (strand_admin *admin);

/* Keeps it, for the clients of groups. 0 and a failure ("OAUTH"). */
int strand_admin_oauth_set (strand_admin *admin, const char *token,
                            int64_t expires_ms, const char *principal,
                            strand_failure *failure);

/* There is none; it stays due. */
void strand_admin_oauth_fail (strand_admin *admin, const char *message);

/* Seconds, for a close that is not in a hurry. */
#define STRAND_ADMIN_END 1.0

/* Accepts NULL. What librdkafka does not end in 'timeout' seconds goes on in
** the background. */
void strand_admin_close (strand_admin *admin, double timeout);

/* 1 when all was done, and no answers. Else 0, and a failure that names the
** first topic and how many more there are; 'answers', to be freed, then says
** what became of each (the others were made), unless none came. */
int strand_admin_create_topics (strand_admin *admin,
                                const strand_new_topic *topics, size_t count,
                                double timeout, strand_topic_answers *answers,
                                strand_failure *failure);

int strand_admin_delete_topics (strand_admin *admin, const char *const *topics,
                                size_t count, double timeout,
                                strand_topic_answers *answers,
                                strand_failure *failure);

void strand_topic_answers_free (strand_topic_answers *answers);

/* 'topics' NULL: every topic the group has offsets of (not on the mock).
** 0 and a failure, or 1 and 'offsets', sorted, to be freed. */
int strand_admin_group_offsets (strand_admin *admin, const char *group,
                                const char *const *topics, size_t count,
                                double timeout, strand_group_offsets *offsets,
                                strand_failure *failure);

void strand_group_offsets_free (strand_group_offsets *offsets);

#endif
