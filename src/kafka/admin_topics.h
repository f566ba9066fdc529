/*
** admin_topics.h - topics made, given more partitions, and deleted
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_TOPICS_H
#define STRAND_ADMIN_TOPICS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "kafka/admin_client.h"
#include "kafka/conf.h"

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

/* True: all was done, and there are no answers. Else a failure that names the
** first topic and how many more there are; 'answers', to be freed, then says
** what became of each (the others were made), unless none came. */
bool strand_admin_topics_create (strand_admin_client *c,
                                 const strand_new_topic *topics, size_t count,
                                 double deadline,
                                 strand_topic_answers *answers,
                                 strand_failure *failure);
bool strand_admin_topics_delete (strand_admin_client *c,
                                 const char *const *topics, size_t count,
                                 double deadline,
                                 strand_topic_answers *answers,
                                 strand_failure *failure);

/* Of 'topics' only the name and the number of partitions that there are to
** be count. */
bool strand_admin_topics_extend (strand_admin_client *c,
                                 const strand_new_topic *topics, size_t count,
                                 double deadline,
                                 strand_topic_answers *answers,
                                 strand_failure *failure);

void strand_topic_answers_free (strand_topic_answers *answers);

#endif
