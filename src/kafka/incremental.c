/*
** incremental.c - see incremental.h
*/
#include "kafka/incremental.h"

#include "kafka/errors.h"
#include "kafka/symbols.h"

/* The values of rdkafka.h, the same from 2.2 to 2.15. */
#define ADMIN_OP ((rd_kafka_admin_op_t)16)
#define OP_SET 0
#define OP_DELETE 1

typedef struct functions {
  rd_kafka_error_t *(*add)(rd_kafka_ConfigResource_t *, const char *, int,
                           const char *);
  void (*send)(rd_kafka_t *, rd_kafka_ConfigResource_t **, size_t,
               const rd_kafka_AdminOptions_t *, rd_kafka_queue_t *);
  const void *(*result)(rd_kafka_event_t *);
  const rd_kafka_ConfigResource_t **(*resources)(const void *, size_t *);
} functions;

/* Looked up each time: a change of settings is rare. */
static bool find_all (functions *f) {
  return strand_symbol(&f->add,
                       "rd_kafka_ConfigResource_add_incremental_config")
         && strand_symbol(&f->send, "rd_kafka_IncrementalAlterConfigs")
         && strand_symbol(&f->result,
                          "rd_kafka_event_IncrementalAlterConfigs_result")
         && strand_symbol(&f->resources,
                          "rd_kafka_IncrementalAlterConfigs_result_resources");
}

bool strand_incremental_is_there (void) {
  functions f;
  return find_all(&f);
}

bool strand_incremental_add (rd_kafka_ConfigResource_t *r, const char *name,
                             const char *value, strand_failure *failure) {
  functions f;
  rd_kafka_error_t *error;
  find_all(&f);
  error = f.add(r, name, value != NULL ? OP_SET : OP_DELETE, value);
  if (error == NULL) return true;
  strand_fail_kafka(failure, rd_kafka_error_code(error), name);
  rd_kafka_error_destroy(error);
  return false;
}

bool strand_incremental_send (strand_admin_client *c,
                              rd_kafka_ConfigResource_t *r, double deadline,
                              strand_failure *failure) {
  functions f;
  rd_kafka_AdminOptions_t *options = strand_admin_client_request_until(
    c, ADMIN_OP, deadline, failure);
  if (options == NULL) return false;
  find_all(&f);
  f.send(c->client->handle, &r, 1, options, c->answers);
  rd_kafka_AdminOptions_destroy(options);
  return true;
}

const rd_kafka_ConfigResource_t **
strand_incremental_resources (rd_kafka_event_t *event, size_t *count) {
  functions f;
  const void *result;
  *count = 0;
  find_all(&f);
  result = f.result(event);
  return result != NULL ? f.resources(result, count) : NULL;
}
