/*
** parked.c - parked records: listed in pages, and resolved
**
** A page is a copy, made by the owner, so that who looks at it needs no lock
** and may take its time; it is bounded, so that neither the owner nor memory
** pays for 64 MiB of parked records at once. Pages are asked for by place
** (topic, partition, offset), not by number: what comes and goes meanwhile
** moves no other record.
*/
#include "member/parked.h"

#include <stdlib.h>

#include "base/clock.h"

static strand_record *copy_record (const strand_record *r) {
  size_t size = strand_record_size(strand_record_length(r));
  strand_record *copy = malloc(size);
  if (copy == NULL) return NULL;
  memcpy(copy, r, offsetof(strand_record, bytes) + strand_record_length(r));
  copy->shard = NULL;
  copy->behind = NULL;
  copy->in.past = NULL;
  copy->attempt = r->attempt - 1; /* it counts the next one already */
  return copy;
}

static strand_parked *copy_parked (const strand_record *r, int64_t now_us) {
  const strand_partition *p = strand_record_partition(r);
  const strand_past *past = r->in.past;
  double wall = strand_clock_wall() - (double)now_us / 1e6;
  strand_parked *copy = calloc(1, sizeof(*copy));
  if (copy == NULL) return NULL;
  copy->record = copy_record(r);
  if (copy->record == NULL) {
    free(copy);
    return NULL;
  }
  snprintf(copy->topic, sizeof(copy->topic), "%s", strand_partition_topic(p));
  copy->partition = strand_partition_index(p);
  copy->first_failure = wall + (double)past->first_us / 1e6;
  copy->last_failure = wall + (double)past->last_us / 1e6;
  copy->since = copy->last_failure;
  copy->reason_length = past->length;
  memcpy(copy->reason, past->text, past->length);
  return copy;
}

static int compare (const strand_partition *p, const char *topic,
                    int32_t index) {
  int order = strcmp(strand_partition_topic(p), topic);
  int32_t own = strand_partition_index(p);
  return order != 0 ? order : own < index ? -1 : own > index;
}

/* The first record of the first partition from the request's place on. */
static const strand_record *first_from (const strand_parking *k,
                                        const strand_parked_request *r) {
  const strand_record *found = NULL;
  for (size_t i = 0; i < k->assignment->count; i++) {
    const strand_partition *p = k->assignment->partitions[i]->partition, *best;
    const strand_record *first;
    int order;
    if (p == NULL) continue;
    order = compare(p, r->topic, r->partition);
    best = found == NULL ? NULL : strand_record_partition(found);
    if (order < 0
        || (best != NULL
            && compare(p, strand_partition_topic(best),
                       strand_partition_index(best))
                 > 0)) {
      continue;
    }
    first = strand_partition_parked(p, order == 0 ? r->offset : 0);
    if (first != NULL) found = first;
  }
  return found;
}

typedef struct page {
  strand_parked **tail;
  size_t count;
  size_t bytes;
} page;

static bool has_room (const page *to) {
  return to->count < STRAND_PARKED_PAGE_RECORDS
         && to->bytes < STRAND_PARKED_PAGE_BYTES;
}

/* Those of one partition. False when memory runs out. */
static bool add_records (page *to, strand_parked_request *request,
                         const strand_record *r, int64_t now_us) {
  const strand_partition *p = strand_record_partition(r);
  snprintf(request->topic, sizeof(request->topic), "%s",
           strand_partition_topic(p));
  request->partition = strand_partition_index(p);
  request->offset = INT64_MAX; /* all of it was seen, unless: */
  for (; r != NULL; r = strand_partition_next(p, r)) {
    if (strcmp(strand_record_state(r), "parked") != 0) continue;
    if (!has_room(to)) {
      request->offset = r->offset;
      return true;
    }
    *to->tail = copy_parked(r, now_us);
    if (*to->tail == NULL) return false;
    to->tail = &(*to->tail)->next;
    to->count++;
    to->bytes += strand_record_length(r);
  }
  return true;
}

static void answer_page (const strand_parking *k, strand_parked_request *r,
                         int64_t now_us) {
  page to = { .tail = &r->ticket->parked };
  const strand_record *first;
  strand_failure failure;
  while (has_room(&to) && (first = first_from(k, r)) != NULL) {
    if (add_records(&to, r, first, now_us)) continue;
    strand_fail(&failure, "NO_MEMORY", "memory ran out");
    strand_shared_answer(k->owner->consumer, r->ticket, &failure);
    return;
  }
  strand_shared_answer(k->owner->consumer, r->ticket, NULL);
}

static const char *resolve (const strand_parking *k,
                            const strand_parked_request *r) {
  strand_assigned *assigned = strand_assignment_find(k->assignment, r->topic,
                                                     r->partition);
  strand_err err;
  if (assigned == NULL || assigned->leaving) return "NOT_ASSIGNED";
  strand_snapshot_change(k->snapshot);
  err = strand_engine_resolve(k->owner->engine, assigned->partition, r->offset,
                              r->resolution);
  if (err == STRAND_ENOTOPEN) return "NOT_PARKED";
  return err == STRAND_OK ? NULL : "NO_MEMORY";
}

static void answer_resolve (const strand_parking *k,
                            strand_parked_request *r) {
  const char *code = resolve(k, r);
  strand_failure failure;
  if (code != NULL) {
    strand_fail(&failure, code, "record %s/%d/%lld: %s", r->topic,
                (int)r->partition, (long long)r->offset,
                strcmp(code, "NOT_PARKED") == 0     ? "it is not parked"
                : strcmp(code, "NOT_ASSIGNED") == 0 ? "not assigned here"
                                                    : "memory ran out");
  }
  strand_shared_answer(k->owner->consumer, r->ticket,
                       code != NULL ? &failure : NULL);
}

static strand_parked_request *in_order (strand_parked_request *newest) {
  strand_parked_request *first = NULL;
  while (newest != NULL) {
    strand_parked_request *r = newest;
    newest = r->next;
    r->next = first;
    first = r;
  }
  return first;
}

void strand_parked_serve (const strand_parking *k,
                          strand_parked_request *requests, int64_t now_us) {
  strand_parked_request *r = in_order(requests);
  while (r != NULL) {
    strand_parked_request *next = r->next;
    if (r->resolves) answer_resolve(k, r);
    else answer_page(k, r, now_us);
    free(r);
    r = next;
  }
}
