/*
** sending.c - a record into a producer's queue; see producer_own.h
*/
#include <assert.h>
#include <stdlib.h>

#include "producer/producer_own.h"

/* Each record that is out may become a report that waits to be taken. (2) */
static int64_t untaken_most (const strand_producer *p) {
  const strand_delivery_counts *counts = &p->deliveries.counts;
  return counts->outstanding + counts->untaken + p->kept_reports;
}

static bool has_room_now (const strand_producer *p, size_t size) {
  return strand_bounds_has_room(&p->bounds, size)
         && untaken_most(p) < p->bounds.max_records;
}

/* Reports nobody collected still count as queued: collects them, once. */
static bool has_room (strand_producer *p, size_t size) {
  if (has_room_now(p, size)) return true;
  strand_producer_refresh(p);
  return has_room_now(p, size);
}

static bool refuse (strand_producer *p, strand_cached_topic *topic,
                    const strand_outgoing *record, rd_kafka_resp_err_t err,
                    strand_failure *failure) {
  strand_placing_refused(p, topic, err);
  if (!p->transactional || !strand_producer_refused(p, err, failure))
    strand_outgoing_fail(p->client->handle, err, record, &p->limits, failure);
  return false;
}

/* After one was taken: only then is it so. */
static void check_bounds (const strand_producer *p) {
  (void)p;
  assert(untaken_most(p) <= p->bounds.max_records); /* (2) */
}

static bool produce (strand_producer *p, strand_cached_topic *topic,
                     const strand_outgoing *record, void *opaque,
                     strand_failure *failure) {
  rd_kafka_headers_t *headers = strand_outgoing_headers(record);
  rd_kafka_resp_err_t err = strand_placing_produce(p, topic, record, headers,
                                                   opaque);
  if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    if (headers != NULL) rd_kafka_headers_destroy(headers);
    return refuse(p, topic, record, err, failure);
  }
  strand_deliveries_sent(&p->deliveries);
  strand_bounds_add(&p->bounds, strand_outgoing_size(record));
  check_bounds(p);
  strand_unacked_sent(&p->unacked, p->client->calls,
                      strand_placement_label(opaque), p->bounds.records == 1);
  if (strand_flushing_is_hurried(&p->flushing))
    strand_producer_update_flushing(p);
  return true;
}

/* One that somebody waits for, or that has a time of its own. */
static bool produce_pending (strand_producer *p, strand_cached_topic *topic,
                             const strand_outgoing *record, int64_t id,
                             const strand_delivery_ticket *ticket,
                             strand_failure *failure) {
  strand_pending_report *pending = strand_deliveries_expect(&p->deliveries,
                                                            record, id);
  if (pending == NULL) {
    strand_fail(failure, "NO_MEMORY", "out of memory");
    return false;
  }
  pending->ticket = *ticket;
  if (!produce(p, topic, record, pending, failure)) {
    free(strand_pending_reports_end(&p->deliveries.pending, pending));
    return false;
  }
  strand_producer_set_timer(p);
  return true;
}

/* The topic is this client's: none is replaced meanwhile. */
static bool place_and_produce (strand_producer *p,
                               const strand_outgoing *record, int64_t id,
                               strand_failure *failure) {
  strand_delivery_ticket ticket = { .label = strand_unacked_label(
                                      &p->unacked) };
  strand_cached_topic *topic = strand_placing_begin(p, record, &ticket,
                                                    failure);
  if (topic == NULL) return false;
  if (id != 0 || record->timeout_us > 0)
    return produce_pending(p, topic, record, id, &ticket, failure);
  return produce(p, topic, record, strand_placement_opaque(&ticket), failure);
}

bool strand_producer_send (strand_producer *p, const strand_outgoing *record,
                           int64_t id, strand_failure *failure) {
  size_t size = strand_outgoing_size(record);
  bool room;
  assert(p->client != NULL);
  if (strand_recovery_is_due(p)) strand_producer_serve(p);
  room = has_room(p, size); /* first: what it collects may end it all */
  if (!strand_recovery_admits(p, failure)) return false;
  if (p->transactional && !strand_producer_admit(p, failure)) return false;
  if (!room) {
    strand_bounds_fail(&p->bounds, record->topic, size, failure);
    return false;
  }
  if (!place_and_produce(p, record, id, failure)) return false;
  if (strand_placement_has_changed(&p->client->placement))
    strand_producer_refresh(p);
  return true;
}

void strand_producer_set_bounds (strand_producer *p, int64_t max_records,
                                 int64_t max_bytes) {
  if (max_records > 0) p->bounds.max_records = max_records;
  if (max_bytes > 0) p->bounds.max_bytes = max_bytes;
}
