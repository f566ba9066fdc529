/*
** committed.h - what a group has committed, each partition by itself
**
** rd_kafka_committed has one answer for all that it is asked for: while a
** transaction holds the offset of one of them back there is none. Here each
** partition has its own.
**
** Thread: any. It blocks.
*/
#ifndef STRAND_COMMITTED_H
#define STRAND_COMMITTED_H

#include <stdatomic.h>

#include <librdkafka/rdkafka.h>

/* Of the group that 'client' is of. Each of 'list' gets its offset and its
** metadata, or an error: UNSTABLE_OFFSET_COMMIT where a transaction holds it
** back (but for a client that reads what is not committed). What is returned
** is the error of all of them; once 'hurried' is set the wait ends soon, as
** 'timeout_ms' ends it: with _TIMED_OUT. To be asked where the group's
** coordinator is there. */
rd_kafka_resp_err_t
strand_committed_read (rd_kafka_t *client,
                       rd_kafka_topic_partition_list_t *list, int timeout_ms,
                       const atomic_bool *hurried);

#endif
