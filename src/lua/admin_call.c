/*
** admin_call.c - see admin_call.h
*/
#include "lua/admin_call.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/system.h"
#include "base/thread.h"
#include "lua/compat.h"
#include "lua/object.h"

#define TICKET "strand.core.AdminTicket"

typedef struct ticket {
  strand_admin_call *call; /* NULL: answered */
  int generation;
} ticket;

/*
** Arguments
*/

typedef struct strand_admin_block {
  struct strand_admin_block *next;
} strand_admin_block;

/* Of 'size' bytes, its own; NULL: no memory. */
static void *copy (strand_admin_call *c, const void *from, size_t size) {
  strand_admin_block *block = malloc(sizeof(*block) + size);
  if (block == NULL) {
    c->no_memory = true;
    return NULL;
  }
  block->next = c->blocks;
  c->blocks = block;
  return memcpy(block + 1, from, size);
}

static const char *copy_text (strand_admin_call *c, const char *text) {
  return text == NULL ? NULL : copy(c, text, strlen(text) + 1);
}

static const char *const *copy_texts (strand_admin_call *c,
                                      const char *const *from) {
  const char **to = from == NULL ? NULL
                                 : copy(c, from, c->count * sizeof(*from));
  for (size_t i = 0; to != NULL && i < c->count; i++)
    to[i] = copy_text(c, from[i]);
  return to;
}

static const strand_property *copy_properties (strand_admin_call *c,
                                               const strand_property *from,
                                               size_t count) {
  strand_property *to = from == NULL ? NULL
                                     : copy(c, from, count * sizeof(*from));
  for (size_t i = 0; to != NULL && i < count; i++) {
    to[i].name = copy_text(c, from[i].name);
    to[i].value = copy_text(c, from[i].value);
  }
  return to;
}

static const strand_new_topic *copy_topics (strand_admin_call *c,
                                            const strand_new_topic *from) {
  strand_new_topic *to = from == NULL
                           ? NULL
                           : copy(c, from, c->count * sizeof(*from));
  for (size_t i = 0; to != NULL && i < c->count; i++) {
    to[i].name = copy_text(c, from[i].name);
    to[i].config = copy_properties(c, from[i].config, from[i].config_count);
  }
  return to;
}

static const strand_admin_place *copy_places (strand_admin_call *c,
                                              const strand_admin_place *from) {
  strand_admin_place *to = from == NULL
                             ? NULL
                             : copy(c, from, c->count * sizeof(*from));
  for (size_t i = 0; to != NULL && i < c->count; i++)
    to[i].topic = copy_text(c, from[i].topic);
  return to;
}

/* False: memory ran out. */
static bool own_arguments (strand_admin_call *c) {
  c->group = copy_text(c, c->group);
  c->name = copy_text(c, c->name);
  c->texts = copy_texts(c, c->texts);
  c->topics = copy_topics(c, c->topics);
  c->places = copy_places(c, c->places);
  c->changes = copy_properties(c, c->changes, c->count);
  c->reading.topic = copy_text(c, c->reading.topic);
  return !c->no_memory;
}

strand_admin_call strand_admin_call_of (lua_State *L, int timeout) {
  strand_admin_call call;
  memset(&call, 0, sizeof(call));
  call.wake_fd = -1;
  call.timeout = strand_opt_seconds(L, timeout, STRAND_ADMIN_TIMEOUT);
  return call;
}

/*
** Its life
*/

static void free_call (strand_admin_call *c) {
  while (c->blocks != NULL) {
    strand_admin_block *block = c->blocks;
    c->blocks = block->next;
    free(block);
  }
  strand_reply_free(&c->reply);
  strand_topic_answers_free(&c->answers);
  strand_group_offsets_free(&c->offsets);
  strand_lock_free(&c->lock);
  free(c);
}

static void release (strand_admin_call *c) {
  bool last;
  strand_lock_take(&c->lock);
  last = --c->refs == 0;
  strand_lock_release(&c->lock);
  if (last) free_call(c);
}

static bool has_ended (strand_admin_call *c) {
  bool ended;
  strand_lock_take(&c->lock);
  ended = c->ended;
  strand_lock_release(&c->lock);
  return ended;
}

bool strand_admin_call_leave (strand_admin_call *c) {
  bool goes_on;
  if (c == NULL) return false;
  strand_lock_take(&c->lock);
  goes_on = c->closes_admin = !c->ended; /* (2) */
  strand_lock_release(&c->lock);
  release(c);
  return goes_on;
}

static void *run (void *argument) {
  strand_admin_call *c = argument;
  int fd = c->wake_fd;
  bool closes;
  c->ok = c->run(c);
  strand_lock_take(&c->lock);
  c->ended = true;
  closes = c->closes_admin;
  strand_lock_release(&c->lock);
  eventfd_write(fd, 1);
  close(fd);
  if (closes) strand_admin_close(c->admin, STRAND_ADMIN_END);
  release(c);
  return NULL;
}

/*
** Asking
*/

static int push_answer (lua_State *L, ticket *t) {
  int pushed = t->call->push(L, t->call);
  release(t->call);
  t->call = NULL;
  return pushed;
}

static int fail_memory (lua_State *L) {
  strand_failure failure;
  strand_admin_no_memory(&failure);
  return strand_push_failure(L, &failure);
}

/* Before another one. */
static void check (const strand_admin_object *self) {
  (void)self;
  assert(self->call == NULL || has_ended(self->call)); /* (1) */
}

/* The object, the thread and a ticket have it. False and a failure: no thread,
** and it is as before. */
static bool start (strand_admin_object *self, strand_admin_call *c,
                   strand_failure *failure) {
  pthread_t thread;
  check(self);
  c->wake_fd = fcntl(self->fd, F_DUPFD_CLOEXEC, 0);
  if (c->wake_fd < 0) {
    strand_fail_descriptor(failure, "an admin's eventfd", errno);
    return false;
  }
  c->refs = 3;
  if (strand_thread_start(&thread, run, c)) {
    pthread_detach(thread);
    if (self->call != NULL) release(self->call);
    self->call = c;
    return true;
  }
  strand_fail_thread(failure, "the thread of the admin", errno);
  c->refs = 1;
  close(c->wake_fd);
  return false;
}

/* NULL: no memory. */
static strand_admin_call *new_call (const strand_admin_call *from) {
  strand_admin_call *c = malloc(sizeof(*c));
  if (c == NULL) return NULL;
  *c = *from;
  c->refs = 1;
  strand_lock_init(&c->lock, STRAND_RANK_LEAF);
  if (own_arguments(c)) return c;
  free_call(c);
  return NULL;
}

/* Pushed before there is anything to own. */
static ticket *push_ticket (lua_State *L) {
  ticket *t = strand_newuserdata(L, sizeof(*t));
  t->call = NULL;
  t->generation = strand_fork_generation();
  strand_settype(L, TICKET);
  return t;
}

int strand_admin_submit (lua_State *L, strand_admin_object *self,
                         const strand_admin_call *call, strand_admin_run *ask,
                         strand_admin_push *push) {
  strand_failure failure;
  strand_admin *admin = strand_check_open_admin(L);
  ticket *t;
  if (self->call != NULL && !has_ended(self->call))
    return luaL_error(L, "the admin is being asked");
  t = push_ticket(L);
  t->call = new_call(call);
  if (t->call == NULL) return fail_memory(L);
  t->call->admin = admin;
  t->call->run = ask;
  t->call->push = push;
  if (self->fd < 0) {
    t->call->ok = ask(t->call);
    return push_answer(L, t);
  }
  if (!start(self, t->call, &failure)) return strand_push_failure(L, &failure);
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  return 2;
}

/*
** Methods
*/

/* async() -> true | nil, message, code */
static int admin_async (lua_State *L) {
  strand_failure failure;
  strand_admin_object *self = strand_check_admin(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (self->fd < 0) self->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (self->fd < 0) strand_fail_descriptor(&failure, "an eventfd", errno);
  return strand_push_done(L, self->fd >= 0, &failure);
}

static int admin_fd (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (self->fd < 0) return 0;
  lua_pushinteger(L, self->fd);
  return 1;
}

/* keep(boolean): fd is readable, or not */
static int admin_keep (lua_State *L) {
  strand_admin_object *self = strand_check_admin(L);
  eventfd_t n;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  if (self->fd < 0) return 0;
  if (lua_toboolean(L, 2)) eventfd_write(self->fd, 1);
  else eventfd_read(self->fd, &n);
  return 0;
}

static int admin_is_busy (lua_State *L) {
  const strand_admin_object *self = strand_check_admin(L);
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  lua_pushboolean(L, self->call != NULL && !has_ended(self->call));
  return 1;
}

/* answer(ticket) -> false: not yet | what the method gives */
static int admin_answer (lua_State *L) {
  ticket *t = luaL_checkudata(L, 2, TICKET);
  if (strand_is_forked(t->generation)) return strand_push_forked(L);
  if (t->call == NULL) return luaL_error(L, "this question was answered");
  if (has_ended(t->call)) return push_answer(L, t);
  lua_pushboolean(L, 0);
  return 1;
}

static int ticket_gc (lua_State *L) {
  ticket *t = luaL_checkudata(L, 1, TICKET);
  if (t->call != NULL && !strand_is_forked(t->generation)) release(t->call);
  t->call = NULL;
  return 0;
}

static const luaL_Reg methods[] = {
  { "async", admin_async },   { "fd", admin_fd },
  { "keep", admin_keep },     { "is_busy", admin_is_busy },
  { "answer", admin_answer }, { NULL, NULL },
};

static const luaL_Reg no_methods[] = {
  { NULL, NULL },
};

static const luaL_Reg ticket_metamethods[] = {
  { "__gc", ticket_gc },
  { NULL, NULL },
};

void strand_open_admin_calls (lua_State *L) {
  strand_addmethods(L, STRAND_ADMIN_TYPE, methods);
  strand_newtype(L, TICKET, no_methods, ticket_metamethods);
}
