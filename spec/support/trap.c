/*
** trap.c - stops a process on its way into a call of librdkafka
**
** A library that is loaded before strand's (package.loadlib(PATH, "*")), so
** that strand's calls come here first. Where the file TRAPS/NAME is, the next
** call of that name makes it TRAPS/NAME.caught, and waits until somebody
** removes that: 10 s at most. What else happens meanwhile is up to who set the
** trap: a broker may die there, or the process.
**
**   offsets   commits offsets, in a transaction or without one
**   commit    commits a transaction
**
** TRAPS is a folder, by -D.
*/
#define _GNU_SOURCE
#include <librdkafka/rdkafka.h>

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LOOK_US 1000
#define LOOKS 10000

static void *real (const char *name) {
  void *library = dlopen("librdkafka.so.1", RTLD_LAZY | RTLD_NOLOAD);
  void *function = library != NULL ? dlsym(library, name) : NULL;
  if (function == NULL) {
    fprintf(stderr, "trap: no %s: %s\n", name, dlerror());
    abort();
  }
  return function;
}

static void pass (const char *name) {
  char set[512], caught[512];
  snprintf(set, sizeof(set), "%s/%s", TRAPS, name);
  snprintf(caught, sizeof(caught), "%s/%s.caught", TRAPS, name);
  if (rename(set, caught) != 0) return;
  for (int i = 0; i < LOOKS && access(caught, F_OK) == 0; i++) usleep(LOOK_US);
}

rd_kafka_resp_err_t
rd_kafka_commit_queue (rd_kafka_t *rk,
                       const rd_kafka_topic_partition_list_t *offsets,
                       rd_kafka_queue_t *queue,
                       void (*cb)(rd_kafka_t *, rd_kafka_resp_err_t,
                                  rd_kafka_topic_partition_list_t *, void *),
                       void *opaque) {
  __typeof__(&rd_kafka_commit_queue) call = real("rd_kafka_commit_queue");
  pass("offsets");
  return call(rk, offsets, queue, cb, opaque);
}

rd_kafka_error_t *rd_kafka_send_offsets_to_transaction (
  rd_kafka_t *rk, const rd_kafka_topic_partition_list_t *offsets,
  const rd_kafka_consumer_group_metadata_t *group, int timeout_ms) {
  __typeof__(&rd_kafka_send_offsets_to_transaction) call = real(
    "rd_kafka_send_offsets_to_transaction");
  pass("offsets");
  return call(rk, offsets, group, timeout_ms);
}

rd_kafka_error_t *rd_kafka_commit_transaction (rd_kafka_t *rk,
                                               int timeout_ms) {
  __typeof__(&rd_kafka_commit_transaction) call = real(
    "rd_kafka_commit_transaction");
  pass("commit");
  return call(rk, timeout_ms);
}
