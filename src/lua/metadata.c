/*
** metadata.c - see metadata.h
**
** What C allocates is always owned by a userdata, for Lua may raise between
** any two lines.
*/
#include "lua/metadata.h"

#include "codec/payload.h"
#include "lua/compat.h"
#include "lua/object.h"

#define DECODED "strand.metadata.decoded"
#define LIMIT 4096        /* characters; the brokers' default */
#define LIMIT_MAX 1048576 /* as max_metadata has it */

/* The highest offset that this Lua can name, and that has one above it. */
#if LUA_VERSION_NUM >= 503
#define OFFSET_MAX (INT64_MAX - 1)
#else
#define OFFSET_MAX STRAND_INT_MAX
#endif

static int push_error (lua_State *L, const char *code, const char *message) {
  lua_pushnil(L);
  lua_pushstring(L, message);
  lua_pushstring(L, code);
  return 3;
}

static int64_t check_offset (lua_State *L, int index, const char *name,
                             int64_t least) {
  int64_t offset = 0;
  const char *expected = least < 0 ? "%s: whole number from -1 expected"
                                   : "%s: whole number from 0 expected";
  if (!strand_to_int64(L, index, &offset) || offset < least
      || offset > OFFSET_MAX)
    luaL_argerror(L, index, lua_pushfstring(L, expected, name));
  return offset;
}

/* {=== decode ============================================================= */

static int decoded_gc (lua_State *L) {
  strand_payload_free(luaL_checkudata(L, 1, DECODED));
  return 0;
}

/* Pushes what owns the payload. */
static strand_payload *push_payload (lua_State *L) {
  strand_payload *payload = strand_newuserdata(L, sizeof(*payload));
  memset(payload, 0, sizeof(*payload));
  strand_settype(L, DECODED);
  return payload;
}

static void push_runs (lua_State *L, const strand_payload *payload) {
  lua_createtable(L, (int)payload->run_count, 0);
  for (size_t i = 0; i < payload->run_count; i++) {
    lua_createtable(L, 2, 0);
    strand_push_int64(L, payload->runs[i].first);
    lua_rawseti(L, -2, 1);
    strand_push_int64(L, payload->runs[i].last);
    lua_rawseti(L, -2, 2);
    lua_rawseti(L, -2, (int)i + 1);
  }
}

static int metadata_decode (lua_State *L) {
  int64_t committed = check_offset(L, 1, "committed_offset", 0);
  const char *problem = NULL, *text;
  strand_payload *payload;
  strand_err err;
  size_t length;
  luaL_argcheck(L, lua_type(L, 2) == LUA_TSTRING, 2, "text: string expected");
  text = lua_tolstring(L, 2, &length);
  payload = push_payload(L);
  err = strand_payload_decode(committed, text, length, payload, &problem);
  if (err != STRAND_OK)
    return push_error(L,
                      err == STRAND_EFORMAT  ? "BAD_FORMAT"
                      : err == STRAND_ELIMIT ? "TOO_LARGE"
                                             : "NO_MEMORY",
                      problem);
  if (payload->highest > OFFSET_MAX)
    return push_error(L, "TOO_LARGE", "offsets that this Lua cannot name");
  lua_createtable(L, 0, 3);
  strand_push_int64(L, payload->highest);
  lua_setfield(L, -2, "highest");
  lua_pushstring(L, payload->codec);
  lua_setfield(L, -2, "codec");
  push_runs(L, payload);
  lua_setfield(L, -2, "incomplete");
  strand_payload_free(payload);
  return 1;
}

/* }{== encode ============================================================= */

static void refuse_run (lua_State *L, int list, size_t i, const char *what) {
  luaL_argerror(L, list,
                lua_pushfstring(L, "incomplete[%d]: %s", (int)i, what));
}

/* The length of the list at 'index', or -1: it has holes or other keys. */
static int64_t list_length (lua_State *L, int index) {
  int64_t count = 0;
  for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) count++;
  return count == (int64_t)strand_rawlen(L, index) ? count : -1;
}

static void read_run (lua_State *L, int list, size_t i, strand_run *run) {
  lua_rawgeti(L, list, (int)i);
  if (!lua_istable(L, -1)) refuse_run(L, list, i, "{ first, last } expected");
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  if (list_length(L, lua_gettop(L) - 2) != 2
      || !strand_to_int64(L, -2, &run->first)
      || !strand_to_int64(L, -1, &run->last))
    refuse_run(L, list, i, "{ first, last } expected, two whole numbers");
  if (run->first > run->last) refuse_run(L, list, i, "first is above last");
  lua_pop(L, 3);
}

/* Pushes what owns the runs. */
static strand_run *push_list (lua_State *L, int list, int64_t committed,
                              int64_t highest, size_t *run_count) {
  size_t count = 0;
  int64_t length;
  strand_run *runs;
  luaL_argcheck(L, lua_istable(L, list), list,
                "incomplete: list of { first, last } expected");
  length = list_length(L, list);
  luaL_argcheck(L, length >= 0, list,
                "incomplete: a list without holes expected, got a mixed one");
  luaL_argcheck(L, length < INT32_MAX, list, "incomplete: too long");
  runs = strand_newuserdata(L, ((size_t)length + 1) * sizeof(*runs));
  for (size_t i = 1; i <= (size_t)length; i++) {
    strand_run run;
    read_run(L, list, i, &run);
    if (run.first < committed)
      refuse_run(L, list, i, "below the committed offset");
    if (run.last > highest) refuse_run(L, list, i, "above the highest offset");
    if (count > 0 && run.first <= runs[count - 1].last)
      refuse_run(L, list, i, "not above the one before");
    if (count > 0 && run.first == runs[count - 1].last + 1)
      runs[count - 1].last = run.last;
    else runs[count++] = run;
  }
  *run_count = count;
  return runs;
}

static size_t check_limit (lua_State *L, int index) {
  int64_t limit = LIMIT;
  if (!lua_isnoneornil(L, index)
      && (!strand_to_int64(L, index, &limit) || limit < 0
          || limit > LIMIT_MAX))
    luaL_argerror(L, index, "limit: whole number from 0 to 1048576 expected");
  return (size_t)limit;
}

static int metadata_encode (lua_State *L) {
  int64_t committed = check_offset(L, 1, "committed_offset", 0);
  int64_t highest = check_offset(L, 2, "highest", -1);
  size_t limit = check_limit(L, 4);
  size_t run_count, length;
  const strand_run *runs;
  const char *codec;
  char *text;
  luaL_argcheck(L, highest >= committed - 1, 2,
                "highest: not below committed_offset - 1");
  runs = push_list(L, 3, committed, highest, &run_count);
  text = strand_newuserdata(L, limit + 1);
  switch (strand_payload_encode(committed, highest, runs, run_count, limit,
                                text, &length, &codec)) {
    case STRAND_OK:
      lua_pushlstring(L, text, length);
      lua_pushstring(L, codec);
      return 2;
    case STRAND_EFULL:
      lua_pushnil(L);
      lua_pushfstring(L, "more than %d characters", (int)limit);
      lua_pushliteral(L, "TOO_LARGE");
      return 3;
    default:
      return push_error(
        L, "TOO_LARGE",
        "more than 2147483647 offsets or 65536 ranges of them");
  }
}

/* }======================================================================== */

void strand_open_metadata (lua_State *L) {
  static const luaL_Reg none[] = {
    { NULL, NULL },
  };
  static const luaL_Reg metamethods[] = {
    { "__gc", decoded_gc },
    { NULL, NULL },
  };
  static const luaL_Reg functions[] = {
    { "metadata_decode", metadata_decode },
    { "metadata_encode", metadata_encode },
    { NULL, NULL },
  };
  strand_newtype(L, DECODED, none, metamethods);
  strand_setfuncs(L, functions);
}
