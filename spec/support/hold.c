/*
** hold.c - holds a process before it commits a transaction (LD_PRELOAD)
**
**   STRAND_HOLD=N/FILE   the N-th call of rd_kafka_commit_transaction makes
**                        FILE, and never returns
**
** By then the transaction's offsets are at the brokers: whoever is killed there
** leaves them pending.
*/
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

typedef rd_kafka_error_t *commit_function (rd_kafka_t *client, int ms);

static void hold (const char *sign) {
  FILE *file = fopen(sign, "w");
  if (file != NULL) fclose(file);
  for (;;) pause();
}

rd_kafka_error_t *rd_kafka_commit_transaction (rd_kafka_t *client, int ms) {
  static int calls;
  const char *at = getenv("STRAND_HOLD");
  char *sign = NULL;
  void *next = dlsym(RTLD_NEXT, "rd_kafka_commit_transaction");
  if (at != NULL && strtol(at, &sign, 10) == ++calls) hold(sign + 1);
  return (*(commit_function **)&next)(client, ms);
}
