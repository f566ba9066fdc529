/*
** group_offsets.c - see group_offsets.h
*/
#include "kafka/group_offsets.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/errors.h"

static const char what[] = "group_offsets";

void strand_group_offsets_free (strand_group_offsets *offsets) {
  size_t i;
  for (i = 0; i < offsets->count; i++) {
    free(offsets->list[i].topic);
    free(offsets->list[i].metadata);
  }
  free(offsets->list);
  offsets->list = NULL;
  offsets->count = 0;
}

/*
** The answer
*/

static bool copy_offset (strand_group_offset *to,
                         const rd_kafka_topic_partition_t *from) {
  to->topic = strdup(from->topic);
  to->partition = from->partition;
  to->offset = from->offset;
  to->metadata_size = from->metadata_size;
  to->metadata = malloc(from->metadata_size + 1);
  if (to->topic == NULL || to->metadata == NULL) return false;
  if (from->metadata_size > 0)
    memcpy(to->metadata, from->metadata, from->metadata_size);
  return true;
}

static bool copy_offsets (strand_group_offsets *offsets,
                          const rd_kafka_topic_partition_list_t *from,
                          strand_failure *failure) {
  char place[300];
  int i;
  offsets->list = calloc((size_t)from->cnt + 1, sizeof(*offsets->list));
  if (offsets->list == NULL) return strand_admin_no_memory(failure);
  for (i = 0; i < from->cnt; i++) {
    const rd_kafka_topic_partition_t *partition = &from->elems[i];
    if (partition->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
      snprintf(place, sizeof(place), "topic '%.249s', partition %d",
               partition->topic, (int)partition->partition);
      strand_fail_kafka(failure, partition->err, place);
      return false;
    }
    if (partition->offset < 0) continue; /* nothing committed */
    offsets->count++;
    if (!copy_offset(&offsets->list[offsets->count - 1], partition))
      return strand_admin_no_memory(failure);
  }
  return true;
}

static bool read_answer (rd_kafka_event_t *event,
                         strand_group_offsets *offsets,
                         strand_failure *failure) {
  size_t count = 0;
  const rd_kafka_group_result_t **groups =
    rd_kafka_ListConsumerGroupOffsets_result_groups(
      rd_kafka_event_ListConsumerGroupOffsets_result(event), &count);
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
  if (partitions == NULL) return true;
  return copy_offsets(offsets, partitions, failure);
}

/*
** The question
*/

static bool ask (strand_admin_client *reader, const char *group,
                 const rd_kafka_topic_partition_list_t *partitions,
                 double deadline, strand_group_offsets *offsets,
                 strand_failure *failure) {
  rd_kafka_ListConsumerGroupOffsets_t *request;
  rd_kafka_event_t *event;
  bool ok;
  rd_kafka_AdminOptions_t *options = strand_admin_client_request(
    reader, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS,
    STRAND_ADMIN_REQUEST_MS, failure);
  if (options == NULL) return false;
  request = rd_kafka_ListConsumerGroupOffsets_new(group, partitions);
  rd_kafka_ListConsumerGroupOffsets(reader->client->handle, &request, 1,
                                    options, reader->answers);
  rd_kafka_ListConsumerGroupOffsets_destroy(request);
  rd_kafka_AdminOptions_destroy(options);
  event = strand_admin_client_wait_first(reader, deadline, what, failure);
  if (event == NULL) return false;
  ok = read_answer(event, offsets, failure);
  rd_kafka_event_destroy(event);
  return ok;
}

static int by_place (const void *a, const void *b) {
  const strand_group_offset *x = a;
  const strand_group_offset *y = b;
  int order = strcmp(x->topic, y->topic);
  if (order != 0) return order;
  return (x->partition > y->partition) - (x->partition < y->partition);
}

bool strand_group_offsets_read (
  strand_admin_client *reader, const char *group,
  const rd_kafka_topic_partition_list_t *partitions, double deadline,
  strand_group_offsets *offsets, strand_failure *failure) {
  bool ok;
  while (!(ok = ask(reader, group, partitions, deadline, offsets, failure))
         && strand_admin_client_again(failure, deadline))
    strand_group_offsets_free(offsets);
  if (!ok) strand_group_offsets_free(offsets);
  else if (offsets->count > 1)
    qsort(offsets->list, offsets->count, sizeof(*offsets->list), by_place);
  return ok;
}
