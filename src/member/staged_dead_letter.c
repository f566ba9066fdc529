/*
** staged_dead_letter.c - see staged_dead_letter.h
*/
#include "member/staged_dead_letter.h"

#include "member/packed_headers.h"

static strand_output lengths_of (const strand_dead_letters_config *c,
                                 const strand_partition *p,
                                 const strand_record *r,
                                 strand_dead_letter_cut cut) {
  bool value = r->flags & STRAND_RECORD_VALUE && cut != STRAND_CUT_VALUE;
  return (strand_output){
    .partition = c->same_partition ? strand_partition_index(p) : -1,
    .timestamp_ms = r->timestamp_type != STRAND_TIMESTAMP_NONE
                      ? r->timestamp_ms
                      : 0,
    .topic_length = (uint32_t)strlen(c->topic),
    .has_key = (r->flags & STRAND_RECORD_KEY) != 0,
    .has_value = value,
    .key_length = r->flags & STRAND_RECORD_KEY ? r->key_length : 0,
    .value_length = value ? r->value_length : 0,
  };
}

static void write (strand_output *o, const strand_dead_letters_config *c,
                   const strand_record *r, const rd_kafka_headers_t *headers) {
  memcpy(o->bytes, c->topic, o->topic_length + 1);
  if (o->key_length > 0)
    memcpy(strand_output_key(o), strand_record_key(r), o->key_length);
  if (o->value_length > 0)
    memcpy(strand_output_value(o), strand_record_value(r), o->value_length);
  strand_packed_headers(headers, strand_output_headers(o));
}

bool strand_staged_dead_letter (strand_staged *staged,
                                const strand_dead_letters_config *c,
                                const char *group, strand_dead_letter_cut cut,
                                const strand_time *time) {
  const strand_record *r = staged->record;
  strand_output lengths = lengths_of(c, strand_record_partition(r), r, cut),
                *o;
  rd_kafka_headers_t *headers = strand_dead_letter_headers(c, group, r, cut,
                                                           time);
  lengths.headers_length = (uint32_t)strand_packed_headers(headers, NULL);
  o = strand_staged_add(&staged, staged->staging, &lengths);
  if (o != NULL) write(o, c, r, headers);
  rd_kafka_headers_destroy(headers);
  return o != NULL;
}

bool strand_staged_dead_letter_cut (strand_staged *staged,
                                    const strand_outbox *outbox) {
  strand_dead_letter_cut cut = (strand_dead_letter_cut)staged->index + 1;
  if (cut > STRAND_CUT_VALUE
      || (cut == STRAND_CUT_VALUE
          && (!outbox->config->allow_value_drop
              || staged->record->value_length == 0)))
    return false;
  if (!strand_staged_dead_letter(staged, outbox->config, outbox->group, cut,
                                 &outbox->owner->consumer->time))
    return false;
  strand_staged_drop_first(staged);
  staged->index = cut;
  return true;
}
