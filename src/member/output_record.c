/*
** output_record.c - see output_record.h
*/
#include "member/output_record.h"

#include <stdio.h>
#include <string.h>

strand_outgoing strand_output_record (strand_output *output) {
  return (strand_outgoing){
    .topic = strand_output_topic(output),
    .key = output->has_key ? strand_output_key(output) : NULL,
    .key_length = output->key_length,
    .value = output->has_value ? strand_output_value(output) : NULL,
    .value_length = output->value_length,
    .timestamp_ms = output->timestamp_ms,
    .partition = output->partition < 0 ? RD_KAFKA_PARTITION_UA
                                       : output->partition,
  };
}

rd_kafka_headers_t *strand_output_record_headers (strand_output *output) {
  const char *packed = strand_output_headers(output);
  rd_kafka_headers_t *headers;
  uint32_t at = 0;
  strand_header h;
  if (output->headers_length == 0) return NULL;
  headers = rd_kafka_headers_new(8);
  while (strand_header_next(packed, output->headers_length, &at, &h)) {
    rd_kafka_header_add(headers, h.name, (ssize_t)h.name_length, h.value,
                        (ssize_t)h.value_length);
  }
  return headers;
}

strand_err strand_output_record_refused (strand_engine *e, strand_staged *s,
                                         int64_t now_us) {
  char reason[400]; /* all of it is ASCII */
  snprintf(reason, sizeof(reason), "output to topic '%s' refused: %s",
           strand_output_topic(s->refused),
           rd_kafka_err2str((rd_kafka_resp_err_t)s->err));
  return strand_engine_output_refused(e, &s->record, reason, strlen(reason),
                                      now_us);
}
