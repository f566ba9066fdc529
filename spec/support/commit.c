/*
** commit.c - commits any offset with any metadata, for specs of what others
** may have written:
**
**   commit BOOTSTRAP GROUP TOPIC PARTITION OFFSET METADATA
**
** Thread: any.
*/
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static rd_kafka_t *open_client (const char *bootstrap, const char *group) {
  char error[512];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *client;
  rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, NULL, 0);
  rd_kafka_conf_set(conf, "group.id", group, NULL, 0);
  client = rd_kafka_new(RD_KAFKA_CONSUMER, conf, error, sizeof(error));
  if (client == NULL) fprintf(stderr, "commit: %s\n", error);
  return client;
}

int main (int argc, char **argv) {
  rd_kafka_topic_partition_list_t *list;
  rd_kafka_topic_partition_t *p;
  rd_kafka_resp_err_t err;
  rd_kafka_t *client;
  if (argc != 7) return 2;
  client = open_client(argv[1], argv[2]);
  if (client == NULL) return 1;
  list = rd_kafka_topic_partition_list_new(1);
  p = rd_kafka_topic_partition_list_add(list, argv[3], atoi(argv[4]));
  p->offset = atoll(argv[5]);
  p->metadata = strdup(argv[6]);
  p->metadata_size = strlen(argv[6]);
  err = rd_kafka_commit(client, list, 0);
  if (err != 0) fprintf(stderr, "commit: %s\n", rd_kafka_err2str(err));
  rd_kafka_topic_partition_list_destroy(list);
  rd_kafka_destroy(client);
  return err != 0;
}
