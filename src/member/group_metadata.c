/*
** group_metadata.c - see group_metadata.h
*/
#include "member/group_metadata.h"

#define MAGIC "CGMDv2:" /* librdkafka's own, before the generation */

static bool has_id (rd_kafka_t *client) {
  char *id = rd_kafka_memberid(client);
  bool has = id != NULL && id[0] != '\0';
  if (id != NULL) rd_kafka_mem_free(client, id);
  return has;
}

/* -1 of one that has left. Not known, where librdkafka writes it otherwise:
** then the group knows. */
static bool
has_generation (const rd_kafka_consumer_group_metadata_t *metadata) {
  const size_t at = sizeof(MAGIC) - 1;
  const void *bytes = NULL;
  size_t size = 0;
  int32_t generation = 0;
  rd_kafka_error_t *error = rd_kafka_consumer_group_metadata_write(
    metadata, (void **)(uintptr_t)&bytes, &size);
  if (error != NULL) {
    rd_kafka_error_destroy(error);
    return true;
  }
  if (size >= at + sizeof(generation) && memcmp(bytes, MAGIC, at) == 0)
    memcpy(&generation, (const char *)bytes + at, sizeof(generation));
  rd_kafka_mem_free(NULL, (void *)(uintptr_t)bytes);
  return generation >= 0;
}

rd_kafka_consumer_group_metadata_t *
strand_group_metadata (const strand_owner *owner) {
  rd_kafka_consumer_group_metadata_t *metadata =
    rd_kafka_consumer_group_metadata(owner->client);
  if (metadata == NULL) return NULL;
  if (has_id(owner->client) && has_generation(metadata)) return metadata;
  rd_kafka_consumer_group_metadata_destroy(metadata);
  return NULL;
}
