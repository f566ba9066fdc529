/*
** log.c - see log.h
*/
#include "kafka/log.h"

#include <assert.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/lock.h"

struct strand_log {
  strand_lock lock;
  int references;
  int direct;
  int first; /* index of the oldest line */
  int count;
  int64_t dropped;
  int fd; /* -1: none */
  strand_log_line *lines[STRAND_LOG_LINES_MAX];
};

#ifndef NDEBUG
static bool is_plain (const char *text) {
  while (*text >= 0x20 && *text < 0x7f) text++;
  return *text == '\0';
}

/* The newest: all others were that once. */
static bool newest_is_plain (const strand_log *log) {
  int last = (log->first + log->count - 1) % STRAND_LOG_LINES_MAX;
  return log->count == 0
         || (is_plain(log->lines[last]->facility)
             && is_plain(log->lines[last]->text));
}
#endif

/* With the lock, after a change. */
static void check_locked (const strand_log *log) {
  (void)log;
  assert(log->count >= 0 && log->count <= STRAND_LOG_LINES_MAX); /* (1) */
  assert(log->first >= 0 && log->first < STRAND_LOG_LINES_MAX);  /* (1) */
  assert(log->dropped >= 0);                                     /* (1) */
  assert(newest_is_plain(log));                                  /* (2) */
  assert(log->references > 0);                                   /* (3) */
}

strand_log *strand_log_new (int direct) {
  strand_log *log = calloc(1, sizeof(*log));
  if (log == NULL) return NULL;
  strand_lock_init(&log->lock, STRAND_RANK_LEAF);
  log->references = 1;
  log->direct = direct;
  log->fd = -1;
  return log;
}

strand_log *strand_log_keep (strand_log *log) {
  strand_lock_take(&log->lock);
  check_locked(log);
  log->references++;
  strand_lock_release(&log->lock);
  return log;
}

void strand_log_release (strand_log *log) {
  int left;
  if (log == NULL) return;
  strand_lock_take(&log->lock);
  check_locked(log);
  left = --log->references;
  strand_lock_release(&log->lock);
  if (left > 0) return;
  while (log->count > 0) {
    free(log->lines[log->first]);
    log->first = (log->first + 1) % STRAND_LOG_LINES_MAX;
    log->count--;
  }
  strand_lock_free(&log->lock);
  free(log);
}

void strand_log_set_fd (strand_log *log, int fd) {
  strand_lock_take(&log->lock);
  log->fd = fd;
  strand_lock_release(&log->lock);
}

void strand_log_escape (char *to, size_t size, const char *text,
                        size_t length) {
  static const char digits[] = "0123456789abcdef";
  size_t at = 0;
  size_t i;
  for (i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c >= 0x20 && c < 0x7f) {
      if (at + 1 >= size) break;
      to[at++] = (char)c;
    }
    else {
      if (at + 4 >= size) break;
      to[at++] = '\\';
      to[at++] = 'x';
      to[at++] = digits[c >> 4];
      to[at++] = digits[c & 15];
    }
  }
  to[at] = '\0';
}

static void line_fill (strand_log_line *line, int level, const char *facility,
                       const char *text) {
  size_t length = strlen(text);
  while (length > 0 && (text[length - 1] == '\n' || text[length - 1] == '\r'))
    length--;
  line->level = level;
  strand_log_escape(line->facility, sizeof(line->facility), facility,
                    strlen(facility));
  strand_log_escape(line->text, sizeof(line->text), text, length);
}

static void put_time (char *to, size_t size) {
  struct timespec now;
  struct tm parts;
  size_t length;
  clock_gettime(CLOCK_REALTIME, &now);
  gmtime_r(&now.tv_sec, &parts);
  length = strftime(to, size, "%Y-%m-%dT%H:%M:%S", &parts);
  snprintf(to + length, size - length, ".%03ldZ", now.tv_nsec / 1000000);
}

/* Our own lines have the facility "strand", which the line says already. One
** write, so that lines of several threads do not mix. */
static void line_print (const strand_log_line *line) {
  char text[STRAND_LOG_TEXT_MAX + 128], time[32];
  bool own = strcmp(line->facility, "strand") == 0;
  int length;
  ssize_t written;
  put_time(time, sizeof(time));
  length = snprintf(text, sizeof(text), "%s strand %s: %s%s%s\n", time,
                    line->level < STRAND_LOG_WARNING ? "error" : "warning",
                    own ? "" : line->facility, own ? "" : ": ", line->text);
  written = write(STDERR_FILENO, text, (size_t)length);
  (void)written; /* there is nowhere left to complain */
}

static strand_log_line *put_locked (strand_log *log, strand_log_line *line) {
  strand_log_line *oldest = NULL;
  if (log->count == STRAND_LOG_LINES_MAX) {
    oldest = log->lines[log->first];
    log->first = (log->first + 1) % STRAND_LOG_LINES_MAX;
    log->count--;
    log->dropped++;
  }
  log->lines[(log->first + log->count) % STRAND_LOG_LINES_MAX] = line;
  log->count++;
  if (log->fd >= 0) eventfd_write(log->fd, 1);
  return oldest;
}

void strand_log_push (strand_log *log, int level, const char *facility,
                      const char *text) {
  strand_log_line line;
  strand_log_line *kept;
  line_fill(&line, level, facility, text);
  if (log == NULL || log->direct) {
    if (level <= STRAND_LOG_WARNING) line_print(&line);
    return;
  }
  kept = malloc(sizeof(*kept));
  if (kept != NULL) *kept = line;
  strand_lock_take(&log->lock);
  if (kept == NULL) log->dropped++;
  else kept = put_locked(log, kept);
  check_locked(log);
  strand_lock_release(&log->lock);
  free(kept);
}

void strand_log_printf (strand_log *log, int level, const char *facility,
                        const char *format, ...) {
  char text[STRAND_LOG_TEXT_MAX + 1];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof(text), format, args);
  va_end(args);
  strand_log_push(log, level, facility, text);
}

int strand_log_pop (strand_log *log, strand_log_line *line) {
  strand_log_line *oldest = NULL;
  strand_lock_take(&log->lock);
  if (log->count > 0) {
    oldest = log->lines[log->first];
    log->first = (log->first + 1) % STRAND_LOG_LINES_MAX;
    log->count--;
  }
  check_locked(log);
  strand_lock_release(&log->lock);
  if (oldest == NULL) return 0;
  *line = *oldest;
  free(oldest);
  return 1;
}

int strand_log_is_empty (strand_log *log) {
  int empty;
  strand_lock_take(&log->lock);
  empty = log->count == 0;
  strand_lock_release(&log->lock);
  return empty;
}

int64_t strand_log_dropped (strand_log *log) {
  int64_t dropped;
  strand_lock_take(&log->lock);
  dropped = log->dropped;
  strand_lock_release(&log->lock);
  return dropped;
}

/* A transaction coordinator that loads, or is being made: so it is at the
** first start of an idempotent producer on a new cluster, and librdkafka asks
** again. */
static bool is_passing (const char *facility, const char *text) {
  return strcmp(facility, "GETPID") == 0
         && (strstr(text, "oordinator load in progress") != NULL
             || strstr(text, "oordinator not available") != NULL);
}

/* That all are down says less than what each said before. */
static bool tells_cause (const char *facility, const char *text) {
  return strcmp(facility, "FAIL") == 0
         || (strcmp(facility, "ERROR") == 0
             && strstr(text, "brokers are down") == NULL);
}

/* "[thrd:NAME]: text" */
static const char *past_thread (const char *text) {
  const char *end = strncmp(text, "[thrd:", 6) == 0 ? strstr(text, "]: ")
                                                    : NULL;
  return end != NULL ? end + 3 : text;
}

void strand_log_cause_note (strand_log_cause *cause, const char *text) {
  strand_lock_take(&cause->lock);
  strand_log_escape(cause->text, sizeof(cause->text), text, strlen(text));
  strand_lock_release(&cause->lock);
}

void strand_log_cause_read (strand_log_cause *cause, char *to, size_t size) {
  strand_lock_take(&cause->lock);
  snprintf(to, size, "%s", cause->text);
  strand_lock_release(&cause->lock);
}

void strand_log_callback (const rd_kafka_t *client, int level,
                          const char *facility, const char *text) {
  strand_opaque *opaque = client != NULL ? rd_kafka_opaque(client) : NULL;
  if (is_passing(facility, text)) level = STRAND_LOG_INFO;
  if (opaque != NULL && opaque->cause != NULL && tells_cause(facility, text)) {
    strand_log_cause_note(opaque->cause, past_thread(text));
  }
  strand_log_push(opaque != NULL ? opaque->log : NULL, level, facility, text);
}
