/*
** errors.h - what an error of librdkafka means
**
** The one list of them. Each error has one kind; what a part does about a
** kind is the part's own.
**
** Thread: any. Nothing is kept.
*/
#ifndef STRAND_ERRORS_H
#define STRAND_ERRORS_H

#include <stdbool.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"

typedef enum strand_error_kind {
  STRAND_ERROR_NONE,
  STRAND_ERROR_MISSING,         /* the topic or the partition does not exist */
  STRAND_ERROR_UNREACHABLE,     /* a broker does not answer; it may be back */
  STRAND_ERROR_COORDINATOR,     /* the group's or the transaction's coordinator
                               is not there yet, or moves */
  STRAND_ERROR_LEADER,          /* a partition has no leader, or it moves */
  STRAND_ERROR_REPLICAS,        /* a partition has too few copies in sync */
  STRAND_ERROR_UNAUTHENTICATED, /* credentials, certificates */
  STRAND_ERROR_UNAUTHORIZED,    /* who we are may not do this */
  STRAND_ERROR_GROUP,       /* the group does not take a member like this */
  STRAND_ERROR_LEFT_BEHIND, /* the group has gone on without this member */
  STRAND_ERROR_METADATA_TOO_LARGE, /* of a commit */
  STRAND_ERROR_TOO_LARGE,          /* the record */
  STRAND_ERROR_INVALID,            /* the record, however often it is sent */
  STRAND_ERROR_FULL,               /* a queue of librdkafka */
  STRAND_ERROR_PURGED,             /* the record: by our own purge */
  STRAND_ERROR_FATAL,              /* the client: see rd_kafka_fatal_error */
  STRAND_ERROR_PASSING,            /* nothing is wrong; the same again works */
  STRAND_ERROR_OTHER
} strand_error_kind;

strand_error_kind strand_error_kind_of (rd_kafka_resp_err_t err);

/* Takes 'error': its code. NULL: there is none. */
rd_kafka_resp_err_t strand_error_take (rd_kafka_error_t *error);

/* Of a request as a whole: it was not carried out, or nobody knows, and the
** same again may work. Nothing is said of a part of it. */
bool strand_error_is_later (rd_kafka_resp_err_t err);

/* However often the record is sent, the answer stays the same. */
bool strand_error_is_final (rd_kafka_resp_err_t err);
/* The answer to a question for a topic that is not there; a name that none may
** have counts as one. */
bool strand_error_is_no_topic (rd_kafka_resp_err_t err);

/* librdkafka's name of an error without its underscore: "TIMED_OUT". Returns
** 'buf'. */
const char *strand_code_of (rd_kafka_resp_err_t err, char *buf, size_t size);

/* "'what': text of the error", with its code. */
void strand_fail_kafka (strand_failure *failure, rd_kafka_resp_err_t err,
                        const char *what);

#endif
