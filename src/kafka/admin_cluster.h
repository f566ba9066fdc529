/*
** admin_cluster.h - brokers, and topics with their partitions
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_CLUSTER_H
#define STRAND_ADMIN_CLUSTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "kafka/admin_reply.h"
#include "kafka/admin_client.h"

/* 'topics' NULL: all. Each that does not exist, and each partition that is not
** well, says so by message and code:
**
**   { cluster_id, controller, brokers = { { id, host, port } },
**     topics = { { topic, partitions = { { partition, leader, replicas, isr,
**     message, code } }, message, code } } }
**
** False and a failure. */
bool strand_admin_cluster_describe (strand_admin_client *c,
                                    const char *const *topics, size_t count,
                                    double deadline, strand_reply *reply,
                                    strand_failure *failure);

/* All of a topic's partitions, added to 'list'. False and a failure. */
bool strand_admin_cluster_partitions (const strand_admin_client *c,
                                      const char *topic, double deadline,
                                      rd_kafka_topic_partition_list_t *list,
                                      strand_failure *failure);

#endif
