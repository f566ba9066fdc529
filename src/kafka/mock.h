/*
** mock.h - librdkafka's in-process cluster, behind range checks
**
** For a first try without a broker, for the demo, and for specs. The API is
** outside librdkafka's promises: its symbols are looked up at run time, and
** here is the only place that knows them. A wrong broker id, or an API that
** the mock does not speak, aborts the process in there; nothing passes that
** was not checked.
**
** What it is not: 5 MiB and 100,000 message sets for each partition, the
** oldest dropped; nothing outlives the process; no CreateTopics; and it
** proves nothing about transactions, fencing or the size of metadata.
**
** Thread: lua (clients on any thread use it through their sockets).
*/
#ifndef STRAND_MOCK_H
#define STRAND_MOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "kafka/log.h"

#define STRAND_MOCK_BROKERS_MAX 16
#define STRAND_MOCK_PARTITIONS_MAX 10000
#define STRAND_MOCK_ERRORS_MAX 10000
#define STRAND_MOCK_RTT_MAX 3600.0
#define STRAND_MOCK_ALL 0 /* every broker; their ids begin with 1 */

typedef struct strand_mock strand_mock;

/* 'log' is borrowed until the mock is closed; NULL: warnings go to stderr.
** NULL and a failure: this librdkafka has no mock, or what the cluster needs
** is not there; librdkafka would end the process then, so it is looked for. */
strand_mock *strand_mock_open (int brokers, strand_log *log,
                               strand_failure *failure);

/* Accepts NULL. */
void strand_mock_close (strand_mock *mock);

/* Is this what a mock names its cluster? */
bool strand_mock_is_id (const char *cluster_id);

/* Borrowed until the mock is closed. */
const char *strand_mock_bootstrap (const strand_mock *mock);

/* All of these: false and a failure, or true. */

bool strand_mock_create_topic (strand_mock *mock, const char *topic,
                               int64_t partitions, strand_failure *failure);

/* The same state twice is no failure. Leaders and coordinators stay. */
bool strand_mock_set_up (strand_mock *mock, int64_t broker, bool up,
                         strand_failure *failure);

bool strand_mock_set_rtt (strand_mock *mock, int64_t broker, double seconds,
                          strand_failure *failure);

/* The next 'count' requests of this kind fail with 'code', on any broker:
** names of Kafka's requests ("OffsetCommit") and of Kafka's and librdkafka's
** errors, with or without its underscore. "TRANSPORT" closes the connection
** without handling the request; "NO_ERROR" lets one pass. */
bool strand_mock_fail (strand_mock *mock, const char *request,
                       const char *code, int64_t count,
                       strand_failure *failure);

/* 'broker' -1: no leader. Only for topics that were created here. */
bool strand_mock_set_leader (strand_mock *mock, const char *topic,
                             int64_t partition, int64_t broker,
                             strand_failure *failure);

bool strand_mock_set_coordinator (strand_mock *mock, const char *group,
                                  int64_t broker, strand_failure *failure);

#endif
