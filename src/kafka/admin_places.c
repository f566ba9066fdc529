/*
** admin_places.c - see admin_places.h
*/
#include "kafka/admin_places.h"

#include "base/clock.h"
#include "kafka/errors.h"

static const char what_delete[] = "delete_records";

rd_kafka_topic_partition_list_t *
strand_admin_places_list (const strand_admin_place *places, size_t count) {
  rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(
    (int)count);
  for (size_t i = 0; i < count; i++)
    rd_kafka_topic_partition_list_add(list, places[i].topic,
                                      places[i].partition)
      ->offset = places[i].at;
  return list;
}

void strand_admin_places_add (strand_reply *a,
                              const rd_kafka_topic_partition_t *partition) {
  strand_reply_open(a, NULL);
  strand_reply_place(a, partition->topic, partition->partition);
  if (partition->err == RD_KAFKA_RESP_ERR_NO_ERROR && partition->offset >= 0)
    strand_reply_integer(a, "offset", partition->offset);
  strand_reply_error(a, partition->err, NULL);
  strand_reply_close(a);
}

void strand_admin_places_add_all (
  strand_reply *a, const rd_kafka_topic_partition_list_t *list) {
  strand_reply_open(a, NULL);
  for (int i = 0; i < list->cnt; i++)
    strand_admin_places_add(a, &list->elems[i]);
  strand_reply_close(a);
}

/* A leader moves, or has just begun: who it is has been asked for. */
static bool is_moving (const rd_kafka_topic_partition_list_t *list) {
  for (int i = 0; i < list->cnt; i++)
    if (list->elems[i].err == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION)
      return true;
  return false;
}

/*
** Offsets by time
*/

static rd_kafka_resp_err_t find (const strand_admin_client *c,
                                 rd_kafka_topic_partition_list_t *list,
                                 double deadline) {
  return rd_kafka_offsets_for_times(c->client->handle, list,
                                    strand_clock_left_ms(deadline));
}

/* Alone, what a whole list was refused for is this one's, or it is not. */
static rd_kafka_resp_err_t find_one (const strand_admin_client *c,
                                     const strand_admin_place *place,
                                     double deadline,
                                     rd_kafka_topic_partition_t *to) {
  rd_kafka_topic_partition_list_t *one = strand_admin_places_list(place, 1);
  rd_kafka_resp_err_t err = find(c, one, deadline);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) err = one->elems[0].err;
  to->offset = one->elems[0].offset;
  to->err = err;
  rd_kafka_topic_partition_list_destroy(one);
  return err;
}

/* Of a list in which one partition fails librdkafka says only that. */
static rd_kafka_resp_err_t find_each (const strand_admin_client *c,
                                      const strand_admin_place *places,
                                      double deadline,
                                      rd_kafka_topic_partition_list_t *list) {
  for (int i = 0; i < list->cnt; i++) {
    rd_kafka_resp_err_t err = find_one(c, &places[i], deadline,
                                       &list->elems[i]);
    if (strand_error_kind_of(err) == STRAND_ERROR_UNREACHABLE) return err;
  }
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t find_all (const strand_admin_client *c,
                                     const strand_admin_place *places,
                                     double deadline,
                                     rd_kafka_topic_partition_list_t *list) {
  rd_kafka_resp_err_t err = find(c, list, deadline);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR
      || strand_error_kind_of(err) == STRAND_ERROR_UNREACHABLE)
    return err;
  do err = find_each(c, places, deadline, list);
  while (err == RD_KAFKA_RESP_ERR_NO_ERROR && is_moving(list)
         && strand_admin_client_pause(deadline));
  return err;
}

bool strand_admin_places_find (const strand_admin_client *c,
                               const strand_admin_place *places, size_t count,
                               double deadline, strand_reply *reply,
                               strand_failure *failure) {
  rd_kafka_topic_partition_list_t *list = strand_admin_places_list(places,
                                                                   count);
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (count > 0) err = find_all(c, places, deadline, list);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR)
    strand_admin_places_add_all(reply, list);
  rd_kafka_topic_partition_list_destroy(list);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
    return strand_admin_client_fail(c, err, "list_offsets", failure);
  return strand_reply_complete(reply, failure);
}

/*
** Records deleted
*/

static bool ask_delete (strand_admin_client *c,
                        rd_kafka_topic_partition_list_t *list, double deadline,
                        strand_failure *failure) {
  rd_kafka_DeleteRecords_t *request;
  rd_kafka_AdminOptions_t *options = strand_admin_client_request_until(
    c, RD_KAFKA_ADMIN_OP_DELETERECORDS, deadline, failure);
  if (options == NULL) return false;
  request = rd_kafka_DeleteRecords_new(list);
  rd_kafka_DeleteRecords(c->client->handle, &request, 1, options, c->answers);
  rd_kafka_DeleteRecords_destroy(request);
  rd_kafka_AdminOptions_destroy(options);
  return true;
}

static const rd_kafka_topic_partition_list_t *
deleted_of (rd_kafka_event_t *event) {
  return rd_kafka_DeleteRecords_result_offsets(
    rd_kafka_event_DeleteRecords_result(event));
}

/* The event with the answer, the caller's; NULL and a failure. */
static rd_kafka_event_t *delete_all (strand_admin_client *c,
                                     rd_kafka_topic_partition_list_t *list,
                                     double deadline,
                                     strand_failure *failure) {
  rd_kafka_event_t *event;
  while (true) {
    if (!ask_delete(c, list, deadline, failure)) return NULL;
    event = strand_admin_client_wait_until(c, deadline, what_delete, failure);
    if (event == NULL || !is_moving(deleted_of(event))
        || !strand_admin_client_pause(deadline))
      return event;
    rd_kafka_event_destroy(event); /* a second time changes nothing */
  }
}

bool strand_admin_places_delete (strand_admin_client *c,
                                 const strand_admin_place *places,
                                 size_t count, double deadline,
                                 strand_reply *reply,
                                 strand_failure *failure) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_event_t *event;
  if (!strand_admin_client_is_real(c, deadline, what_delete,
                                   "its partitions drop the oldest at 5 MiB",
                                   failure))
    return false;
  list = strand_admin_places_list(places, count);
  event = delete_all(c, list, deadline, failure);
  rd_kafka_topic_partition_list_destroy(list);
  if (event == NULL) return false;
  strand_admin_places_add_all(reply, deleted_of(event));
  rd_kafka_event_destroy(event);
  return strand_reply_complete(reply, failure);
}
