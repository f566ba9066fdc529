/*
** topic_name.h - what may be the name of a topic
**
** Kafka's own rule (org.apache.kafka.common.internals.Topic), as in
** lua/strand/topics.lua, which words what is wrong.
**
** Thread: any.
*/
#ifndef STRAND_TOPIC_NAME_H
#define STRAND_TOPIC_NAME_H

#include <stdbool.h>
#include <stddef.h>

bool strand_is_topic_name (const char *name, size_t length);

#endif
