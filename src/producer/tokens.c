/*
** tokens.c - a producer's tokens, for SASL OAUTHBEARER
*/
#include "producer/producer_own.h"

bool strand_producer_poll_oauth (strand_producer *p) {
  if (!p->oauth_wanted) strand_producer_serve(p);
  return p->oauth_wanted && p->client != NULL;
}

void strand_producer_oauth_answering (strand_producer *p, bool on) {
  p->answering = on;
  strand_producer_tell_waiting(p);
}

/* Before the client is told: what it asks after that is another request. */
bool strand_producer_oauth_set (strand_producer *p, const char *token,
                                int64_t expires_ms, const char *principal,
                                strand_failure *failure) {
  p->oauth_wanted = false;
  if (p->client == NULL) return true;
  return strand_client_token(p->client, token, expires_ms, principal, failure);
}

void strand_producer_oauth_fail (strand_producer *p, const char *message) {
  p->oauth_wanted = false;
  if (p->client == NULL) return;
  rd_kafka_oauthbearer_set_token_failure(p->client->handle, message);
}
