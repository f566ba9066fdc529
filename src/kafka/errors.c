/*
** errors.c - see errors.h
*/
#include "kafka/errors.h"

#include <ctype.h>

strand_error_kind strand_error_kind_of (rd_kafka_resp_err_t err) {
  switch (err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR: return STRAND_ERROR_NONE;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return STRAND_ERROR_MISSING;
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT: return STRAND_ERROR_UNREACHABLE;
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR__WAIT_COORD: return STRAND_ERROR_COORDINATOR;
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE: return STRAND_ERROR_LEADER;
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
      return STRAND_ERROR_REPLICAS;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
      return STRAND_ERROR_UNAUTHENTICATED;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      return STRAND_ERROR_UNAUTHORIZED;
    case RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT: return STRAND_ERROR_GROUP;
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST: return STRAND_ERROR_LEFT_BEHIND;
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE: /* for its log */
      return STRAND_ERROR_METADATA_TOO_LARGE;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      return STRAND_ERROR_TOO_LARGE;
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR__INVALID_ARG: return STRAND_ERROR_INVALID;
    case RD_KAFKA_RESP_ERR__QUEUE_FULL: return STRAND_ERROR_FULL;
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT: return STRAND_ERROR_PURGED;
    case RD_KAFKA_RESP_ERR__FATAL: return STRAND_ERROR_FATAL;
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__IN_PROGRESS:
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR__DESTROY: return STRAND_ERROR_PASSING;
    default: return STRAND_ERROR_OTHER;
  }
}

bool strand_error_is_later (rd_kafka_resp_err_t err) {
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_UNREACHABLE:
    case STRAND_ERROR_COORDINATOR:
    case STRAND_ERROR_LEFT_BEHIND:
    case STRAND_ERROR_PASSING: return true;
    default: return false;
  }
}

bool strand_error_is_final (rd_kafka_resp_err_t err) {
  switch (strand_error_kind_of(err)) {
    case STRAND_ERROR_UNAUTHORIZED:
    case STRAND_ERROR_TOO_LARGE:
    case STRAND_ERROR_INVALID: return true;
    default: return false;
  }
}

bool strand_error_is_no_topic (rd_kafka_resp_err_t err) {
  return strand_error_kind_of(err) == STRAND_ERROR_MISSING
         || err == RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION;
}

rd_kafka_resp_err_t strand_error_take (rd_kafka_error_t *error) {
  rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR_NO_ERROR;
  if (error == NULL) return err;
  err = rd_kafka_error_code(error);
  rd_kafka_error_destroy(error);
  return err;
}

const char *strand_code_of (rd_kafka_resp_err_t err, char *buf, size_t size) {
  const char *name = rd_kafka_err2name(err);
  size_t at = 0;
  if (*name == '_') name++;
  for (; *name != '\0' && at + 1 < size; name++) {
    unsigned char c = (unsigned char)*name;
    if (isalnum(c) || c == '_') buf[at++] = (char)c; /* "ERR_-42?" */
  }
  buf[at] = '\0';
  return buf;
}

void strand_fail_kafka (strand_failure *failure, rd_kafka_resp_err_t err,
                        const char *what) {
  char code[sizeof(failure->code)];
  strand_fail(failure, strand_code_of(err, code, sizeof(code)), "%s: %s", what,
              rd_kafka_err2str(err));
}
