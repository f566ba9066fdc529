/*
** settings.c - see settings.h
*/
#include "lua/settings.h"

#include "lua/compat.h"
#include "lua/properties.h"

#define MANY ((int64_t)1 << 48) /* of anything */
#define LONG 1e9                /* seconds */
#define THREADS_MOST 4096

static void read_size (lua_State *L, int flat, const char *name,
                       size_t *size) {
  *size = (size_t)strand_field_count(L, flat, name, (int64_t)*size, MANY);
}

static double read_number (lua_State *L, int table, const char *name,
                           double otherwise, double most) {
  double n = strand_field_number(L, table, name, otherwise);
  if (!(n >= 0 && n <= most)) luaL_error(L, "option '%s': out of range", name);
  return n;
}

static void read_seconds (lua_State *L, int table, const char *name,
                          int64_t *us) {
  double seconds = read_number(L, table, name, (double)*us / 1e6, LONG);
  *us = (int64_t)(seconds * 1e6 + 0.5);
}

static unsigned read_threads (lua_State *L, int flat, const char *name,
                              unsigned otherwise) {
  int64_t n = strand_field_count(L, flat, name, otherwise, THREADS_MOST);
  if (n == 0) luaL_error(L, "option '%s': out of range", name);
  return (unsigned)n;
}

void strand_read_limits (lua_State *L, int flat, strand_limits *limits) {
  limits->workers = read_threads(L, flat, "workers",
                                 limits->workers > 0 ? limits->workers : 16);
  read_size(L, flat, "max_in_flight", &limits->max_in_flight);
  read_size(L, flat, "max_ready", &limits->max_ready);
  read_size(L, flat, "max_buffered_records", &limits->max_buffered_records);
  read_size(L, flat, "max_buffered_bytes", &limits->max_buffered_bytes);
  read_size(L, flat, "max_waiting_records", &limits->max_waiting_records);
  read_size(L, flat, "max_waiting_bytes", &limits->max_waiting_bytes);
  read_seconds(L, flat, "commit_interval", &limits->commit_interval_us);
  read_seconds(L, flat, "revoke_grace", &limits->revoke_grace_us);
}

bool strand_read_policy (lua_State *L, int table, strand_policy *policy) {
  int retry;
  lua_getfield(L, table, "retry");
  retry = lua_gettop(L);
  if (!lua_istable(L, retry)) {
    lua_pop(L, 1);
    return false;
  }
  policy->attempts = (uint32_t)strand_field_count(L, retry, "attempts", 10,
                                                  UINT32_MAX);
  policy->exhausted = STRAND_VERDICT_PARK;
  policy->delay_us = 1000000;
  policy->max_delay_us = 60000000;
  read_seconds(L, retry, "delay", &policy->delay_us);
  read_seconds(L, retry, "max_delay", &policy->max_delay_us);
  policy->factor = read_number(L, retry, "factor", 2, 1e6);
  policy->jitter = read_number(L, retry, "jitter", 0.5, 1);
  lua_pop(L, 1);
  return true;
}

/* ---- lists --------------------------------------------------------------- */

/* Pushes the list that the field is, and then what owns an array of so many
** elements of 'size'. */
static void *push_array (lua_State *L, int flat, const char *name,
                         size_t size, size_t *count) {
  void *array;
  lua_getfield(L, flat, name);
  if (!lua_istable(L, -1)) luaL_error(L, "option '%s': table expected", name);
  *count = strand_rawlen(L, -1);
  array = strand_newuserdata(L, (*count + 1) * size);
  memset(array, 0, (*count + 1) * size);
  return array;
}

static void read_topics (lua_State *L, int flat,
                         strand_consumer_config *config) {
  const char **topics = push_array(L, flat, "topics", sizeof(*topics),
                                   &config->topic_count);
  int list = lua_gettop(L) - 1;
  size_t i;
  for (i = 0; i < config->topic_count; i++) {
    lua_rawgeti(L, list, (int)i + 1);
    if (lua_type(L, -1) != LUA_TSTRING)
      luaL_error(L, "option 'topics': strings expected");
    topics[i] = lua_tostring(L, -1);
    lua_pop(L, 1); /* the list still holds it */
  }
  config->topics = topics;
}

static void copy_field (lua_State *L, int table, const char *name,
                        strand_text **to) {
  size_t length = 0;
  const char *bytes = strand_field_bytes(L, table, name, &length);
  if (!strand_text_copy(to, bytes, length))
    luaL_error(L, "not enough memory");
}

/* The route's table is on top. */
static void read_route (lua_State *L, strand_route *route,
                        strand_route_source *source) {
  int table = lua_gettop(L);
  luaL_checktype(L, table, LUA_TTABLE);
  copy_field(L, table, "name", &source->name);
  copy_field(L, table, "module", &source->module);
  copy_field(L, table, "code", &source->code);
  copy_field(L, table, "retry_code", &source->retry_code);
  if (source->name == NULL || (source->module == NULL) ==
                              (source->code == NULL))
    luaL_error(L, "option 'handler': a module or code expected");
  route->topic = strand_field_text(L, table, "topic");
  source->has_retry = strand_read_policy(L, table, &route->limits.policy) ||
                      source->retry_code != NULL;
}

static void read_routes (lua_State *L, int flat,
                         strand_consumer_config *config,
                         strand_sources **sources) {
  strand_route *routes = push_array(L, flat, "routes", sizeof(*routes),
                                    &config->route_count);
  int list = lua_gettop(L) - 1;
  strand_policy policy = { 0 };
  size_t i;
  if (!strand_read_policy(L, flat, &policy))
    luaL_error(L, "option 'retry': table expected");
  *sources = strand_sources_new(config->route_count);
  if (*sources == NULL) luaL_error(L, "not enough memory");
  for (i = 0; i < config->route_count; i++) {
    routes[i].limits.policy = policy;
    lua_rawgeti(L, list, (int)i + 1);
    read_route(L, &routes[i], strand_sources_route(*sources, i));
    lua_pop(L, 1);
  }
  config->routes = routes;
}

static void read_sources (lua_State *L, int flat, strand_sources *s) {
  size_t args_length = 0;
  size_t retry_length = 0;
  const char *args = strand_field_bytes(L, flat, "handler_args",
                                        &args_length);
  const char *retry = strand_field_bytes(L, flat, "retry_code",
                                         &retry_length);
  const char *path = strand_field_text(L, flat, "package_path");
  const char *cpath = strand_field_text(L, flat, "package_cpath");
  if (!strand_sources_set_args(s, args, args_length) ||
      !strand_sources_set_paths(s, path, cpath) ||
      !strand_sources_set_retry(s, retry, retry_length))
    luaL_error(L, "not enough memory");
}

/* ---- all of it ----------------------------------------------------------- */

static bool is_field (lua_State *L, int flat, const char *name,
                      const char *value) {
  const char *text = strand_field_text(L, flat, name);
  return text != NULL && strcmp(text, value) == 0;
}

static strand_ordering ordering_of (lua_State *L, int flat) {
  if (is_field(L, flat, "ordering", "partition")) return STRAND_BY_PARTITION;
  if (is_field(L, flat, "ordering", "unordered")) return STRAND_UNORDERED;
  return STRAND_BY_KEY;
}

void strand_read_settings (lua_State *L, int flat,
                           strand_consumer_config *config,
                           strand_sources **sources) {
  memset(config, 0, sizeof(*config));
  config->kafka = strand_push_properties(L, flat, "kafka",
                                         &config->kafka_count);
  read_topics(L, flat, config);
  read_routes(L, flat, config, sources);
  read_sources(L, flat, *sources);
  strand_read_limits(L, flat, &config->limits);
  config->members = read_threads(L, flat, "members", 1);
  config->has_oauth = strand_field_boolean(L, flat, "has_oauth");
  config->has_log = strand_field_boolean(L, flat, "has_log");
  config->ordering = ordering_of(L, flat);
  config->ordering_header = strand_field_text(L, flat, "ordering_header");
  config->null_key_unordered = is_field(L, flat, "null_key", "unordered");
  read_size(L, flat, "max_metadata", &config->max_metadata);
  config->unreadable_fail = is_field(L, flat, "unreadable_metadata", "fail");
}
