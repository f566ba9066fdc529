/*
** joining.c - whether librdkafka joins the group at this moment
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
#include "kafka/member.h"

enum { JOIN_GROUP = 11, HEARTBEAT = 12, LEAVE_GROUP = 13, SYNC_GROUP = 14 };

static void set (strand_member *m, bool joining) {
  bool before = atomic_exchange(&m->joining, joining);
  if (before && !joining) strand_member_wake(m);
}

static rd_kafka_resp_err_t sent (rd_kafka_t *client, int fd,
                                 const char *broker, int32_t id, int16_t key,
                                 int16_t version, int32_t correlation,
                                 size_t size, void *member) {
  (void)client, (void)fd, (void)broker, (void)id;
  (void)version, (void)correlation, (void)size;
  if (key == JOIN_GROUP) set(member, true);
  else if (key == HEARTBEAT || key == LEAVE_GROUP) set(member, false);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t
received (rd_kafka_t *client, int fd, const char *broker, int32_t id,
          int16_t key, int16_t version, int32_t correlation, size_t size,
          int64_t rtt, rd_kafka_resp_err_t err, void *member) {
  (void)client, (void)fd, (void)broker, (void)id;
  (void)version, (void)correlation, (void)size, (void)rtt, (void)err;
  if (key == SYNC_GROUP) set(member, false);
  return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t added (rd_kafka_t *client,
                                  const rd_kafka_conf_t *conf, void *member,
                                  char *error, size_t size) {
  rd_kafka_resp_err_t err;
  (void)conf, (void)error, (void)size;
  err = rd_kafka_interceptor_add_on_request_sent(client, "strand", sent,
                                                 member);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) return err;
  return rd_kafka_interceptor_add_on_response_received(client, "strand",
                                                       received, member);
}

void strand_joining_watch (strand_member *m, rd_kafka_conf_t *conf) {
  rd_kafka_conf_interceptor_add_on_new(conf, "strand", added, m);
}
