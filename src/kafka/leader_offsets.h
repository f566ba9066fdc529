/*
** leader_offsets.h - offsets by time, start and end, of partitions' leaders
**
** rd_kafka_offsets_for_times cannot be left before its limit, and from 2.3 on
** librdkafka ends the connection of a request that it gives up: who asks with
** little time, and again with more, never hears a broker that takes longer
** than the first of these. From that version on there is a question that can
** be left, and whose request goes on.
**
** Thread: any. It blocks.
*/
#ifndef STRAND_LEADER_OFFSETS_H
#define STRAND_LEADER_OFFSETS_H

#include <stdatomic.h>
#include <stdbool.h>

#include <librdkafka/rdkafka.h>

/* Does the librdkafka that is loaded have such a question? */
bool strand_leader_offsets_can_be_left (void);
/* In 'list' are times, or RD_KAFKA_OFFSET_BEGINNING or _END: each gets its
** offset and its error. What is returned is the error of all of them. Where it
** can be left it asks again while a leader moves or its broker is away; once
** 'hurried' is set the wait ends soon, as 'timeout_ms' ends it: with
** _TIMED_OUT, or the last error. */
rd_kafka_resp_err_t
strand_leader_offsets_read (rd_kafka_t *client,
                            rd_kafka_topic_partition_list_t *list,
                            int timeout_ms, const atomic_bool *hurried);

#endif
