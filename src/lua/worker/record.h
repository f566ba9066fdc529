/*
** record.h - the record as a handler sees it
**
** A handler gets a fresh userdata for each record. It holds no record, only
** the serial of its handling: what a state has of the current records knows
** which one that is, until the handler has returned. The records of a batch
** have serials that follow each other.
**
**   handler's record --serial--> current --while serials agree--> strand_record
**
** Bytes become Lua strings when they are asked for, and once: a cache keeps
** them until the record's end. (Not those of a batch, whose handler looks at
** each field once.)
**
** Thread: worker.
*/
#ifndef STRAND_LUA_RECORD_H
#define STRAND_LUA_RECORD_H

#include <stdint.h>

#include "core/record.h"
#include "lua/compat.h"

/* In the order of likely use: names are found one after another. */
typedef enum strand_field {
  STRAND_FIELD_KEY,
  STRAND_FIELD_VALUE,
  STRAND_FIELD_OFFSET,
  STRAND_FIELD_TOPIC,
  STRAND_FIELD_PARTITION,
  STRAND_FIELD_HEADERS,
  STRAND_FIELD_TIMESTAMP,
  STRAND_FIELD_ATTEMPT,
  STRAND_FIELD_ID,
  STRAND_FIELD_TIMESTAMP_TYPE,
  STRAND_FIELD_LEADER_EPOCH,
  STRAND_FIELD_HEADER, /* methods */
  STRAND_FIELD_COPY,
  STRAND_FIELD_COUNT
} strand_field;

typedef struct strand_current {
  const strand_record *const *records; /* borrows until strand_current_end */
  const strand_record *single; /* what 'records' points to without a batch */
  uint64_t serial;             /* of this handling, and its first record */
  uint64_t count;              /* records; 0: none is handled */
  unsigned cached;             /* bits by strand_field */
  const char *names[STRAND_FIELD_COUNT]; /* this state's own strings: equal
                                    names are one string, compared by address */
} strand_current;

typedef struct strand_record_userdata {
  strand_current *current;
  uint64_t serial;
} strand_record_userdata;

/* Pushes a plain table with all that 'r' has. */
void strand_push_record (lua_State *L, const strand_record *r,
                         const char *topic, int32_t partition);

/* Pushes the metatable of this state's records, and the cache. 'current'
** must live as long as the state does. */
void strand_current_open (lua_State *L, strand_current *current);

/* What is handled from now on, until strand_current_end. */
static inline void strand_current_begin (strand_current *current,
                                         const strand_record *const *records,
                                         uint32_t count) {
  current->records = records;
  current->count = count;
}

static inline void strand_current_single (strand_current *current,
                                          const strand_record *record) {
  current->single = record;
  strand_current_begin(current, &current->single, 1);
}

/* The record of that index, from 0. The metatable is at 'metatable', which
** may be an upvalue. */
static inline void strand_current_push (lua_State *L, strand_current *current,
                                        uint32_t index, int metatable) {
  strand_record_userdata *self = strand_newuserdata(L, sizeof(*self));
  self->current = current;
  self->serial = current->serial + index;
  lua_pushvalue(L, metatable);
  lua_setmetatable(L, -2);
}

/* The handler has returned. Never raises; the cache is at 'cache'. */
void strand_current_end (lua_State *L, strand_current *current, int cache);

#endif
