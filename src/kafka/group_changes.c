/*
** group_changes.c - see group_changes.h
*/
#include "kafka/group_changes.h"

#include <stdlib.h>

#include "kafka/errors.h"

/* False and a failure: the group's coordinator moves, or starts. */
static bool are_settled (const rd_kafka_topic_partition_list_t *partitions,
                         const char *what, strand_failure *failure) {
  for (int i = 0; i < partitions->cnt; i++) {
    rd_kafka_resp_err_t err = partitions->elems[i].err;
    if (strand_error_kind_of(err) != STRAND_ERROR_COORDINATOR) continue;
    strand_fail_kafka(failure, err, what);
    return false;
  }
  return true;
}

/* What one request was answered, or a failure. */
static bool read_group (const rd_kafka_group_result_t **groups, size_t count,
                        const char *what, strand_reply *reply,
                        strand_failure *failure) {
  const rd_kafka_topic_partition_list_t *partitions;
  const rd_kafka_error_t *error;
  if (count != 1) {
    strand_fail(failure, "BAD_MSG", "%s: no answer for the group", what);
    return false;
  }
  error = rd_kafka_group_result_error(groups[0]);
  if (error != NULL) {
    strand_fail_kafka(failure, rd_kafka_error_code(error), what);
    return false;
  }
  partitions = rd_kafka_group_result_partitions(groups[0]);
  if (partitions == NULL || partitions->cnt == 0) {
    strand_fail(failure, "BAD_MSG", "%s: no answer for a partition", what);
    return false;
  }
  if (!are_settled(partitions, what, failure)) return false;
  strand_admin_places_add_all(reply, partitions);
  return strand_reply_complete(reply, failure);
}

typedef bool group_request (strand_admin_client *c, const char *group,
                            const rd_kafka_topic_partition_list_t *list,
                            double deadline, strand_reply *reply,
                            strand_failure *failure);

/* Asks until there is an answer, or nothing that helps to ask again. */
static bool change (group_request *ask, strand_admin_client *c,
                    const char *group, const strand_admin_place *places,
                    size_t count, double deadline, strand_reply *reply,
                    strand_failure *failure) {
  rd_kafka_topic_partition_list_t *list = strand_admin_places_list(places,
                                                                   count);
  bool ok;
  while (!(ok = ask(c, group, list, deadline, reply, failure))
         && strand_admin_client_again(failure, deadline))
    strand_reply_free(reply);
  rd_kafka_topic_partition_list_destroy(list);
  return ok;
}

/*
** Set
*/

static bool ask_write (strand_admin_client *c, const char *group,
                       const rd_kafka_topic_partition_list_t *list,
                       double deadline, strand_reply *reply,
                       strand_failure *failure) {
  static const char what[] = "reset_offsets";
  const rd_kafka_group_result_t **groups;
  rd_kafka_AlterConsumerGroupOffsets_t *request;
  rd_kafka_event_t *event;
  size_t count;
  bool ok;
  rd_kafka_AdminOptions_t *options = strand_admin_client_request(
    c, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, STRAND_ADMIN_REQUEST_MS,
    failure);
  if (options == NULL) return false;
  request = rd_kafka_AlterConsumerGroupOffsets_new(group, list);
  rd_kafka_AlterConsumerGroupOffsets(c->client->handle, &request, 1, options,
                                     c->answers);
  rd_kafka_AlterConsumerGroupOffsets_destroy(request);
  rd_kafka_AdminOptions_destroy(options);
  event = strand_admin_client_wait_first(c, deadline, what, failure);
  if (event == NULL) return false;
  groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(
    rd_kafka_event_AlterConsumerGroupOffsets_result(event), &count);
  ok = read_group(groups, count, what, reply, failure);
  rd_kafka_event_destroy(event);
  return ok;
}

bool strand_group_offsets_write (strand_admin_client *c, const char *group,
                                 const strand_admin_place *places,
                                 size_t count, double deadline,
                                 strand_reply *reply,
                                 strand_failure *failure) {
  return change(ask_write, c, group, places, count, deadline, reply, failure);
}

/*
** Deleted
*/

static bool ask_delete (strand_admin_client *c, const char *group,
                        const rd_kafka_topic_partition_list_t *list,
                        double deadline, strand_reply *reply,
                        strand_failure *failure) {
  static const char what[] = "delete_group_offsets";
  const rd_kafka_group_result_t **groups;
  rd_kafka_DeleteConsumerGroupOffsets_t *request;
  rd_kafka_event_t *event;
  size_t count;
  bool ok;
  rd_kafka_AdminOptions_t *options = strand_admin_client_request(
    c, RD_KAFKA_ADMIN_OP_DELETECONSUMERGROUPOFFSETS, STRAND_ADMIN_REQUEST_MS,
    failure);
  if (options == NULL) return false;
  request = rd_kafka_DeleteConsumerGroupOffsets_new(group, list);
  rd_kafka_DeleteConsumerGroupOffsets(c->client->handle, &request, 1, options,
                                      c->answers);
  rd_kafka_DeleteConsumerGroupOffsets_destroy(request);
  rd_kafka_AdminOptions_destroy(options);
  event = strand_admin_client_wait_first(c, deadline, what, failure);
  if (event == NULL) return false;
  groups = rd_kafka_DeleteConsumerGroupOffsets_result_groups(
    rd_kafka_event_DeleteConsumerGroupOffsets_result(event), &count);
  ok = read_group(groups, count, what, reply, failure);
  rd_kafka_event_destroy(event);
  return ok;
}

bool strand_group_offsets_delete (strand_admin_client *c, const char *group,
                                  const strand_admin_place *places,
                                  size_t count, double deadline,
                                  strand_reply *reply,
                                  strand_failure *failure) {
  return change(ask_delete, c, group, places, count, deadline, reply, failure);
}
