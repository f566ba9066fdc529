/*
** module.c - strand.core, what the Lua side is built on
**
** Each file of src/lua adds its own functions; here are the few that belong
** to none:
**
**   now()                    seconds, monotonic
**   wait({ fd, ... }, timeout?) -> how many are readable. Ends early, with
**                            0, when a signal came; no timeout: waits on
**   call(handler | nil, f, ...) -> true, what f returns | false, error. As
**                            xpcall, but a yield in 'f' raises in every Lua
**   librdkafka_version       text
*/
#define _GNU_SOURCE /* dladdr, RTLD_NODELETE */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include <librdkafka/rdkafka.h>

#include "base/clock.h"
#include "lua/admin.h"
#include "lua/bridge.h"
#include "lua/compat.h"
#include "lua/consumer.h"
#include "lua/driver.h"
#include "lua/host.h"
#include "lua/metadata.h"
#include "lua/mock.h"
#include "lua/pattern.h"
#include "lua/producer.h"
#include "lua/properties.h"
#include "lua/signals.h"
#include "lua/testing.h"
#include "lua/worker/outcome.h"
#include "lua/yieldable.h"

static int core_now (lua_State *L) {
  lua_pushnumber(L, (lua_Number)strand_clock_now());
  return 1;
}

/* Pushes what owns the array. */
static struct pollfd *push_fds (lua_State *L, int list, size_t count) {
  struct pollfd *fds = strand_newuserdata(L, (count + 1) * sizeof(*fds));
  size_t i;
  for (i = 0; i < count; i++) {
    int64_t fd = -1;
    lua_rawgeti(L, list, (int)i + 1);
    if (!strand_to_int64(L, -1, &fd) || fd < 0 || fd > INT32_MAX)
      luaL_argerror(L, list, "list of file descriptors expected");
    lua_pop(L, 1);
    fds[i].fd = (int)fd;
    fds[i].events = POLLIN;
    fds[i].revents = 0;
  }
  return fds;
}

static int core_wait (lua_State *L) {
  double timeout;
  struct pollfd *fds;
  size_t count;
  int ready;
  luaL_checktype(L, 1, LUA_TTABLE);
  timeout = strand_opt_seconds(L, 2, -1);
  count = strand_rawlen(L, 1);
  fds = push_fds(L, 1, count);
  ready = poll(
    fds, (nfds_t)count,
    timeout < 0 ? -1 : strand_clock_left_ms(strand_clock_now() + timeout));
  if (ready < 0 && errno != EINTR)
    return luaL_error(L, "poll: %s", strerror(errno));
  lua_pushinteger(L, ready < 0 ? 0 : ready);
  return 1;
}

/* A call from C has no continuation: whoever yields in it would leave its
** caller behind for ever, so Lua raises there instead. */
static int core_call (lua_State *L) {
  int handler = lua_isnoneornil(L, 1) ? 0 : 1;
  luaL_checkany(L, 2);
  lua_pushboolean(L, 1);
  lua_insert(L, 2);
  if (lua_pcall(L, lua_gettop(L) - 3, LUA_MULTRET, handler) == 0)
    return lua_gettop(L) - 1;
  lua_pushboolean(L, 0);
  lua_replace(L, 2);
  return 2;
}

static const luaL_Reg functions[] = {
  { "call", core_call },
  { "now", core_now },
  { "wait", core_wait },
  { NULL, NULL },
};

STRAND_EXPORT int luaopen_strand_core (lua_State *L);

/* A Lua state that closes unloads its C modules, while threads of ours and
** of librdkafka may still run. Where the linker was not told -z nodelete, the
** module keeps itself loaded. */
static void stay_loaded (void) {
  int (*self)(lua_State *) = luaopen_strand_core;
  Dl_info found;
  void *address;
  memcpy(&address, &self, sizeof(address));
  if (dladdr(address, &found) == 0 || found.dli_fname == NULL) return;
  dlopen(found.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_NODELETE);
}

/* In a program started with a standard descriptor closed, the next that is
** opened gets its number: a socket of librdkafka would then receive what is
** written to the log. */
static void occupy_standard_descriptors (void) {
  int fd;
  do {
    fd = open("/dev/null", O_RDWR);
  } while (fd >= 0 && fd <= STDERR_FILENO);
  if (fd >= 0) close(fd);
}

int luaopen_strand_core (lua_State *L) {
  stay_loaded();
  occupy_standard_descriptors();
  lua_newtable(L);
  strand_setfuncs(L, functions);
  lua_pushstring(L, rd_kafka_version_str());
  lua_setfield(L, -2, "librdkafka_version");
  strand_open_signals(L);
  strand_open_properties(L);
  strand_open_mock(L);
  strand_open_producer(L);
  strand_open_admin(L);
  strand_open_consumer(L);
  strand_open_pattern(L);
  strand_open_outcomes(L);
  strand_open_metadata(L);
  strand_open_testing(L);
  strand_open_driver(L);
  strand_open_host(L);
  strand_open_yieldable(L);
  strand_open_bridge(L);
  return 1;
}
