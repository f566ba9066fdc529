/*
** sources.c - see sources.h
*/
#include "lua/worker/sources.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"

struct strand_sources {
  atomic_size_t users; /* by who keeps it; who is last frees it */
  atomic_flag asked;   /* any worker: strand_sources_first */
  strand_text *args;
  strand_text *path;
  strand_text *cpath;
  strand_text *loop;
  double max_slice;
  size_t memory;
  strand_lock lock; /* of 'retry' */
  strand_text *retry;
  /* Written under the lock, read by workers without: seen late, the function
  ** before is called once more. */
  atomic_uint retry_version;
  size_t count;
  strand_route_source routes[];
};

bool strand_text_copy (strand_text **to, const char *bytes, size_t length) {
  *to = NULL;
  if (bytes == NULL) return true;
  *to = malloc(sizeof(**to) + length + 1);
  if (*to == NULL) return false;
  atomic_init(&(*to)->users, 1);
  (*to)->length = length;
  memcpy((*to)->bytes, bytes, length);
  (*to)->bytes[length] = '\0';
  return true;
}

void strand_text_release (strand_text *text) {
  if (text == NULL || atomic_fetch_sub(&text->users, 1) > 1) return;
  free(text);
}

strand_sources *strand_sources_new (size_t routes) {
  strand_sources *s = calloc(1, sizeof(*s) + routes * sizeof(s->routes[0]));
  if (s == NULL) return NULL;
  strand_lock_init(&s->lock, STRAND_RANK_LEAF);
  atomic_init(&s->users, 1);
  atomic_flag_clear(&s->asked);
  atomic_init(&s->retry_version, 0);
  s->count = routes;
  return s;
}

bool strand_sources_set_args (strand_sources *s, const char *text,
                              size_t length) {
  return strand_text_copy(&s->args, text, length);
}

static bool copy_string (strand_text **to, const char *text) {
  return strand_text_copy(to, text, text != NULL ? strlen(text) : 0);
}

bool strand_sources_set_paths (strand_sources *s, const char *path,
                               const char *cpath) {
  return copy_string(&s->path, path) && copy_string(&s->cpath, cpath);
}

bool strand_sources_set_loop (strand_sources *s, const char *loop,
                              double max_slice) {
  s->max_slice = max_slice;
  return copy_string(&s->loop, loop);
}

void strand_sources_set_memory (strand_sources *s, size_t bytes) {
  s->memory = bytes;
}

void strand_sources_set_retry (strand_sources *s, strand_text *code) {
  strand_text *last;
  strand_lock_take(&s->lock);
  last = s->retry;
  s->retry = code;
  atomic_fetch_add(&s->retry_version, 1);
  strand_lock_release(&s->lock);
  strand_text_release(last);
}

strand_sources *strand_sources_keep (strand_sources *s) {
  atomic_fetch_add(&s->users, 1);
  return s;
}

void strand_sources_release (strand_sources *s) {
  size_t i;
  if (s == NULL || atomic_fetch_sub(&s->users, 1) > 1) return;
  for (i = 0; i < s->count; i++) {
    strand_text_release(s->routes[i].name);
    strand_text_release(s->routes[i].module);
    strand_text_release(s->routes[i].code);
    strand_text_release(s->routes[i].retry_code);
  }
  strand_text_release(s->args);
  strand_text_release(s->path);
  strand_text_release(s->cpath);
  strand_text_release(s->loop);
  strand_text_release(s->retry);
  strand_lock_free(&s->lock);
  free(s);
}

size_t strand_sources_count (const strand_sources *s) {
  return s->count;
}

strand_route_source *strand_sources_route (strand_sources *s, size_t i) {
  return &s->routes[i];
}

const strand_text *strand_sources_args (const strand_sources *s) {
  return s->args;
}

const strand_text *strand_sources_path (const strand_sources *s) {
  return s->path;
}

const strand_text *strand_sources_cpath (const strand_sources *s) {
  return s->cpath;
}

const strand_text *strand_sources_loop (const strand_sources *s) {
  return s->loop;
}

double strand_sources_max_slice (const strand_sources *s) {
  return s->max_slice;
}

size_t strand_sources_memory (const strand_sources *s) {
  return s->memory;
}

bool strand_sources_first (strand_sources *s) {
  return !atomic_flag_test_and_set(&s->asked);
}

unsigned strand_sources_retry_version (const strand_sources *s) {
  return atomic_load(&s->retry_version);
}

strand_text *strand_sources_retry (strand_sources *s, unsigned *version) {
  strand_text *text;
  strand_lock_take(&s->lock);
  *version = atomic_load(&s->retry_version);
  text = s->retry;
  if (text != NULL) atomic_fetch_add(&text->users, 1);
  strand_lock_release(&s->lock);
  return text;
}
