/*
** admin_reply.h - what the brokers said, on its way to Lua
**
** A sequence of items that becomes nested tables: what opens a table, what it
** holds, what closes it. So the requests of the admin need no struct for each
** reply, and Lua owns one thing, which it frees when it has made the tables.
**
** Invariants:
**   (1) A table that is closed was open; at most STRAND_REPLY_DEPTH are.
**   (2) Once memory ran out nothing more is added.
**
** Thread: lua.
*/
#ifndef STRAND_ADMIN_REPLY_H
#define STRAND_ADMIN_REPLY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <librdkafka/rdkafka.h>

#include "base/err.h"

#define STRAND_REPLY_DEPTH 8

typedef enum strand_reply_kind {
  STRAND_REPLY_OPEN,
  STRAND_REPLY_CLOSE,
  STRAND_REPLY_INTEGER,
  STRAND_REPLY_NUMBER,
  STRAND_REPLY_FLAG,
  STRAND_REPLY_BYTES
} strand_reply_kind;

typedef struct strand_reply_item {
  strand_reply_kind kind;
  const char *name; /* static; NULL: it is the next of a list */
  union {
    int64_t integer; /* INTEGER, FLAG */
    double number;
    struct {
      size_t at; /* in strand_reply.bytes */
      size_t length;
    } bytes;
  } value;
} strand_reply_item;

/* All 0: empty. */
typedef struct strand_reply {
  strand_reply_item *items;
  size_t count;
  size_t capacity;
  char *bytes;
  size_t used;
  size_t size;
  unsigned depth;
  bool failed; /* memory ran out */
} strand_reply;

void strand_reply_open (strand_reply *a, const char *name);
void strand_reply_close (strand_reply *a);
void strand_reply_integer (strand_reply *a, const char *name, int64_t n);
void strand_reply_number (strand_reply *a, const char *name, double n);
void strand_reply_flag (strand_reply *a, const char *name, bool is);

/* NULL: nothing is added. */
void strand_reply_text (strand_reply *a, const char *name, const char *text);
void strand_reply_bytes (strand_reply *a, const char *name, const void *bytes,
                         size_t length);

/* topic and partition. */
void strand_reply_place (strand_reply *a, const char *topic,
                         int32_t partition);

/* message and code, where there is an error. 'text' NULL: librdkafka's. */
void strand_reply_error (strand_reply *a, rd_kafka_resp_err_t err,
                         const char *text);

/* All of it is there, and every table is closed; false and a failure: memory
** ran out. */
bool strand_reply_complete (const strand_reply *a, strand_failure *failure);

/* It is empty again. */
void strand_reply_free (strand_reply *a);

#endif
