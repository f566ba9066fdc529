/*
** chunks.c - the memory of records
**
** Records are read one after another and end nearly so: they share chunks,
** and a chunk goes when its last one does. What stays behind moves out.
*/
#include <assert.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "core/engine.h"
#include "core/state.h"

/* Chunks that are kept for the next, so that their pages are not returned to
** the kernel and faulted in again. The address sanitizer wants to see each
** of them freed. */
#ifdef __SANITIZE_ADDRESS__
#define FREE_CHUNKS_MAX 0
#else
#define FREE_CHUNKS_MAX 64
#endif
static void keep_chunk (strand_engine *e, strand_chunk *c) {
  if (e->free_chunk_count + 1 > FREE_CHUNKS_MAX) {
    free(c);
    return;
  }
  c->next = e->free_chunks;
  e->free_chunks = c;
  e->free_chunk_count++;
}

/* A kept one, unless the size of chunks has changed meanwhile. */
static strand_chunk *new_chunk (strand_engine *e, size_t size) {
  strand_chunk *c = e->free_chunks;
  if (c != NULL) {
    e->free_chunks = c->next;
    e->free_chunk_count--;
    if (c->size != size) {
      free(c);
      c = NULL;
    }
  }
  if (c == NULL) c = malloc(sizeof(*c) + size);
  if (c != NULL) *c = (strand_chunk){ NULL, 0, (uint32_t)size, 1 };
  return c;
}

static void drop_chunk (strand_partition *p, strand_chunk *c) {
  if (--c->live > 0) return;
  strand_budget_charge(p, false, 0, -(long)(sizeof(*c) + c->size));
  keep_chunk(p->engine, c);
}

void strand_chunk_close (strand_partition *p) {
  strand_chunk *c = p->chunk;
  p->chunk = NULL;
  if (c != NULL) drop_chunk(p, c);
}

static strand_record *own_record (size_t size) {
  strand_record *r = malloc(size);
  if (r == NULL) return NULL;
  r->flags = STRAND_RECORD_OWN;
  r->in.past = NULL;
  return r;
}

static strand_chunk *chunk_with_room (strand_partition *p, size_t size) {
  strand_chunk *c = p->chunk;
  size_t chunk_size;
  if (c != NULL && c->size - c->used >= size) return c;
  chunk_size = strand_budget_chunk(p->engine);
  if (size > chunk_size) return NULL;
  strand_chunk_close(p);
  c = new_chunk(p->engine, chunk_size);
  if (c == NULL) return NULL;
  p->chunk = c;
  strand_budget_charge(p, false, 0, (long)(sizeof(*c) + chunk_size));
  return c;
}

strand_record *strand_engine_room (strand_engine *e, strand_partition *p,
                                   size_t length) {
  size_t size = strand_record_size(length);
  strand_chunk *c = chunk_with_room(p, size);
  strand_record *r;
  (void)e;
  if (c == NULL) {
    r = own_record(size);
    if (r == NULL) return NULL;
    strand_budget_charge(p, false, 1, (long)size);
  }
  else {
    r = (strand_record *)(void *)((char *)(c + 1) + c->used);
    c->used += (uint32_t)size;
    c->live++;
    r->flags = 0;
    r->in.chunk = c;
    strand_budget_charge(p, false, 1, 0);
  }
  strand_list_init(&r->link);
  r->shard = NULL;
  r->behind = NULL;
  r->transacted = false;
  return r;
}

void strand_record_free (strand_partition *p, strand_record *r) {
  bool waiting = (r->flags & STRAND_RECORD_CHARGED) != 0;
  long size;
  strand_list_remove(&r->link);
  if (!(r->flags & STRAND_RECORD_OWN)) {
    strand_budget_charge(p, false, -1, 0);
    drop_chunk(p, r->in.chunk);
    return;
  }
  size = (long)strand_record_size(strand_record_length(r));
  strand_budget_charge(p, waiting, -1, -size);
  free(r->in.past);
  free(r);
}

strand_record *strand_record_move (strand_partition *p, strand_record *r,
                                   strand_record *before) {
  size_t size = strand_record_size(strand_record_length(r));
  strand_record *own = malloc(size);
  strand_shard *s = r->shard;
  assert(!(r->flags & STRAND_RECORD_OWN));
  if (own == NULL) return NULL;
  memcpy(own, r, offsetof(strand_record, bytes) + strand_record_length(r));
  own->flags |= STRAND_RECORD_OWN;
  own->in.past = NULL;
  own->link.prev->next = own->link.next->prev = &own->link;
  if (before != NULL) before->behind = own;
  else if (s->head == r) s->head = own;
  if (s->tail == r) s->tail = own;
  strand_budget_charge(p, false, 0, (long)size);
  drop_chunk(p, r->in.chunk);
  return own;
}

/* The last record of the open chunk gives its room back. */
void strand_record_unroom (strand_partition *p, strand_record *r) {
  if (!(r->flags & STRAND_RECORD_OWN) && r->in.chunk == p->chunk) {
    p->chunk->used -= (uint32_t)strand_record_size(strand_record_length(r));
  }
  strand_record_free(p, r);
}
