/*
** warnings.c - see warnings.h
*/
#include "shared/warnings.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/lock.h"

#define EVERY_US 1000000
#define TEXT_MAX 400

/* What was said of a kind, and is waited with. 'key' 0: free. */
typedef struct kind {
  uint64_t key;
  int64_t said_us;
  uint64_t alike;      /* since then */
  char text[TEXT_MAX]; /* the last of them */
} kind;

struct strand_warnings {
  strand_lock lock;
  strand_log *log;
  int64_t crowded_us; /* when 'others' began to count */
  uint64_t others;    /* of kinds for which there was no room */
  kind kinds[STRAND_WARNINGS_MAX];
};

strand_warnings *strand_warnings_new (strand_log *log) {
  strand_warnings *w = calloc(1, sizeof(*w));
  if (w == NULL) return NULL;
  strand_lock_init(&w->lock, STRAND_RANK_LEAF);
  w->log = log;
  return w;
}

void strand_warnings_free (strand_warnings *w) {
  if (w == NULL) return;
  strand_lock_free(&w->lock);
  free(w);
}

/* The others are no failures, or have a line in the log already. */
static bool is_failure (const char *type) {
  static const char *const names[] = { "record_failed",
                                       "parked",
                                       "dead_lettered",
                                       "slow_record",
                                       "worker_lost",
                                       "partition_blocked",
                                       "policy_failed",
                                       "commit_failed",
                                       "lost",
                                       "records_lost",
                                       "metadata_unreadable",
                                       "metadata_unwritable",
                                       "records_deleted",
                                       "not_delivered",
                                       "truncated",
                                       "reset" };
  for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
    if (strcmp(names[i], type) == 0) return true;
  }
  return false;
}

/* FNV-1a; a run of digits counts as one. */
static uint64_t add_text (uint64_t hash, const char *text, size_t length) {
  bool digits = false;
  for (size_t i = 0; i < length; i++) {
    unsigned char c = (unsigned char)text[i];
    if (isdigit(c) && digits) continue;
    digits = isdigit(c) != 0;
    hash = (hash ^ (digits ? '0' : c)) * UINT64_C(1099511628211);
  }
  return (hash ^ 0xff) * UINT64_C(1099511628211);
}

static size_t line_length (const char *text) {
  return text != NULL ? strcspn(text, "\n") : 0;
}

/* Of a traceback where it is in Lua, innermost; without such a place itself. */
static const char *place_of (const char *traceback) {
  const char *line = traceback, *first = traceback;
  while ((line = strchr(line, '\n')) != NULL) {
    line += line[1] == '\t' ? 2 : 1;
    if (strncmp(line, "[C]", 3) != 0) return line;
    if (first == traceback) first = line;
  }
  return first;
}

/* The line of a reason that is said: its first, what follows is a traceback;
** of one that is nothing else the place. */
static const char *line_of (const char *reason) {
  static const char head[] = "stack traceback:";
  if (reason == NULL || strncmp(reason, head, sizeof(head) - 1) != 0)
    return reason;
  return place_of(reason);
}

static uint64_t key_of (const strand_event *e) {
  uint64_t hash = UINT64_C(14695981039346656037);
  hash = add_text(hash, e->type, strlen(e->type));
  if (e->topic != NULL) hash = add_text(hash, e->topic, strlen(e->topic));
  hash = add_text(hash, e->code, strlen(e->code));
  if (e->reason != NULL) {
    const char *line = line_of(e->reason);
    hash = add_text(hash, line, line_length(line));
  }
  return hash != 0 ? hash : 1;
}

/* ": REASON", that line of it, cut to 'size' with its terminator. */
static void write_reason (char *to, size_t size, const char *reason) {
  static const char more[] = "...";
  const char *line = line_of(reason);
  int length = (int)line_length(line);
  if ((size_t)snprintf(to, size, ": %.*s", length, line) < size) return;
  memcpy(to + size - sizeof(more), more, sizeof(more));
}

/* As lua/strand/text.lua shows an event. */
static void write_text (char *to, const strand_event *e) {
  char key[64] = "", code[sizeof(e->code) + 4] = "";
  size_t at = (size_t)snprintf(to, TEXT_MAX, "%s", e->type);
  if (e->topic != NULL) {
    at += (size_t)snprintf(to + at, TEXT_MAX - at, " %.100s", e->topic);
    if (e->partition >= 0) {
      at += (size_t)snprintf(to + at, TEXT_MAX - at, "/%d", (int)e->partition);
    }
    if (e->partition >= 0 && e->offset >= 0) {
      at += (size_t)snprintf(to + at, TEXT_MAX - at, "/%lld",
                             (long long)e->offset);
    }
  }
  if (e->to >= 0) {
    at += (size_t)snprintf(to + at, TEXT_MAX - at, " to %lld",
                           (long long)e->to);
  }
  if (e->key != NULL) {
    strand_log_escape(key, sizeof(key), e->key, e->key_length);
    at += (size_t)snprintf(to + at, TEXT_MAX - at, " key \"%s\"", key);
  }
  if (e->attempt >= 0) {
    at += (size_t)snprintf(to + at, TEXT_MAX - at, " attempt %d", e->attempt);
  }
  if (e->delay >= 0) {
    at += (size_t)snprintf(to + at, TEXT_MAX - at, ", again in %.4g s",
                           e->delay);
  }
  if (e->seconds >= 0) {
    at += (size_t)snprintf(to + at, TEXT_MAX - at, " for %.4g s", e->seconds);
  }
  if (e->code[0] != '\0') snprintf(code, sizeof(code), " (%s)", e->code);
  if (e->reason != NULL && at < TEXT_MAX) {
    write_reason(to + at, TEXT_MAX - at - strlen(code), e->reason);
    at += strlen(to + at);
  }
  if (at < TEXT_MAX) snprintf(to + at, TEXT_MAX - at, "%s", code);
}

/* The kind's own place, or one that may be had: free, or quiet for longest.
** NULL: all were said within the last second. */
static kind *find_locked (strand_warnings *w, uint64_t key, int64_t now_us) {
  kind *oldest = &w->kinds[0];
  for (size_t i = 0; i < STRAND_WARNINGS_MAX; i++) {
    kind *k = &w->kinds[i];
    if (k->key == key) return k;
    if (k->key == 0) k->said_us = INT64_MIN / 2;
    if (k->said_us < oldest->said_us) oldest = k;
  }
  if (now_us - oldest->said_us < EVERY_US || oldest->alike > 0) return NULL;
  return oldest;
}

/* True: 'text' is to be said now, with 'alike' others. */
static bool count_locked (strand_warnings *w, uint64_t key, const char *text,
                          int64_t now_us, uint64_t *alike) {
  kind *k = find_locked(w, key, now_us);
  *alike = 0;
  if (k == NULL) {
    if (w->others++ == 0) w->crowded_us = now_us;
    return false;
  }
  if (k->key == key && now_us - k->said_us < EVERY_US) {
    k->alike++;
    memcpy(k->text, text, TEXT_MAX);
    return false;
  }
  if (k->key == key) *alike = k->alike;
  k->key = key;
  k->said_us = now_us;
  k->alike = 0;
  return true;
}

static void say (strand_warnings *w, const char *text, uint64_t alike) {
  if (alike == 0) {
    strand_log_push(w->log, STRAND_LOG_WARNING, "strand", text);
    return;
  }
  strand_log_printf(w->log, STRAND_LOG_WARNING, "strand",
                    "%s (and %llu more like it)", text,
                    (unsigned long long)alike);
}

void strand_warnings_take (strand_warnings *w, const strand_event *event,
                           int64_t now_us) {
  char text[TEXT_MAX];
  uint64_t alike;
  bool now;
  if (!is_failure(event->type)) return;
  memset(text, 0, sizeof(text));
  write_text(text, event);
  strand_lock_take(&w->lock);
  now = count_locked(w, key_of(event), text, now_us, &alike);
  strand_lock_release(&w->lock);
  if (now) say(w, text, alike);
}

/* The next one that has waited for a second; the last of them is said. */
static bool next_locked (strand_warnings *w, int64_t now_us, char *text,
                         uint64_t *alike) {
  for (size_t i = 0; i < STRAND_WARNINGS_MAX; i++) {
    kind *k = &w->kinds[i];
    if (k->alike == 0 || now_us - k->said_us < EVERY_US) continue;
    memcpy(text, k->text, TEXT_MAX);
    *alike = k->alike - 1;
    k->alike = 0;
    k->said_us = now_us;
    return true;
  }
  if (w->others == 0 || now_us - w->crowded_us < EVERY_US) return false;
  snprintf(text, TEXT_MAX, "%llu more warnings, of too many kinds to say",
           (unsigned long long)w->others);
  w->others = *alike = 0;
  return true;
}

void strand_warnings_tick (strand_warnings *w, int64_t now_us) {
  char text[TEXT_MAX];
  uint64_t alike;
  bool some;
  do {
    strand_lock_take(&w->lock);
    some = next_locked(w, now_us, text, &alike);
    strand_lock_release(&w->lock);
    if (some) say(w, text, alike);
  } while (some);
}
