/*
** mock.c - see mock.h
*/
#include "lua/mock.h"

#include "kafka/mock.h"
#include "lua/compat.h"
#include "lua/fields.h"
#include "lua/lines.h"
#include "lua/object.h"

#define MOCK "strand.Mock"

typedef struct mock {
  strand_mock *cluster; /* NULL: closed */
  strand_lines lines;   /* last as long as the object */
  int generation;
} mock;

static mock *check_self (lua_State *L) {
  return luaL_checkudata(L, 1, MOCK);
}

static strand_mock *check_open (lua_State *L) {
  mock *self = check_self(L);
  if (self->cluster == NULL)
    luaL_error(L, "attempt to use a closed mock cluster");
  return self->cluster;
}

static int is_foreign (lua_State *L) {
  return strand_is_forked(check_self(L)->generation);
}

static int mock_state (lua_State *L) {
  mock *self = check_self(L);
  return strand_push_state(L, strand_is_forked(self->generation),
                           self->cluster == NULL);
}

/* nil is every broker; a 0 from Lua is a broker that there is not. */
static int64_t opt_broker (lua_State *L, int index) {
  int64_t broker;
  if (lua_isnoneornil(L, index)) return STRAND_MOCK_ALL;
  broker = strand_check_int64(L, index);
  return broker != STRAND_MOCK_ALL ? broker : -1;
}

static int mock_bootstrap_servers (lua_State *L) {
  if (is_foreign(L)) return strand_push_forked(L);
  lua_pushstring(L, strand_mock_bootstrap(check_open(L)));
  return 1;
}

static int mock_create_topic (lua_State *L) {
  strand_failure failure;
  const char *topic = strand_check_text(L, 2);
  int64_t partitions = strand_check_int64(L, 3);
  if (is_foreign(L)) return strand_push_forked(L);
  return strand_push_done(
    L, strand_mock_create_topic(check_open(L), topic, partitions, &failure),
    &failure);
}

static int set_up (lua_State *L, int up) {
  strand_failure failure;
  int64_t broker = opt_broker(L, 2);
  if (is_foreign(L)) return strand_push_forked(L);
  return strand_push_done(
    L, strand_mock_set_up(check_open(L), broker, up, &failure), &failure);
}

static int mock_down (lua_State *L) {
  return set_up(L, 0);
}

static int mock_up (lua_State *L) {
  return set_up(L, 1);
}

static int mock_rtt (lua_State *L) {
  strand_failure failure;
  int64_t broker = opt_broker(L, 2);
  double seconds = luaL_checknumber(L, 3);
  if (is_foreign(L)) return strand_push_forked(L);
  return strand_push_done(
    L, strand_mock_set_rtt(check_open(L), broker, seconds, &failure),
    &failure);
}

static int mock_fail (lua_State *L) {
  strand_failure failure;
  const char *request = strand_check_text(L, 2);
  const char *code = strand_check_text(L, 3);
  int64_t count = lua_isnoneornil(L, 4) ? 1 : strand_check_int64(L, 4);
  if (is_foreign(L)) return strand_push_forked(L);
  return strand_push_done(
    L, strand_mock_fail(check_open(L), request, code, count, &failure),
    &failure);
}

static int mock_leader (lua_State *L) {
  strand_failure failure;
  const char *topic = strand_check_text(L, 2);
  int64_t partition = strand_check_int64(L, 3);
  int64_t broker = strand_check_int64(L, 4);
  if (is_foreign(L)) return strand_push_forked(L);
  return strand_push_done(
    L,
    strand_mock_set_leader(check_open(L), topic, partition, broker, &failure),
    &failure);
}

static int mock_coordinator (lua_State *L) {
  strand_failure failure;
  const char *group = strand_check_text(L, 2);
  int64_t broker = strand_check_int64(L, 3);
  if (is_foreign(L)) return strand_push_forked(L);
  return strand_push_done(
    L, strand_mock_set_coordinator(check_open(L), group, broker, &failure),
    &failure);
}

/* close(), __close and __gc. A child of the process must not join the
** cluster's thread: it is not there. */
static int mock_close (lua_State *L) {
  mock *self = check_self(L);
  strand_mock *cluster = self->cluster;
  if (is_foreign(L)) return strand_push_forked(L);
  self->cluster = NULL;
  strand_mock_close(cluster);
  lua_pushboolean(L, 1);
  return 1;
}

static int mock_tostring (lua_State *L) {
  mock *self = check_self(L);
  if (self->cluster == NULL || is_foreign(L))
    lua_pushliteral(L, "strand.Mock (closed)");
  else
    lua_pushfstring(L, "strand.Mock (%s)",
                    strand_mock_bootstrap(self->cluster));
  return 1;
}

/* { { topic =, partitions = }, ... } at the index. May raise: the cluster
** belongs to its userdata already. */
static bool create_topics (lua_State *L, int list, strand_mock *cluster,
                           strand_failure *failure) {
  size_t count = lua_istable(L, list) ? strand_rawlen(L, list) : 0;
  size_t i;
  for (i = 1; i <= count; i++) {
    const char *topic;
    int64_t partitions;
    lua_rawgeti(L, list, (int)i);
    luaL_checktype(L, -1, LUA_TTABLE);
    topic = strand_field_text(L, lua_gettop(L), "topic");
    partitions = strand_field_int64(L, lua_gettop(L), "partitions", 0);
    if (topic == NULL) return luaL_error(L, "option 'topics': no name");
    if (!strand_mock_create_topic(cluster, topic, partitions, failure))
      return false;
    lua_pop(L, 1);
  }
  return true;
}

static int mock_open (lua_State *L) {
  strand_failure failure;
  int64_t brokers;
  mock *self;
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  brokers = strand_field_int64(L, 1, "brokers", 3);
  if (brokers < 1 || brokers > STRAND_MOCK_BROKERS_MAX)
    return luaL_error(L,
                      "option 'brokers': whole number from 1 to %d "
                      "expected",
                      STRAND_MOCK_BROKERS_MAX);
  lua_getfield(L, 1, "topics");
  self = strand_newuserdata(L, sizeof(*self));
  memset(self, 0, sizeof(*self));
  self->generation = strand_fork_generation();
  strand_settype(L, MOCK);
  if (!strand_lines_open(&self->lines, strand_field_boolean(L, 1, "has_log"),
                         &failure))
    return strand_push_failure(L, &failure);
  self->cluster = strand_mock_open((int)brokers, self->lines.log, &failure);
  if (self->cluster == NULL) return strand_push_failure(L, &failure);
  if (create_topics(L, 2, self->cluster, &failure)) {
    lua_settop(L, 3);
    return 1;
  }
  strand_mock_close(self->cluster);
  self->cluster = NULL;
  return strand_push_failure(L, &failure);
}

static int mock_next_log (lua_State *L) {
  if (is_foreign(L)) return strand_push_forked(L);
  return strand_lines_next(L, &check_self(L)->lines);
}

static int mock_gc (lua_State *L) {
  if (is_foreign(L)) return 0;
  mock_close(L);
  strand_lines_close(&check_self(L)->lines);
  return 0;
}

static const luaL_Reg methods[] = {
  { "next_log", mock_next_log },
  { "state", mock_state },
  { "bootstrap_servers", mock_bootstrap_servers },
  { "create_topic", mock_create_topic },
  { "down", mock_down },
  { "up", mock_up },
  { "rtt", mock_rtt },
  { "fail", mock_fail },
  { "leader", mock_leader },
  { "coordinator", mock_coordinator },
  { "close", mock_close },
  { NULL, NULL },
};

static const luaL_Reg metamethods[] = {
  { "__gc", mock_gc },
  { "__close", mock_close },
  { "__tostring", mock_tostring },
  { NULL, NULL },
};

void strand_open_mock (lua_State *L) {
  strand_newtype(L, MOCK, methods, metamethods);
  lua_pushcfunction(L, mock_open);
  lua_setfield(L, -2, "mock");
}
