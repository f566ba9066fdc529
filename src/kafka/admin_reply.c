/*
** admin_reply.c - see admin_reply.h
*/
#include "kafka/admin_reply.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "kafka/errors.h"
#include "kafka/log.h"

#define FIRST_ITEMS 64
#define FIRST_BYTES 1024

/*
** Room
*/

/* The block, with room for 'wanted' of 'unit' bytes; NULL: no memory, and it
** is as it was. */
static void *grown (void *block, size_t *capacity, size_t wanted, size_t unit,
                    size_t first) {
  size_t more = *capacity > 0 ? *capacity : first;
  void *larger;
  while (more < wanted) more *= 2;
  larger = realloc(block, more * unit);
  if (larger != NULL) *capacity = more;
  return larger;
}

/* NULL: there is no memory. */
static strand_reply_item *new_item (strand_reply *a) {
  strand_reply_item *items;
  if (a->failed) return NULL;
  if (a->count < a->capacity) return &a->items[a->count++];
  items = grown(a->items, &a->capacity, a->count + 1, sizeof(*items),
                FIRST_ITEMS);
  if (items == NULL) {
    a->failed = true;
    return NULL;
  }
  a->items = items;
  return &a->items[a->count++];
}

static bool make_room (strand_reply *a, size_t length) {
  char *bytes;
  if (a->failed) return false;
  if (a->bytes != NULL && a->size - a->used >= length) return true;
  bytes = grown(a->bytes, &a->size, a->used + length, 1, FIRST_BYTES);
  if (bytes != NULL) a->bytes = bytes;
  else a->failed = true;
  return bytes != NULL;
}

/*
** Items
*/

/* After one was added. */
static void check_added (const strand_reply *a) {
  (void)a;
  assert(a->depth <= STRAND_REPLY_DEPTH); /* (1) */
  assert(!a->failed);                     /* (2) */
}

static void add (strand_reply *a, strand_reply_item item) {
  strand_reply_item *to = new_item(a);
  if (to == NULL) return;
  *to = item;
  check_added(a);
}

void strand_reply_open (strand_reply *a, const char *name) {
  assert(a->depth < STRAND_REPLY_DEPTH);
  a->depth++;
  add(a, (strand_reply_item){ .kind = STRAND_REPLY_OPEN, .name = name });
}

void strand_reply_close (strand_reply *a) {
  assert(a->depth > 0);
  a->depth--;
  add(a, (strand_reply_item){ .kind = STRAND_REPLY_CLOSE });
}

void strand_reply_integer (strand_reply *a, const char *name, int64_t n) {
  add(a, (strand_reply_item){
           .kind = STRAND_REPLY_INTEGER, .name = name, .value.integer = n });
}

void strand_reply_number (strand_reply *a, const char *name, double n) {
  add(a, (strand_reply_item){
           .kind = STRAND_REPLY_NUMBER, .name = name, .value.number = n });
}

void strand_reply_flag (strand_reply *a, const char *name, bool is) {
  add(a, (strand_reply_item){
           .kind = STRAND_REPLY_FLAG, .name = name, .value.integer = is });
}

void strand_reply_bytes (strand_reply *a, const char *name, const void *bytes,
                         size_t length) {
  if (bytes == NULL || !make_room(a, length)) return;
  if (length > 0) memcpy(a->bytes + a->used, bytes, length);
  add(a, (strand_reply_item){ .kind = STRAND_REPLY_BYTES,
                              .name = name,
                              .value.bytes = { a->used, length } });
  a->used += length;
}

void strand_reply_text (strand_reply *a, const char *name, const char *text) {
  if (text != NULL) strand_reply_bytes(a, name, text, strlen(text));
}

void strand_reply_place (strand_reply *a, const char *topic,
                         int32_t partition) {
  strand_reply_text(a, "topic", topic);
  strand_reply_integer(a, "partition", partition);
}

void strand_reply_error (strand_reply *a, rd_kafka_resp_err_t err,
                         const char *text) {
  char code[sizeof(((strand_failure *)0)->code)];
  char message[257];
  if (err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
  if (text == NULL) text = rd_kafka_err2str(err);
  strand_log_escape(message, sizeof(message), text, strlen(text));
  strand_reply_text(a, "message", message);
  strand_reply_text(a, "code", strand_code_of(err, code, sizeof(code)));
}

/*
** The end
*/

bool strand_reply_complete (const strand_reply *a, strand_failure *failure) {
  assert(a->depth == 0);
  if (a->failed) strand_fail(failure, "NO_MEMORY", "out of memory");
  return !a->failed;
}

void strand_reply_free (strand_reply *a) {
  free(a->items);
  free(a->bytes);
  memset(a, 0, sizeof(*a));
}
