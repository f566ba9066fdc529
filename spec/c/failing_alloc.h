/*
** failing_alloc.h - the n-th allocation from now fails
**
** To be included before the .c file under test, which is compiled into the
** test: only its own allocations are counted, not those of cmocka or libc.
**
** Thread: any (tests have one).
*/
#ifndef STRAND_FAILING_ALLOC_H
#define STRAND_FAILING_ALLOC_H

#include <stdbool.h>
#include <stdlib.h>

static long alloc_left = -1; /* allocations until one fails; -1: none does */
static bool alloc_failed;
static bool alloc_none; /* there is no memory at all */

static bool alloc_fails (void) {
  if (alloc_none) return true;
  if (alloc_left < 0 || alloc_left-- > 0) return false;
  alloc_failed = true;
  return true;
}

/* From now on the n-th allocation (from 0) fails, once. */
static inline void fail_alloc (long n) {
  alloc_left = n;
  alloc_failed = false;
}

static inline void *failing_malloc (size_t size) {
  return alloc_fails() ? NULL : malloc(size);
}

static inline void *failing_calloc (size_t count, size_t size) {
  return alloc_fails() ? NULL : calloc(count, size);
}

static inline void *failing_realloc (void *old, size_t size) {
  return alloc_fails() ? NULL : realloc(old, size);
}

#define malloc(size) failing_malloc(size)
#define calloc(count, size) failing_calloc(count, size)
#define realloc(old, size) failing_realloc(old, size)

#endif
