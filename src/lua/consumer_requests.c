/*
** consumer_requests.c - see consumer_requests.h
*/
#include "lua/consumer_requests.h"

#include <stdbool.h>

#include "consumer/consumer.h"
#include "lua/compat.h"
#include "lua/consumer_object.h"
#include "lua/object.h"
#include "lua/results.h"

#define TICKET "strand.core.Ticket"

typedef struct ticket {
  strand_ticket *kafka; /* NULL: answered or dropped */
  bool lists;           /* the answer is a page of parked records */
  int generation;
} ticket;

/* Pushed before there is anything to own. */
static ticket *push_ticket (lua_State *L) {
  ticket *t = strand_newuserdata(L, sizeof(*t));
  t->kafka = NULL;
  t->lists = false;
  t->generation = strand_fork_generation();
  strand_settype(L, TICKET);
  return t;
}

static int push_made (lua_State *L, const ticket *t,
                      const strand_failure *failure) {
  return t->kafka != NULL ? 1 : strand_push_failure(L, failure);
}

static void drop (ticket *t) {
  strand_ticket *kafka = t->kafka;
  t->kafka = NULL;
  if (kafka != NULL && !strand_is_forked(t->generation))
    strand_consumer_drop(kafka);
}

static int consumer_commit_begin (lua_State *L) {
  strand_failure failure;
  const strand_consumer_object *self = strand_check_consumer(L);
  ticket *t;
  if (self == NULL) return strand_push_forked(L);
  t = push_ticket(L);
  t->kafka = strand_consumer_commit(self->kafka, &failure);
  return push_made(L, t, &failure);
}

static int64_t check_place (lua_State *L, strand_seek_kind kind) {
  switch (kind) {
    case STRAND_SEEK_OFFSET: return strand_check_int64(L, 5);
    case STRAND_SEEK_TIME: return strand_check_millis(L, 5);
    default: return 0;
  }
}

static int consumer_seek_begin (lua_State *L) {
  static const char *const kinds[] = { "offset", "time", "earliest", "latest",
                                       NULL };
  strand_failure failure;
  const strand_consumer_object *self = strand_check_consumer(L);
  const char *topic = strand_check_text(L, 2);
  int32_t partition = strand_check_partition(L, 3);
  strand_seek_kind kind = (strand_seek_kind)luaL_checkoption(L, 4, NULL,
                                                             kinds);
  int64_t value = check_place(L, kind);
  ticket *t;
  if (self == NULL) return strand_push_forked(L);
  t = push_ticket(L);
  t->kafka = strand_consumer_seek(self->kafka, topic, partition, kind, value,
                                  &failure);
  return push_made(L, t, &failure);
}

static int consumer_parked_begin (lua_State *L) {
  strand_failure failure;
  const strand_consumer_object *self = strand_check_consumer(L);
  int64_t member = strand_check_int64(L, 2);
  const char *topic = strand_check_text(L, 3);
  int32_t partition = strand_check_partition(L, 4);
  int64_t offset = strand_check_int64(L, 5);
  ticket *t;
  if (self == NULL) return strand_push_forked(L);
  luaL_argcheck(L, member >= 0 && member < self->members, 2,
                "number of a member expected");
  t = push_ticket(L);
  t->lists = true;
  t->kafka = strand_consumer_parked(self->kafka, (unsigned)member, topic,
                                    partition, offset, &failure);
  return push_made(L, t, &failure);
}

static int consumer_resolve_begin (lua_State *L) {
  static const char *const what[] = { "retry", "discard", "dead_letter",
                                      NULL };
  static const strand_resolution resolutions[] = {
    STRAND_RESOLVE_RETRY, STRAND_RESOLVE_DISCARD, STRAND_RESOLVE_DEAD_LETTER
  };
  strand_failure failure;
  const strand_consumer_object *self = strand_check_consumer(L);
  const char *topic = strand_check_text(L, 2);
  int32_t partition = strand_check_partition(L, 3);
  int64_t offset = strand_check_int64(L, 4);
  int resolution = luaL_checkoption(L, 5, NULL, what);
  ticket *t;
  if (self == NULL) return strand_push_forked(L);
  t = push_ticket(L);
  t->kafka = strand_consumer_resolve(self->kafka, topic, partition, offset,
                                     resolutions[resolution], &failure);
  return push_made(L, t, &failure);
}

/* Pushing the answer may raise: so the ticket is dropped after that. */
static int consumer_done (lua_State *L) {
  strand_failure failure;
  const strand_consumer_object *self = strand_check_consumer(L);
  ticket *t = luaL_checkudata(L, 2, TICKET);
  int done;
  if (self == NULL) return strand_push_forked(L);
  if (t->kafka == NULL) return luaL_error(L, "this request has ended");
  done = strand_ticket_done(t->kafka, &failure);
  if (done > 0 && t->lists)
    strand_push_parked(L, strand_ticket_parked(t->kafka));
  else if (done >= 0) lua_pushboolean(L, done);
  else strand_push_failure(L, &failure);
  if (done != 0) drop(t);
  return done < 0 ? 3 : 1;
}

static int consumer_drop (lua_State *L) {
  ticket *t = luaL_checkudata(L, 2, TICKET);
  if (strand_check_consumer(L) == NULL) return strand_push_forked(L);
  drop(t);
  return 0;
}

static int ticket_gc (lua_State *L) {
  drop(luaL_checkudata(L, 1, TICKET));
  return 0;
}

static const luaL_Reg methods[] = {
  { "commit_begin", consumer_commit_begin },
  { "commit_done", consumer_done },
  { "seek_begin", consumer_seek_begin },
  { "seek_done", consumer_done },
  { "parked_begin", consumer_parked_begin },
  { "parked_done", consumer_done },
  { "resolve_begin", consumer_resolve_begin },
  { "resolve_done", consumer_done },
  { "drop", consumer_drop },
  { NULL, NULL },
};

static const luaL_Reg no_methods[] = {
  { NULL, NULL },
};

static const luaL_Reg ticket_metamethods[] = {
  { "__gc", ticket_gc },
  { NULL, NULL },
};

void strand_open_consumer_requests (lua_State *L) {
  strand_addmethods(L, STRAND_CONSUMER_TYPE, methods);
  strand_newtype(L, TICKET, no_methods, ticket_metamethods);
}
