/*
** err.h - how a strand function says that it could not
**
** Engine functions return a strand_err; what reaches a user is a
** strand_failure: a stable code ("TIMED_OUT") and a sentence.
**
** Thread: any (plain values).
*/
#ifndef STRAND_ERR_H
#define STRAND_ERR_H

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#if UINTPTR_MAX < UINT64_MAX
#error "strand is for 64-bit machines: offsets and sizes must fit in a word"
#endif

typedef enum strand_err {
  STRAND_OK = 0,
  STRAND_ENOMEM,   /* memory ran out; nothing was changed */
  STRAND_EORDER,   /* an offset that is not above the last one */
  STRAND_EFULL,    /* a bound would be passed; the caller waits */
  STRAND_ENOTOPEN, /* the offset was never started, or is done */
  STRAND_EFORMAT,  /* bytes that do not follow their format */
  STRAND_ELIMIT    /* well formed, but beyond a limit of ours */
} strand_err;

typedef struct strand_failure {
  char code[48];     /* stable name; "" while nothing has failed */
  char message[512]; /* for people; no secrets, no line breaks */
} strand_failure;

#if defined(__GNUC__)
__attribute__((format(printf, 3, 4)))
#endif
static inline void
strand_fail (strand_failure *f, const char *code, const char *format, ...) {
  va_list args;
  snprintf(f->code, sizeof(f->code), "%s", code);
  va_start(args, format);
  vsnprintf(f->message, sizeof(f->message), format, args);
  va_end(args);
}

#endif
