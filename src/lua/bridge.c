/*
** bridge.c - see bridge.h
*/
#include "lua/bridge.h"

#include <errno.h>
#include <string.h>

#include "base/bridge.h"
#include "lua/compat.h"
#include "lua/object.h"

#define BRIDGE "strand.Bridge"

typedef struct bridge {
  strand_bridge base;
  int generation;
} bridge;

static int bridge_open (lua_State *L) {
  const char *folder = strand_check_text(L, 1);
  strand_failure failure;
  bridge *self = strand_newuserdata(L, sizeof(*self));
  strand_bridge_init(&self->base);
  self->generation = strand_fork_generation();
  strand_settype(L, BRIDGE);
  if (strand_bridge_open(&self->base, folder, &failure)) return 1;
  strand_bridge_close(&self->base);
  return strand_push_failure(L, &failure);
}

static bridge *check_self (lua_State *L) {
  return luaL_checkudata(L, 1, BRIDGE);
}

static int bridge_path (lua_State *L) {
  lua_pushstring(L, check_self(L)->base.path);
  return 1;
}

static int bridge_accept (lua_State *L) {
  bridge *self = check_self(L);
  strand_failure failure;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  return strand_push_done(L, strand_bridge_accept(&self->base, &failure),
                          &failure);
}

static int bridge_arm (lua_State *L) {
  bridge *self = check_self(L);
  int64_t fd = strand_check_int64(L, 2);
  strand_failure failure;
  if (strand_is_forked(self->generation)) return strand_push_forked(L);
  luaL_argcheck(L, fd >= 0 && fd <= INT32_MAX, 2, "a descriptor expected");
  if (strand_bridge_arm(&self->base, (int)fd)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  strand_fail(&failure, "SOCKET", "descriptor %d cannot be waited for: %s",
              (int)fd, strerror(errno));
  return strand_push_failure(L, &failure);
}

static int bridge_tell (lua_State *L) {
  bridge *self = check_self(L);
  lua_pushboolean(
    L, !strand_is_forked(self->generation)
         && strand_bridge_tell(&self->base, (int)luaL_checknumber(L, 2)));
  return 1;
}

static int bridge_close (lua_State *L) {
  bridge *self = check_self(L);
  if (strand_is_forked(self->generation)) strand_bridge_forget(&self->base);
  else strand_bridge_close(&self->base);
  return 0;
}

static const luaL_Reg methods[] = {
  { "path", bridge_path }, { "accept", bridge_accept }, { "arm", bridge_arm },
  { "tell", bridge_tell }, { "close", bridge_close },   { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", bridge_close },
  { NULL, NULL },
};

void strand_open_bridge (lua_State *L) {
  strand_newtype(L, BRIDGE, methods, metamethods);
  lua_pushcfunction(L, bridge_open);
  lua_setfield(L, -2, "bridge");
}
