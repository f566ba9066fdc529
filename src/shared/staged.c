/*
** staged.c - see staged.h
*/
#include "shared/staged.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static size_t bytes_of (const strand_output *o) {
  return (size_t)o->topic_length + 1 + o->key_length + o->value_length
         + o->headers_length;
}

size_t strand_output_size (const strand_output *lengths) {
  return sizeof(*lengths) + bytes_of(lengths);
}

strand_output_counts strand_staging_counts (const strand_staging *s) {
  return (strand_output_counts){
    .sent = atomic_load_explicit(&s->sent, memory_order_relaxed),
    .acked = atomic_load_explicit(&s->acked, memory_order_relaxed),
    .failed = atomic_load_explicit(&s->failed, memory_order_relaxed),
    .staged_bytes = atomic_load_explicit(&s->bytes, memory_order_relaxed),
  };
}

#ifndef NDEBUG
static bool adds_up (const strand_staged *s) {
  size_t bytes = 0;
  uint32_t count = 0;
  for (const strand_output *o = s->first; o != NULL; o = o->next) {
    bytes += strand_output_size(o);
    count++;
  }
  return bytes == s->bytes && count == s->count;
}

static bool is_in_order (const strand_staged *s) {
  while (s != NULL && s->next != NULL && s->index < s->next->index)
    s = s->next;
  return s == NULL || s->next == NULL;
}
#endif

/* By who has it: when it goes to its owner, and when it goes. */
static void check (const strand_staged *s) {
  (void)s;
  assert(adds_up(s));                                  /* (1) */
  assert(atomic_load(&s->staging->bytes) >= s->bytes); /* (1) */
}

strand_staged *strand_staged_new (strand_staging *staging) {
  strand_staged *s = calloc(1, sizeof(*s));
  if (s == NULL) return NULL;
  s->staging = staging;
  s->end = &s->first;
  strand_list_init(&s->link);
  strand_list_init(&s->mine);
  return s;
}

strand_output *strand_staged_add (strand_staged **to, strand_staging *staging,
                                  const strand_output *lengths) {
  size_t size = strand_output_size(lengths);
  strand_staged *s = *to;
  strand_output *o = malloc(size);
  if (o == NULL) return NULL;
  if (s == NULL && (s = strand_staged_new(staging)) == NULL) {
    free(o);
    return NULL;
  }
  *to = s;
  *o = *lengths;
  o->next = NULL;
  o->of = s;
  *s->end = o;
  s->end = &o->next;
  s->count++;
  s->bytes += size;
  atomic_fetch_add_explicit(&staging->bytes, size, memory_order_relaxed);
  return o;
}

void strand_staged_drop_first (strand_staged *staged) {
  strand_output *o = staged->first;
  size_t size = strand_output_size(o);
  staged->first = o->next;
  staged->count--;
  staged->bytes -= size;
  atomic_fetch_sub_explicit(&staged->staging->bytes, size,
                            memory_order_relaxed);
  free(o);
}

bool strand_staged_free (strand_staged *staged) {
  strand_staging *staging;
  strand_output *o, *next;
  size_t before, bytes;
  if (staged == NULL) return false;
  check(staged);
  staging = staged->staging;
  bytes = staged->bytes;
  for (o = staged->first; o != NULL; o = next) {
    next = o->next;
    free(o);
  }
  free(staged);
  before = atomic_fetch_sub_explicit(&staging->bytes, bytes,
                                     memory_order_relaxed);
  return before >= staging->limit && before - bytes < staging->limit;
}

void strand_staged_put (strand_staged_slot *slot, strand_staged *staged) {
  strand_staged *head = atomic_load_explicit(slot, memory_order_relaxed);
  check(staged);
  do staged->next = head;
  while (!atomic_compare_exchange_weak_explicit(
    slot, &head, staged, memory_order_release, memory_order_relaxed));
}

/* By the owner: all that it has taken at once. */
static void check_order (const strand_staged *first) {
  (void)first;
  assert(is_in_order(first)); /* (2) */
}

void strand_staged_take (strand_staged_slot *slot, strand_staged **to) {
  strand_staged *s, *next, *older = NULL;
  if (atomic_load_explicit(slot, memory_order_relaxed) == NULL) return;
  s = atomic_exchange_explicit(slot, NULL, memory_order_acquire);
  for (; s != NULL; s = next) {
    next = s->next;
    s->next = older;
    older = s;
  }
  check_order(older);
  while (*to != NULL) to = &(*to)->next;
  *to = older;
}
