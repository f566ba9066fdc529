/*
** leaders.h - what keeps partitions from being read or written
**
** Thread: helper, or that of calls.h. These wait, so neither the owner
** nor lua comes here; but for the last two: any.
*/
#ifndef STRAND_LEADERS_H
#define STRAND_LEADERS_H

#include <stdatomic.h>

#include <librdkafka/rdkafka.h>

/* Of how many partitions the copies are looked at. */
#define STRAND_STALLED_MAX 1024

/* What keeps each one's leader from answering becomes its error:
** __IN_PROGRESS when that is not known. Ends soon once 'hurried' is set. */
rd_kafka_resp_err_t strand_leaders_ask (rd_kafka_t *client,
                                        rd_kafka_topic_partition_list_t *list,
                                        const atomic_bool *hurried);

/* Of all topics that the client has sent to: the partitions whose leader is
** away, or whose copies are not all in sync, with NOT_ENOUGH_REPLICAS. None:
** every leader answers; __IN_PROGRESS or __DESTROY: that is not known. Of a
** failure '*stalled' is NULL; else the caller's. */
rd_kafka_resp_err_t
strand_leaders_stalled (rd_kafka_t *client, const atomic_bool *hurried,
                        rd_kafka_topic_partition_list_t **stalled);

/* How many copies of such a partition are in sync, and how many there are. */
int strand_leaders_in_sync (const rd_kafka_topic_partition_t *p);
int strand_leaders_copies (const rd_kafka_topic_partition_t *p);

#endif
