/*
** client.c - see client.h
*/
#include "kafka/client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/system.h"
#include "base/thread.h"
#include "kafka/conf.h"

static void client_free (strand_client *client) {
  strand_placement_free(&client->placement);
  strand_condition_free(&client->changed);
  strand_lock_free(&client->lock);
  strand_lock_free(&client->cause.lock);
  free(client);
}

static strand_client *no_memory (strand_failure *failure) {
  strand_fail(failure, "NO_MEMORY", "memory ran out");
  return NULL;
}

strand_client *strand_client_new (strand_log *log, int fd,
                                  strand_failure *failure) {
  strand_client *client = calloc(1, sizeof(*client));
  if (client == NULL) return no_memory(failure);
  if (!strand_condition_init(&client->changed)) {
    free(client);
    return no_memory(failure);
  }
  strand_lock_init(&client->lock, STRAND_RANK_LEAF);
  strand_lock_init(&client->cause.lock, STRAND_RANK_LEAF);
  client->wake_fd = fd >= 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
  if (client->wake_fd < 0 && fd >= 0) {
    strand_fail_descriptor(failure, "a client's eventfd", errno);
    client_free(client);
    return NULL;
  }
  client->opaque.log = strand_log_keep(log);
  client->opaque.cause = &client->cause;
  return client;
}

bool strand_client_open (strand_client *client, rd_kafka_type_t kind,
                         rd_kafka_conf_t *conf, int events,
                         strand_failure *failure) {
  static const uint64_t one = 1;
  rd_kafka_conf_set_opaque(conf, &client->opaque);
  rd_kafka_conf_set_events(conf, events);
  client->handle = strand_conf_open(kind, conf, failure);
  if (client->handle == NULL) return false;
  client->queue = rd_kafka_queue_get_main(client->handle);
  if (client->wake_fd >= 0)
    rd_kafka_queue_io_event_enable(client->queue, client->wake_fd, &one,
                                   sizeof(one));
  client->calls = strand_calls_new(client->handle, client->wake_fd,
                                   &client->placement);
  if (client->calls != NULL) return true;
  no_memory(failure);
  return false;
}

bool strand_client_open_transactions (strand_client *client) {
  client->transaction = strand_transaction_calls_new(client->handle,
                                                     client->wake_fd);
  return client->transaction != NULL;
}

bool strand_client_token (strand_client *client, const char *token,
                          int64_t expires_ms, const char *principal,
                          strand_failure *failure) {
  char error[256] = "";
  if (rd_kafka_oauthbearer_set_token(client->handle, token, expires_ms,
                                     principal, NULL, 0, error, sizeof(error))
      == RD_KAFKA_RESP_ERR_NO_ERROR)
    return true;
  strand_fail(failure, "OAUTH", "the token was refused: %s", error);
  return false;
}

/* Every step may wait: for one of its calls, for librdkafka's threads. */
static void destroy (strand_client *client) {
  strand_transaction_calls_free(client->transaction);
  strand_calls_free(client->calls);
  if (client->queue != NULL) {
    rd_kafka_queue_io_event_enable(client->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(client->queue);
  }
  if (client->handle != NULL) rd_kafka_destroy(client->handle);
  strand_log_release(client->opaque.log);
}

/* It has ended, and that can be seen. */
static void tell_ended (int fd) {
  if (fd < 0) return;
  eventfd_write(fd, 1);
  close(fd);
}

static void *run (void *argument) {
  strand_client *client = argument;
  int fd = client->wake_fd;
  bool abandoned;
  destroy(client);
  strand_lock_take(&client->lock);
  client->ended = true;
  abandoned = client->abandoned;
  pthread_cond_broadcast(&client->changed);
  strand_lock_release(&client->lock);
  tell_ended(fd);
  if (abandoned) client_free(client);
  return NULL;
}

static bool wait_end (strand_client *client, double deadline) {
  bool ended;
  strand_lock_take(&client->lock);
  while (!client->ended
         && strand_lock_wait_until(&client->lock, &client->changed, deadline))
    continue;
  ended = client->ended;
  client->abandoned = !ended;
  strand_lock_release(&client->lock);
  return ended;
}

bool strand_client_end_begin (strand_client *client) {
  if (client->calls != NULL) strand_calls_stop(client->calls);
  if (client->transaction != NULL)
    strand_transaction_calls_stop(client->transaction);
  if (strand_thread_start(&client->ender, run, client)) return true;
  destroy(client); /* no thread to be had: then here, as long as it takes */
  tell_ended(client->wake_fd);
  client_free(client);
  return false;
}

bool strand_client_has_ended (strand_client *client) {
  bool ended;
  strand_lock_take(&client->lock);
  ended = client->ended;
  strand_lock_release(&client->lock);
  return ended;
}

bool strand_client_end_wait (strand_client *client, double deadline) {
  pthread_t thread = client->ender;
  if (!wait_end(client, deadline)) {
    pthread_detach(thread);
    return false;
  }
  pthread_join(thread, NULL);
  client_free(client);
  return true;
}

bool strand_client_end (strand_client *client, double deadline) {
  return !strand_client_end_begin(client)
         || strand_client_end_wait(client, deadline);
}
