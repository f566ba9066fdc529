/*
** admin_client.c - see admin_client.h
*/
#include "kafka/admin_client.h"

#include <assert.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "kafka/errors.h"
#include "kafka/mock.h"

#define WAIT_MOST_MS (STRAND_ADMIN_REQUEST_MS - 60000)
#define AGAIN_MS 100
#define LATE_MS 500 /* librdkafka says that a request has timed out */

bool strand_admin_client_open (strand_admin_client *c, rd_kafka_type_t kind,
                               rd_kafka_conf_t *conf, strand_log *log,
                               int events, strand_failure *failure) {
  c->client = strand_client_new(log, -1, failure);
  if (c->client != NULL)
    return strand_client_open(c->client, kind, conf, events, failure);
  rd_kafka_conf_destroy(conf);
  return false;
}

void strand_admin_client_close (strand_admin_client *c, double timeout) {
  if (c->answers != NULL) rd_kafka_queue_destroy(c->answers);
  if (c->client != NULL)
    strand_client_end(c->client, strand_clock_now() + timeout);
  *c = (strand_admin_client){ NULL, NULL };
}

rd_kafka_AdminOptions_t *
strand_admin_client_request (strand_admin_client *c,
                             rd_kafka_admin_op_t operation, int ms,
                             strand_failure *failure) {
  char errstr[256];
  rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(
    c->client->handle, operation);
  if (options == NULL) {
    strand_fail(failure, "UNSUPPORTED_FEATURE",
                "librdkafka %s cannot do "
                "this",
                rd_kafka_version_str());
    return NULL;
  }
  if (c->answers != NULL) rd_kafka_queue_destroy(c->answers);
  c->answers = rd_kafka_queue_new(c->client->handle);
  rd_kafka_AdminOptions_set_request_timeout(options, ms, errstr,
                                            sizeof(errstr));
  if (operation != RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS)
    rd_kafka_AdminOptions_set_operation_timeout(options, ms, errstr,
                                                sizeof(errstr));
  return options;
}

rd_kafka_AdminOptions_t *
strand_admin_client_request_until (strand_admin_client *c,
                                   rd_kafka_admin_op_t operation,
                                   double deadline, strand_failure *failure) {
  int ms = strand_clock_left_ms(deadline);
  if (ms < 1) ms = 1;
  if (ms > STRAND_ADMIN_REQUEST_MS) ms = STRAND_ADMIN_REQUEST_MS;
  return strand_admin_client_request(c, operation, ms, failure);
}

/* A request that was sent is not taken back, and may be carried out. */
static void fail_late (const strand_admin_client *c, const char *what,
                       strand_failure *failure) {
  char cause[sizeof(c->client->cause.text)];
  strand_log_cause_read(&c->client->cause, cause, sizeof(cause));
  strand_fail(failure, "TIMED_OUT", "%s: no broker answered in time%s%s", what,
              cause[0] != '\0' ? ": " : "", cause);
}

rd_kafka_event_t *strand_admin_client_wait (strand_admin_client *c, int ms,
                                            const char *what,
                                            strand_failure *failure) {
  rd_kafka_resp_err_t err;
  rd_kafka_event_t *event = rd_kafka_queue_poll(c->answers, ms);
  if (event == NULL) {
    fail_late(c, what, failure);
    return NULL;
  }
  err = rd_kafka_event_error(event);
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
    strand_log_cause_note(&c->client->cause, ""); /* what failed before */
    return event;
  }
  if (err == RD_KAFKA_RESP_ERR__TIMED_OUT) fail_late(c, what, failure);
  else strand_fail_kafka(failure, err, what);
  rd_kafka_event_destroy(event);
  return NULL;
}

rd_kafka_event_t *strand_admin_client_wait_until (strand_admin_client *c,
                                                  double deadline,
                                                  const char *what,
                                                  strand_failure *failure) {
  return strand_admin_client_wait(c, strand_clock_left_ms(deadline) + LATE_MS,
                                  what, failure);
}

rd_kafka_event_t *strand_admin_client_wait_first (strand_admin_client *c,
                                                  double deadline,
                                                  const char *what,
                                                  strand_failure *failure) {
  int ms = strand_clock_left_ms(deadline);
  return strand_admin_client_wait(c, ms < WAIT_MOST_MS ? ms : WAIT_MOST_MS,
                                  what, failure);
}

bool strand_admin_client_fail (const strand_admin_client *c,
                               rd_kafka_resp_err_t err, const char *what,
                               strand_failure *failure) {
  if (strand_error_kind_of(err) == STRAND_ERROR_UNREACHABLE)
    fail_late(c, what, failure);
  else strand_fail_kafka(failure, err, what);
  return false;
}

static bool coordinator_moves (const char *code) {
  return strcmp(code, "NOT_COORDINATOR") == 0
         || strcmp(code, "COORDINATOR_NOT_AVAILABLE") == 0
         || strcmp(code, "COORDINATOR_LOAD_IN_PROGRESS") == 0;
}

bool strand_admin_client_pause (double deadline) {
  if (strand_clock_now() + AGAIN_MS / 1e3 >= deadline) return false;
  poll(NULL, 0, AGAIN_MS);
  return true;
}

bool strand_admin_client_again (const strand_failure *failure,
                                double deadline) {
  return coordinator_moves(failure->code)
         && strand_admin_client_pause(deadline);
}

bool strand_admin_client_is_real (const strand_admin_client *c,
                                  double deadline, const char *what,
                                  const char *instead,
                                  strand_failure *failure) {
  bool is_mock;
  char *id = rd_kafka_clusterid(c->client->handle,
                                strand_clock_left_ms(deadline));
  if (id == NULL) {
    fail_late(c, what, failure);
    return false;
  }
  is_mock = strand_mock_is_id(id);
  rd_kafka_mem_free(c->client->handle, id);
  if (!is_mock) return true;
  strand_fail(failure, "UNSUPPORTED_FEATURE",
              "%s: the mock cluster cannot; "
              "%s",
              what, instead);
  return false;
}

bool strand_admin_no_memory (strand_failure *failure) {
  strand_fail(failure, "NO_MEMORY", "out of memory");
  return false;
}

void strand_admin_client_check (const strand_admin_client *c) {
  bool open = c->client != NULL && c->client->handle != NULL;
  assert(open || c->answers == NULL);        /* (1) */
  assert(!open || c->client->queue != NULL); /* (2) */
  (void)open;
}
