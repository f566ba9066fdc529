/*
** log.h - where log lines of librdkafka and of strand wait for a reader
**
** librdkafka logs from its own threads, and Lua may be called from none of
** them. So lines are put into a ring here, and whoever serves the Lua state
** takes them out. Without a Lua log function nobody takes anything out: such
** a log is 'direct', and warnings and worse go to stderr at once.
**
** Invariants:
**   (1) At most STRAND_LOG_LINES_MAX lines wait; a newer one drops the
**       oldest, and the drop is counted.
**   (2) What comes out is printable ASCII on one line: names of topics and
**       error texts come from outside, and may hold escape sequences.
**   (3) Who writes to a log or reads it has it (keep and release): it outlives
**       every client that writes to it.
**
** Thread: any (one mutex, a leaf).
*/
#ifndef STRAND_LOG_H
#define STRAND_LOG_H

#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/lock.h"

#define STRAND_LOG_LINES_MAX 1024
#define STRAND_LOG_TEXT_MAX 512
#define STRAND_LOG_WARNING 4 /* syslog's levels: lower is worse */
#define STRAND_LOG_INFO 6

typedef struct strand_log strand_log;

typedef struct strand_log_line {
  int level;
  char facility[32];
  char text[STRAND_LOG_TEXT_MAX + 1];
} strand_log_line;

/* What librdkafka said last of a connection that failed: whoever waits for a
** broker in vain may say why. All 0, then strand_lock_init. Thread: any. */
typedef struct strand_log_cause {
  strand_lock lock;
  char text[200]; /* lock; "": nothing */
} strand_log_cause;

void strand_log_cause_note (strand_log_cause *cause, const char *text);
void strand_log_cause_read (strand_log_cause *cause, char *to, size_t size);

/* The opaque of every client begins with this: log_cb looks here. */
typedef struct strand_opaque {
  strand_log *log;         /* borrows (until the client is destroyed) */
  strand_log_cause *cause; /* the same; or NULL: it is not kept */
} strand_opaque;

/* NULL when memory runs out. 'direct': to stderr, see above. */
strand_log *strand_log_new (int direct);

strand_log *strand_log_keep (strand_log *log);

/* Accepts NULL. */
void strand_log_release (strand_log *log);

/* An eventfd that does not block, written to after each line that was put into
** the ring; -1 for none. After this returns the former one is written to no
** more. */
void strand_log_set_fd (strand_log *log, int fd);

/* A NULL log writes warnings to stderr. */
void strand_log_push (strand_log *log, int level, const char *facility,
                      const char *text);

#if defined(__GNUC__)
__attribute__((format(printf, 4, 5)))
#endif
void strand_log_printf (strand_log *log, int level, const char *facility,
                        const char *format, ...);

/* 0 when no line waits. */
int strand_log_pop (strand_log *log, strand_log_line *line);

int strand_log_is_empty (strand_log *log);

/* Lines dropped so far. */
int64_t strand_log_dropped (strand_log *log);

/* For rd_kafka_conf_set_log_cb; needs an opaque that begins with
** strand_opaque, or none (then to stderr). */
void strand_log_callback (const rd_kafka_t *client, int level,
                          const char *facility, const char *text);

/* 'text' with everything but printable ASCII written as \xNN, cut to 'size'.
** Never cuts an escape in half. */
void strand_log_escape (char *to, size_t size, const char *text,
                        size_t length);

#endif
