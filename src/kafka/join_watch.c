/*
** join_watch.c - whether librdkafka joins the group at this moment
**
**   JoinGroup is sent -> no commit -> SyncGroup is answered
**
** A broker reads nothing more of a connection whose JoinGroup it has not
** answered, and then it is a new generation: a commit behind it is answered
** with ILLEGAL_GENERATION. Before 2.10 librdkafka then forgets the
** generation that it has just joined, and a cooperative member loses all
** its partitions. Its owner cannot know: a cooperative member joins without
** an event. So the requests themselves are looked at.
**
** A commit that librdkafka was given just before, and sends behind JoinGroup,
** is not kept from it: that assignment is lost, and what was not committed
** comes again.
**
** Heartbeats are sent only by who has joined: should an answer never come,
** the next of them ends it too.
**
** Thread: the coordinator's, of librdkafka. rd_kafka_destroy waits for it,
** and the member is freed after that.
*/
#include "kafka/join_watch.h"

enum { JOIN_GROUP = 11, HEARTBEAT = 12, LEAVE_GROUP = 13, SYNC_GROUP = 14 };

static void set (strand_join_watch *w, bool joining) {
  bool before = atomic_exchange(&w->joining, joining);
  if (before && !joining) strand_waker_wake(w->waker);
}

static rd_kafka_resp_err_t sent (rd_kafka_t *client, int fd,
                                 const char *broker, int32_t id, int16_t key,
                                 int16_t version, int32_t correlation,
                                 size_t size, void *watch) {
  (void)client, (void)fd, (void)broker, (void)id;
  (void)version, (void)correlation, (void)size;
  if (key == JOIN_GROUP) set(watch, true);
  else if (key == HEARTBEAT || key == LEAVE_GROUP) set(watch, false);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
received (rd_kafka_t *client, int fd, const char *broker, int32_t id,
          int16_t key, int16_t version, int32_t correlation, size_t size,
          int64_t rtt, rd_kafka_resp_err_t err, void *watch) {
  (void)client, (void)fd, (void)broker, (void)id;
  (void)version, (void)correlation, (void)size, (void)rtt, (void)err;
  if (key == SYNC_GROUP) set(watch, false);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t added (rd_kafka_t *client,
                                  const rd_kafka_conf_t *conf, void *watch,
                                  char *error, size_t size) {
  rd_kafka_resp_err_t err;
  (void)conf, (void)error, (void)size;
  err = rd_kafka_interceptor_add_on_request_sent(client, "strand", sent,
                                                 watch);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  return rd_kafka_interceptor_add_on_response_received(client, "strand",
                                                       received, watch);
}

void strand_join_watch_add (strand_join_watch *w, strand_waker *waker,
                            rd_kafka_conf_t *conf) {
  w->waker = waker;
  rd_kafka_conf_interceptor_add_on_new(conf, "strand", added, w);
}

bool strand_join_watch_joins (const strand_join_watch *w) {
  return atomic_load(&w->joining);
}
