/*
** driver_sent.c - what comes of a driver's records: outputs, dead letters,
** notes, and what is left
*/
#include <stdlib.h>

#include "consumer/driver_own.h"

void strand_driver_drop_dead_letter (strand_driver *d) {
  if (d->dead_letter != NULL)
    strand_shared_unstage(d->owner.consumer, d->dead_letter);
  d->dead_letter = NULL;
}

void strand_driver_take_dead_letter (strand_driver *d) {
  strand_driver_dead_letter *a = d->dead_letters;
  d->dead_letters = a->next;
  if (d->dead_letters == NULL) d->dead_letters_end = &d->dead_letters;
  free(a);
}

/*
** What comes of it
*/

bool strand_driver_next_outputs (strand_driver *d, strand_driver_sent *out) {
  const strand_staged *s = strand_outputs_accept(&d->outputs,
                                                 strand_driver_now_us(d));
  if (s == NULL) return false;
  *out = (strand_driver_sent){ strand_driver_number(
                                 strand_record_partition(s->record)),
                               s->record->offset, s->first };
  return true;
}

static bool write_dead_letter (strand_driver *d, strand_record *record) {
  strand_consumer *c = d->owner.consumer;
  strand_driver_drop_dead_letter(d);
  d->dead_letter = strand_staged_new(&c->staging);
  if (d->dead_letter == NULL) return false;
  d->dead_letter->record = record;
  return strand_staged_dead_letter(d->dead_letter, d->outbox.config, d->group,
                                   STRAND_CUT_NOTHING, &c->time);
}

static strand_err park_returned (strand_driver *d, strand_record *record) {
  char reason[STRAND_REASON_MAX];
  size_t length = strand_dead_letter_excuse(reason, record,
                                            STRAND_DEAD_LETTER_RETURNED);
  return strand_engine_dead_letter_refused(d->owner.engine, record, reason,
                                           length, strand_driver_now_us(d));
}

int strand_driver_next_dead_letter (strand_driver *d,
                                    strand_driver_sent *out) {
  strand_record *record;
  while (d->dead_letters != NULL
         && strand_dead_letter_returns(d->outbox.config, d->group,
                                       d->dead_letters->record)) {
    if (park_returned(d, d->dead_letters->record) != STRAND_OK) return -1;
    strand_driver_take_dead_letter(d);
  }
  if (d->dead_letters == NULL) return 0;
  record = d->dead_letters->record;
  if (!write_dead_letter(d, record)) return -1;
  *out = (strand_driver_sent){ strand_driver_number(
                                 strand_record_partition(record)),
                               record->offset, d->dead_letter->first };
  if (strand_engine_dead_letter_acked(d->owner.engine, record,
                                      strand_driver_now_us(d))
      != STRAND_OK)
    return -1;
  strand_driver_take_dead_letter(d);
  return 1;
}

bool strand_driver_next_note (strand_driver *d, strand_driver_note *out) {
  if (d->note_next == d->note_count) {
    d->note_next = d->note_count = 0;
    return false;
  }
  *out = d->notes[d->note_next++];
  return true;
}

const strand_record *strand_driver_next_left (const strand_driver *d,
                                              size_t partition,
                                              const strand_record *after) {
  return strand_partition_next(d->places[partition].assigned->partition,
                               after);
}

int64_t strand_driver_committed (const strand_driver *d, size_t partition,
                                 const char **metadata) {
  const strand_driver_place *at = &d->places[partition];
  *metadata = at->metadata != NULL ? at->metadata : "";
  return at->committed;
}

void strand_driver_stats (const strand_driver *d, strand_engine_stats *out) {
  strand_engine_stats_read(d->owner.engine, out);
}
