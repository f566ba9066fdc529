/*
** record.h - the record as a handler sees it
**
** A handler gets a fresh userdata for each record. It holds no record, only
** the number of a handling and its serial: what a state has of the current
** records knows which one that is, until the handler has returned. The records
** of a batch have serials that follow each other. A worker's state handles one
** record or batch at a time, the state of local mode many.
**
**   handler's record --number--> current --while serials agree--> strand_record
**
** Bytes become Lua strings when they are asked for, and once: a cache keeps
** them until the record's end. (Not those of a batch, whose handler looks at
** each field once.)
**
** A state's currents outlive its finalizers, and so may a record that one of
** them kept: with no current left each says that its handler has returned.
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

/* One handling. */
typedef struct strand_current {
  const strand_record *const *records; /* borrows until strand_current_end */
  const strand_record *single; /* what 'records' points to without a batch */
  uint64_t serial;             /* of this handling, and its first record */
  uint64_t count;              /* records; 0: none is handled */
  struct strand_batch_state *batch; /* of its batch (batch.h); or NULL */
  uint32_t number;                  /* its place among the state's */
  unsigned cached;                  /* bits, by the slots of record.c */
} strand_current;

/* All of a state. */
typedef struct strand_currents {
  strand_current *const *each;
  uint32_t count;
  const char *names[STRAND_FIELD_COUNT]; /* this state's own strings: equal
                                    names are one string, compared by address */
} strand_currents;

typedef struct strand_record_userdata {
  const strand_currents *owner;
  uint64_t serial;
  uint32_t number;
} strand_record_userdata;

/* Pushes a list of { name, value } of packed headers (core/record.h). */
void strand_push_headers (lua_State *L, const char *packed, uint32_t length);
/* Pushes "topic/partition/offset". */
void strand_push_record_id (lua_State *L, const char *topic, int32_t partition,
                            int64_t offset);
/* Pushes a plain table with all that 'r' has. */
void strand_push_record (lua_State *L, const strand_record *r,
                         const char *topic, int32_t partition);

/* Pushes the metatable of records of 'currents', and the cache. 'currents' has
** none yet, and must live as long as the state does, or what is at 'anchor',
** which the metatable keeps; 0: nothing. */
void strand_currents_open (lua_State *L, strand_currents *currents,
                           int anchor);
/* The current of that number; 'each' of its currents has it. */
static inline void strand_current_init (strand_current *current,
                                        uint32_t number) {
  *current = (strand_current){ .number = number };
}

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
static inline void strand_current_push (lua_State *L,
                                        const strand_currents *owner,
                                        const strand_current *current,
                                        uint32_t index, int metatable) {
  strand_record_userdata *self = strand_newuserdata(L, sizeof(*self));
  self->owner = owner;
  self->serial = current->serial + index;
  self->number = current->number;
  lua_pushvalue(L, metatable);
  lua_setmetatable(L, -2);
}

/* The handler has returned. Never raises; the cache is at 'cache'. */
void strand_current_end (lua_State *L, strand_current *current, int cache);

#endif
