/*
** sources.h - what workers' states are made from: a C copy of the options
**
** The caller's Lua state may be gone while a worker still runs, so nothing
** of it is borrowed. Counted: the consumer's userdata keeps one, and each
** strand_handler (shared/handler.h) that is made from it.
**
** Only the consumer's retry function changes later (configure). Each worker
** compares the version when a record has failed, and loads the new one.
**
** Thread: any (counted; the retry function is under a leaf lock, the rest is
** written before the first strand_handler is made).
*/
#ifndef STRAND_SOURCES_H
#define STRAND_SOURCES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* Bytes that several threads hold; never changed. */
typedef struct strand_text {
  atomic_uint users; /* by who keeps it; who is last frees it */
  size_t length;
  char bytes[]; /* terminated, and may hold zero bytes */
} strand_text;

typedef struct strand_route_source {
  strand_text *name;       /* for messages: the module, or "file.lua:12" */
  strand_text *module;     /* NULL: */
  strand_text *code;       /* bytes of string.dump */
  strand_text *retry_code; /* NULL: none */
  bool has_retry;          /* of its own: the consumer's does not apply */
  bool batch;              /* the handler takes batches */
} strand_route_source;

typedef struct strand_sources strand_sources;

/* Each of these: NULL or false when memory runs out. */
strand_sources *strand_sources_new (size_t routes);
/* A copy; NULL for a NULL text. */
bool strand_text_copy (strand_text **to, const char *bytes, size_t length);
bool strand_sources_set_args (strand_sources *s, const char *text,
                              size_t length);
bool strand_sources_set_paths (strand_sources *s, const char *path,
                               const char *cpath);
/* Bytes that a worker's state may take; 0: no limit. */
void strand_sources_set_memory (strand_sources *s, size_t bytes);
/* Each worker has such an event loop; NULL: none. 'max_slice' as the option. */
bool strand_sources_set_loop (strand_sources *s, const char *loop,
                              double max_slice);
/* The consumer's, taken; NULL: no function any more. */
void strand_sources_set_retry (strand_sources *s, strand_text *code);

/* Accepts NULL. */
void strand_text_release (strand_text *text);

strand_sources *strand_sources_keep (strand_sources *s);
/* Accepts NULL. */
void strand_sources_release (strand_sources *s);

size_t strand_sources_count (const strand_sources *s);
strand_route_source *strand_sources_route (strand_sources *s, size_t i);
/* Each NULL when it was not given. */
const strand_text *strand_sources_args (const strand_sources *s);
const strand_text *strand_sources_path (const strand_sources *s);
const strand_text *strand_sources_cpath (const strand_sources *s);
const strand_text *strand_sources_loop (const strand_sources *s);
double strand_sources_max_slice (const strand_sources *s);
size_t strand_sources_memory (const strand_sources *s);

/* True for the first of all who ask: what is said once, not by each worker. */
bool strand_sources_first (strand_sources *s);

/* Rises with each strand_sources_set_retry. */
unsigned strand_sources_retry_version (const strand_sources *s);
/* The retry function, kept for the caller, who releases it; NULL for none. */
strand_text *strand_sources_retry (strand_sources *s, unsigned *version);

#endif
