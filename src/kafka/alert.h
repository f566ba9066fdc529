/*
** alert.h - a problem that lasts: when it is told, and told again
**
** Thread: any (whoever has it).
*/
#ifndef STRAND_ALERT_H
#define STRAND_ALERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

/* Partitions that one message names. */
#define STRAND_PARTITIONS_NAMED_MAX 8
#define STRAND_ALERT_PATIENCE_US 10000000

/* A problem that goes on: told at once (or after 'patience'), then again with
** back-off while it lasts. */
typedef struct strand_alert {
  int64_t since_us; /* 0: none */
  int64_t tell_us;  /* when it is told next */
  int64_t wait_us;
} strand_alert;

/* The last error of a problem, as it was heard. */
typedef struct strand_heard {
  rd_kafka_resp_err_t err; /* 0: none was heard */
  char text[256];
} strand_heard;

/* A port without TLS may reset the connection, which is an error of TLS, or
** end it, which is not: a broker that stops does so too. */
#define STRAND_TLS_HINT " (is it a port for TLS?)"

void strand_heard_note (strand_heard *heard, rd_kafka_resp_err_t err,
                        const char *text);

/* It is there, since 'now_us', and told after 'patience_us'. */
void strand_alert_begin (strand_alert *t, int64_t now_us, int64_t patience_us);
/* Is it to be told now? */
bool strand_alert_is_due (const strand_alert *t, int64_t now_us);
/* It is told, or asked for: the next time after the back-off. */
void strand_alert_put_off (strand_alert *t, int64_t now_us);
/* Both: true once each time, and then it is to be told. */
bool strand_alert_take_due (strand_alert *t, int64_t now_us);

#endif
