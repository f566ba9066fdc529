#include <assert.h>
#include <stdlib.h>

#include "core/mutant.h"
#include "core/siphash.h"
#include "core/state.h"

#define TABLE_MIN 64
#define FREE_SHARDS_MAX 1024

/*
** The table: (partition, key) -> shard
*/

static uint64_t hash_key (const strand_partition *p, const char *key,
                          uint32_t length) {
  uint64_t seed[2];
  seed[0] = p->engine->config.seed[0]
            ^ ((uint64_t)p->epoch << 32 | (uint32_t)p->index);
  seed[1] = p->engine->config.seed[1];
  return strand_siphash(seed, key, length);
}

static strand_err grow (strand_engine *e) {
  size_t size = e->table_size == 0 ? TABLE_MIN : e->table_size * 2;
  strand_shard **table = calloc(size, sizeof(strand_shard *));
  if (table == NULL) return STRAND_ENOMEM;
  for (size_t i = 0; i < e->table_size; i++) {
    strand_shard *s = e->table[i], *next;
    for (; s != NULL; s = next) {
      next = s->hash_next;
      s->hash_next = table[s->hash & (size - 1)];
      table[s->hash & (size - 1)] = s;
    }
  }
  free(e->table);
  e->table = table;
  e->table_size = size;
  return STRAND_OK;
}

static strand_shard *look_up (strand_partition *p, uint64_t hash,
                              const char *key, uint32_t length) {
  strand_engine *e = p->engine;
  strand_shard *s;
  if (e->table_size == 0) return NULL;
  for (s = e->table[hash & (e->table_size - 1)]; s != NULL;
       s = s->hash_next) {
    if (s->hash == hash && s->partition == p && s->key_length == length
        && memcmp(s->key, key, length) == 0) return s;
  }
  return NULL;
}

void strand_shard_forget (strand_shard *s) {
  strand_engine *e = s->partition->engine;
  strand_shard **at;
  if (s->kind == STRAND_HELD_KEY) {
    at = &e->table[s->hash & (e->table_size - 1)];
    while (*at != s) at = &(*at)->hash_next;
    *at = s->hash_next;
  }
  else if (s->partition->whole == s) s->partition->whole = NULL;
  else if (s->partition->nulls == s) s->partition->nulls = NULL;
  strand_list_remove(&s->all);
}

static strand_shard *new_shard (strand_partition *p, strand_held_kind kind) {
  strand_engine *e = p->engine;
  strand_shard *s = e->free_shards;
  if (s != NULL) {
    e->free_shards = s->hash_next;
    e->free_count--;
  }
  else if ((s = malloc(sizeof(*s))) == NULL) return NULL;
  memset(s, 0, offsetof(strand_shard, small));
  s->kind = (uint8_t)kind;
  s->state = SHARD_EMPTY;
  s->partition = p;
  s->key = s->small;
  strand_list_init(&s->ready);
  strand_list_push(&p->shards, &s->all);
  e->shard_count++;
  return s;
}

static void release_shard (strand_engine *e, strand_shard *s) {
  if (s->key != s->small) free((char *)(uintptr_t)s->key);
  e->shard_count--;
  if (e->free_count >= FREE_SHARDS_MAX) {
    free(s);
    return;
  }
  s->hash_next = e->free_shards;
  e->free_shards = s;
  e->free_count++;
}

void strand_shard_free (strand_shard *s) {
  assert(s->head == NULL || s->state == SHARD_STALE);
  assert(strand_list_empty(&s->ready));
  if (s->state != SHARD_STALE) strand_shard_forget(s);
  release_shard(s->partition->engine, s);
}

static strand_shard *new_keyed (strand_partition *p, uint64_t hash,
                                const char *key, uint32_t length) {
  strand_engine *e = p->engine;
  strand_shard *s;
  char *copy = NULL;
  /* half full at most: a longer chain is a cache miss for each shard in it */
  if (e->shard_count * 2 >= e->table_size && grow(e) != STRAND_OK
      && e->table_size == 0) return NULL;
  if (length > SHARD_INLINE_KEY && (copy = malloc(length)) == NULL) {
    return NULL;
  }
  s = new_shard(p, STRAND_HELD_KEY);
  if (s == NULL) {
    free(copy);
    return NULL;
  }
  if (copy != NULL) s->key = copy;
  memcpy((char *)(uintptr_t)s->key, key, length);
  s->key_length = length;
  s->hash = hash;
  s->hash_next = e->table[hash & (e->table_size - 1)];
  e->table[hash & (e->table_size - 1)] = s;
  return s;
}

/*
** Which shard a record belongs to
*/

/* The ordering key: the record's own, or a header's last value. */
static const char *ordering_key (const strand_engine *e,
                                 const strand_record *r, uint32_t *length) {
  const char *name = e->config.ordering_header, *key = NULL;
  strand_header h;
  uint32_t at = 0;
  size_t name_length;
  if (name == NULL) {
    *length = r->key_length;
    return r->flags & STRAND_RECORD_KEY ? strand_record_key(r) : NULL;
  }
  name_length = strlen(name);
  while (strand_header_next(strand_record_headers(r), r->headers_length, &at,
                            &h)) {
    if (h.name_length != name_length
        || memcmp(h.name, name, name_length) != 0) continue;
    key = h.value;
    *length = h.value_length;
  }
  return key;
}

static strand_shard **special (strand_partition *p, strand_held_kind *kind,
                               bool null_key) {
  const strand_engine_config *c = &p->engine->config;
  if (c->ordering == STRAND_BY_KEY && !null_key) return NULL;
  if (c->ordering == STRAND_BY_KEY) {
    *kind = c->null_key_unordered ? STRAND_HELD_RECORD : STRAND_HELD_NULL;
    return &p->nulls;
  }
  *kind = c->ordering == STRAND_UNORDERED ? STRAND_HELD_RECORD
                                          : STRAND_HELD_PARTITION;
  return &p->whole;
}

strand_shard *strand_shard_get (strand_partition *p, const strand_record *r) {
  uint32_t length = 0;
  const char *key = NULL;
  strand_held_kind kind = STRAND_HELD_KEY;
  strand_shard **slot, *s;
  uint64_t hash;
  if (p->engine->config.ordering == STRAND_BY_KEY) {
    key = ordering_key(p->engine, r, &length);
  }
  slot = special(p, &kind, key == NULL);
  if (slot != NULL) {
    if (*slot == NULL) *slot = new_shard(p, kind);
    return *slot;
  }
  hash = hash_key(p, key, length);
  s = look_up(p, hash, key, length);
  return s != NULL ? s : new_keyed(p, hash, key, length);
}

strand_shard *strand_shard_held (strand_partition *p, const strand_held *h) {
  if (h->kind == STRAND_HELD_KEY) {
    return look_up(p, hash_key(p, h->key, h->key_length), h->key,
                   h->key_length);
  }
  return h->kind == STRAND_HELD_NULL ? p->nulls : p->whole;
}

strand_shard *strand_shard_hold (strand_partition *p, const strand_held *h) {
  strand_shard *s;
  if (h->kind == STRAND_HELD_KEY) {
    s = new_keyed(p, hash_key(p, h->key, h->key_length), h->key,
                  h->key_length);
  }
  else {
    s = new_shard(p, h->kind);
    if (h->kind == STRAND_HELD_NULL) p->nulls = s;
    else p->whole = s;
  }
  if (s != NULL) s->state = SHARD_HELD;
  return s;
}

void strand_shard_describe (const strand_shard *s, const strand_record *r,
                            strand_held *held) {
  *held = (strand_held){ 0 };
  held->kind = (strand_held_kind)s->kind;
  held->topic = s->partition->topic;
  held->index = s->partition->index;
  held->key = s->key;
  held->key_length = s->key_length;
  held->offset = r != NULL ? r->offset : -1;
}

/*
** The ready lists
*/

void strand_partition_runnable (strand_partition *p) {
  bool runs = p->state == PARTITION_RUNNING
              || (MUTANT(revoking_partition_hands_out)
                  && p->state == PARTITION_REVOKING);
  bool should = runs && (!p->paused || MUTANT(paused_partition_hands_out))
                && !p->stalled && !strand_list_empty(&p->ready);
  if (should == !strand_list_empty(&p->runnable)) return;
  if (should) strand_list_push(&p->engine->runnable, &p->runnable);
  else strand_list_remove(&p->runnable);
}

void strand_partition_unstall (strand_partition *p) {
  if (!p->stalled) return;
  p->stalled = false;
  strand_partition_runnable(p);
}

void strand_shard_yield (strand_shard *s) {
  strand_partition *p = s->partition;
  strand_list_remove(&s->ready);
  if (strand_list_empty(&p->ready)) strand_list_push(&p->ready, &s->ready);
  else strand_list_push_front(p->ready.next, &s->ready);
}

void strand_shard_ready (strand_shard *s, bool front) {
  strand_partition *p = s->partition;
  assert(s->head != NULL && strand_list_empty(&s->ready));
  s->state = SHARD_READY;
  if (front) strand_list_push_front(&p->ready, &s->ready);
  else strand_list_push(&p->ready, &s->ready);
  p->ready_count++;
  p->engine->ready++;
  strand_partition_runnable(p);
}

void strand_shard_unready (strand_shard *s, shard_state to) {
  assert(!strand_list_empty(&s->ready));
  strand_list_remove(&s->ready);
  s->partition->ready_count--;
  s->partition->engine->ready--;
  s->state = (uint8_t)to;
  strand_partition_runnable(s->partition);
}

/*
** The records of a shard
*/

void strand_shard_append (strand_shard *s, strand_record *r) {
  r->shard = s;
  r->behind = NULL;
  if (s->head == NULL) s->head = r;
  else s->tail->behind = r;
  s->tail = r;
}

void strand_shard_insert (strand_shard *s, strand_record *r) {
  strand_record **at = &s->head;
  while (*at != NULL && (*at)->offset < r->offset) at = &(*at)->behind;
  r->behind = *at;
  *at = r;
  if (r->behind == NULL) s->tail = r;
}

strand_record *strand_shard_pop (strand_shard *s) {
  strand_record *r = s->head;
  s->head = r->behind;
  if (s->head == NULL) s->tail = NULL;
  return r;
}

/* 'r', which follows 'before' in its failing shard, waits: it leaves its
** chunk and is counted as waiting. With no room in that budget, or no memory,
** it stays where it is, and is counted where it was. */
void strand_shard_wait (strand_shard *s, strand_record *before,
                        strand_record *r) {
  strand_partition *p = s->partition;
  long size;
  if (r->flags & STRAND_RECORD_WAITING) return;
  if (strand_budget_waiting_full(p)) return;
  if (!(r->flags & STRAND_RECORD_OWN)) {
    r = strand_record_move(p, r, before);
    if (r == NULL) return;
  }
  size = (long)strand_record_size(strand_record_length(r));
  strand_budget_charge(p, false, -1, -size);
  strand_budget_charge(p, true, 1, size);
  r->flags |= STRAND_RECORD_WAITING;
}
