/*
** admin_groups.c - see admin_groups.h
*/
#include "kafka/admin_groups.h"

#include <stdlib.h>

#include "kafka/errors.h"

static const char what[] = "groups";

static void add_error (strand_reply *a, const rd_kafka_error_t *error) {
  if (error == NULL) return;
  strand_reply_error(a, rd_kafka_error_code(error),
                     rd_kafka_error_string(error));
}

/*
** All of them
*/

static void add_listing (strand_reply *a,
                         const rd_kafka_ConsumerGroupListing_t *group) {
  strand_reply_open(a, NULL);
  strand_reply_text(a, "group", rd_kafka_ConsumerGroupListing_group_id(group));
  strand_reply_text(a, "state",
                    rd_kafka_consumer_group_state_name(
                      rd_kafka_ConsumerGroupListing_state(group)));
  strand_reply_flag(
    a, "simple",
    rd_kafka_ConsumerGroupListing_is_simple_consumer_group(group));
  strand_reply_close(a);
}

static void add_listings (strand_reply *a,
                          const rd_kafka_ListConsumerGroups_result_t *result) {
  size_t count;
  const rd_kafka_ConsumerGroupListing_t **groups =
    rd_kafka_ListConsumerGroups_result_valid(result, &count);
  const rd_kafka_error_t **errors;
  strand_reply_open(a, NULL);
  for (size_t i = 0; i < count; i++) add_listing(a, groups[i]);
  errors = rd_kafka_ListConsumerGroups_result_errors(result, &count);
  for (size_t i = 0; i < count; i++) {
    strand_reply_open(a, NULL);
    add_error(a, errors[i]);
    strand_reply_close(a);
  }
  strand_reply_close(a);
}

bool strand_admin_groups_list (strand_admin_client *c, double deadline,
                               strand_reply *reply, strand_failure *failure) {
  rd_kafka_event_t *event;
  rd_kafka_AdminOptions_t *options;
  if (!strand_admin_client_is_real(
        c, deadline, what, "it knows no requests about groups", failure))
    return false;
  options = strand_admin_client_request_until(
    c, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPS, deadline, failure);
  if (options == NULL) return false;
  rd_kafka_ListConsumerGroups(c->client->handle, options, c->answers);
  rd_kafka_AdminOptions_destroy(options);
  event = strand_admin_client_wait_until(c, deadline, what, failure);
  if (event == NULL) return false;
  add_listings(reply, rd_kafka_event_ListConsumerGroups_result(event));
  rd_kafka_event_destroy(event);
  return strand_reply_complete(reply, failure);
}

/*
** Who is in them
*/

static void add_assignment (strand_reply *a,
                            const rd_kafka_MemberDescription_t *member) {
  const rd_kafka_topic_partition_list_t *list =
    rd_kafka_MemberAssignment_partitions(
      rd_kafka_MemberDescription_assignment(member));
  strand_reply_open(a, "assignment");
  for (int i = 0; list != NULL && i < list->cnt; i++) {
    strand_reply_open(a, NULL);
    strand_reply_place(a, list->elems[i].topic, list->elems[i].partition);
    strand_reply_close(a);
  }
  strand_reply_close(a);
}

static void add_member (strand_reply *a,
                        const rd_kafka_MemberDescription_t *member) {
  const char *instance = rd_kafka_MemberDescription_group_instance_id(member);
  strand_reply_open(a, NULL);
  strand_reply_text(a, "id", rd_kafka_MemberDescription_consumer_id(member));
  strand_reply_text(a, "client_id",
                    rd_kafka_MemberDescription_client_id(member));
  if (instance != NULL && instance[0] != '\0')
    strand_reply_text(a, "instance_id", instance);
  strand_reply_text(a, "host", rd_kafka_MemberDescription_host(member));
  add_assignment(a, member);
  strand_reply_close(a);
}

static void
add_coordinator (strand_reply *a,
                 const rd_kafka_ConsumerGroupDescription_t *group) {
  const rd_kafka_Node_t *node = rd_kafka_ConsumerGroupDescription_coordinator(
    group);
  if (node == NULL) return;
  strand_reply_open(a, "coordinator");
  strand_reply_integer(a, "id", rd_kafka_Node_id(node));
  strand_reply_text(a, "host", rd_kafka_Node_host(node));
  strand_reply_integer(a, "port", rd_kafka_Node_port(node));
  strand_reply_close(a);
}

static void add_members (strand_reply *a,
                         const rd_kafka_ConsumerGroupDescription_t *group) {
  size_t count = rd_kafka_ConsumerGroupDescription_member_count(group);
  strand_reply_open(a, "members");
  for (size_t i = 0; i < count; i++)
    add_member(a, rd_kafka_ConsumerGroupDescription_member(group, i));
  strand_reply_close(a);
}

static void add_group (strand_reply *a,
                       const rd_kafka_ConsumerGroupDescription_t *group) {
  const char *assignor = rd_kafka_ConsumerGroupDescription_partition_assignor(
    group);
  strand_reply_open(a, NULL);
  strand_reply_text(a, "group",
                    rd_kafka_ConsumerGroupDescription_group_id(group));
  strand_reply_text(a, "state",
                    rd_kafka_consumer_group_state_name(
                      rd_kafka_ConsumerGroupDescription_state(group)));
  strand_reply_flag(
    a, "simple",
    rd_kafka_ConsumerGroupDescription_is_simple_consumer_group(group));
  if (assignor != NULL && assignor[0] != '\0')
    strand_reply_text(a, "assignor", assignor);
  add_coordinator(a, group);
  add_members(a, group);
  add_error(a, rd_kafka_ConsumerGroupDescription_error(group));
  strand_reply_close(a);
}

/* False and a failure: the coordinator of one moves. */
static bool is_settled (const rd_kafka_ConsumerGroupDescription_t *group,
                        strand_failure *failure) {
  const rd_kafka_error_t *error = rd_kafka_ConsumerGroupDescription_error(
    group);
  rd_kafka_resp_err_t err = error != NULL ? rd_kafka_error_code(error)
                                          : RD_KAFKA_RESP_ERR_NO_ERROR;
  if (strand_error_kind_of(err) != STRAND_ERROR_COORDINATOR) return true;
  strand_fail_kafka(failure, err, what);
  return false;
}

static bool add_groups (strand_reply *a, rd_kafka_event_t *event,
                        strand_failure *failure) {
  size_t count;
  const rd_kafka_ConsumerGroupDescription_t **groups =
    rd_kafka_DescribeConsumerGroups_result_groups(
      rd_kafka_event_DescribeConsumerGroups_result(event), &count);
  for (size_t i = 0; i < count; i++)
    if (!is_settled(groups[i], failure)) return false;
  strand_reply_open(a, NULL);
  for (size_t i = 0; i < count; i++) add_group(a, groups[i]);
  strand_reply_close(a);
  return true;
}

/* librdkafka takes an array that it does not change. */
static bool ask (strand_admin_client *c, const char *const *groups,
                 size_t count, strand_failure *failure) {
  rd_kafka_AdminOptions_t *options;
  const char **list = calloc(count, sizeof(*list));
  if (list == NULL) return strand_admin_no_memory(failure);
  options = strand_admin_client_request(
    c, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS, STRAND_ADMIN_REQUEST_MS,
    failure);
  for (size_t i = 0; i < count; i++) list[i] = groups[i];
  if (options != NULL) {
    rd_kafka_DescribeConsumerGroups(c->client->handle, list, count, options,
                                    c->answers);
    rd_kafka_AdminOptions_destroy(options);
  }
  free(list);
  return options != NULL;
}

/* Asked once. False and a failure also when a coordinator moves. */
static bool describe_once (strand_admin_client *c, const char *const *groups,
                           size_t count, double deadline, strand_reply *reply,
                           strand_failure *failure) {
  rd_kafka_event_t *event;
  bool ok;
  if (!ask(c, groups, count, failure)) return false;
  event = strand_admin_client_wait_first(c, deadline, what, failure);
  if (event == NULL) return false;
  ok = add_groups(reply, event, failure);
  rd_kafka_event_destroy(event);
  return ok && strand_reply_complete(reply, failure);
}

bool strand_admin_groups_describe (strand_admin_client *c,
                                   const char *const *groups, size_t count,
                                   double deadline, strand_reply *reply,
                                   strand_failure *failure) {
  bool ok;
  while (!(ok = describe_once(c, groups, count, deadline, reply, failure))
         && strand_admin_client_again(failure, deadline))
    strand_reply_free(reply);
  return ok;
}
