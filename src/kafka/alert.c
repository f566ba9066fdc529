/*
** alert.c - see alert.h
*/
#include "kafka/alert.h"

#include <stdio.h>
#include <string.h>

#define TELL_FIRST_US 10000000
#define TELL_MOST_US 300000000

void strand_alert_begin (strand_alert *t, int64_t now_us,
                         int64_t patience_us) {
  if (t->since_us != 0) return;
  t->since_us = now_us > 0 ? now_us : 1;
  t->tell_us = now_us + patience_us;
  t->wait_us = TELL_FIRST_US;
}

bool strand_alert_is_due (const strand_alert *t, int64_t now_us) {
  return t->since_us != 0 && now_us >= t->tell_us;
}

void strand_alert_put_off (strand_alert *t, int64_t now_us) {
  t->tell_us = now_us + t->wait_us;
  t->wait_us = t->wait_us * 2 < TELL_MOST_US ? t->wait_us * 2 : TELL_MOST_US;
}

bool strand_alert_take_due (strand_alert *t, int64_t now_us) {
  if (!strand_alert_is_due(t, now_us)) return false;
  strand_alert_put_off(t, now_us);
  return true;
}

void strand_heard_note (strand_heard *heard, rd_kafka_resp_err_t err,
                        const char *text) {
  bool in_handshake = strstr(text, "in state SSL_HANDSHAKE") != NULL;
  heard->err = err;
  snprintf(heard->text, sizeof(heard->text), "%s%s", text,
           in_handshake ? STRAND_TLS_HINT : "");
  for (char *c = heard->text; *c != '\0'; c++) {
    if ((unsigned char)*c < ' ') *c = ' '; /* OpenSSL's have line breaks */
  }
}
