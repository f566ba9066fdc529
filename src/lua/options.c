/*
** options.c - see options.h
*/
#include "lua/options.h"

#include "lua/compat.h"
#include "lua/fields.h"
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
  return (unsigned)strand_field_count(L, flat, name, otherwise, THREADS_MOST);
}

/* The table's field 'name', pushed. False, and nothing pushed, when it has
** none. */
static bool push_table (lua_State *L, int table, const char *name) {
  lua_getfield(L, table, name);
  if (lua_istable(L, -1)) return true;
  lua_pop(L, 1);
  return false;
}

static bool is_field (lua_State *L, int table, const char *name,
                      const char *value) {
  const char *text = strand_field_text(L, table, name);
  return text != NULL && strcmp(text, value) == 0;
}

/*
** Limits
*/

static void read_rate (lua_State *L, int table, strand_rate *rate) {
  int at;
  if (!push_table(L, table, "rate")) return;
  at = lua_gettop(L);
  rate->per_second = read_number(L, at, "records_per_second", 0, 1e9);
  rate->burst = read_number(L, at, "burst", 1, 1e9);
  lua_pop(L, 1);
}

static bool read_retry (lua_State *L, int table, strand_policy *policy) {
  int at;
  if (!push_table(L, table, "retry")) return false;
  at = lua_gettop(L);
  policy->attempts = (uint32_t)strand_field_count(
    L, at, "attempts", policy->attempts, UINT16_MAX);
  read_seconds(L, at, "delay", &policy->delay_us);
  read_seconds(L, at, "max_delay", &policy->max_delay_us);
  policy->factor = read_number(L, at, "factor", policy->factor, 1e6);
  policy->jitter = read_number(L, at, "jitter", policy->jitter, 1);
  lua_pop(L, 1);
  return true;
}

static bool read_exhausted (lua_State *L, int table, strand_policy *policy) {
  const char *what = strand_field_text(L, table, "exhausted");
  if (what == NULL) return false;
  policy->exhausted = strcmp(what, "dead_letter") == 0
                        ? STRAND_OUTCOME_DEAD_LETTER
                      : strcmp(what, "skip") == 0 ? STRAND_OUTCOME_SKIP
                      : strcmp(what, "stop") == 0 ? STRAND_OUTCOME_STOP
                                                  : STRAND_OUTCOME_PARK;
  return true;
}

void strand_read_limits (lua_State *L, int flat, strand_limits *limits) {
  limits->workers = read_threads(L, flat, "workers", limits->workers);
  read_size(L, flat, "max_in_flight", &limits->max_in_flight);
  read_size(L, flat, "max_ready", &limits->max_ready);
  read_size(L, flat, "max_buffered_records", &limits->max_buffered_records);
  read_size(L, flat, "max_buffered_bytes", &limits->max_buffered_bytes);
  read_size(L, flat, "max_waiting_records", &limits->max_waiting_records);
  read_size(L, flat, "max_waiting_bytes", &limits->max_waiting_bytes);
  read_seconds(L, flat, "commit_interval", &limits->commit_interval_us);
  read_seconds(L, flat, "revoke_grace", &limits->revoke_grace_us);
  read_seconds(L, flat, "deadline", &limits->deadline_us);
  read_seconds(L, flat, "slow_after", &limits->slow_after_us);
  read_rate(L, flat, &limits->rate);
  read_retry(L, flat, &limits->policy);
  read_exhausted(L, flat, &limits->policy);
}

/*
** Lists
*/

/* Pushes the list that the field is, and then what owns an array of so many
** elements of 'size'. */
static void *push_array (lua_State *L, int flat, const char *name, size_t size,
                         size_t *count) {
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
  lua_getfield(L, flat, "topics");
  config->topics = strand_push_texts(L, lua_gettop(L), "option 'topics'",
                                     &config->topic_count);
}

static void copy_field (lua_State *L, int table, const char *name,
                        strand_text **to) {
  size_t length = 0;
  const char *bytes = strand_field_bytes(L, table, name, &length);
  if (!strand_text_copy(to, bytes, length)) luaL_error(L, "not enough memory");
}

/* In local mode Lua has the handlers. */
static void read_source (lua_State *L, int table, strand_route_source *source,
                         bool local) {
  copy_field(L, table, "name", &source->name);
  copy_field(L, table, "module", &source->module);
  copy_field(L, table, "code", &source->code);
  copy_field(L, table, "retry_code", &source->retry_code);
  if (source->name == NULL
      || (!local && (source->module == NULL) == (source->code == NULL)))
    luaL_error(L, "option 'handler': a module or code expected");
}

static void read_batch (lua_State *L, int table, strand_route_limits *limits) {
  int at;
  if (!push_table(L, table, "batch")) return;
  at = lua_gettop(L);
  limits->by = is_field(L, at, "by", "key")         ? STRAND_BATCH_KEY
               : is_field(L, at, "by", "partition") ? STRAND_BATCH_PARTITION
                                                    : STRAND_BATCH_MIXED;
  read_size(L, at, "size", &limits->batch_size);
  read_seconds(L, at, "linger", &limits->linger_us);
  lua_pop(L, 1);
}

/* The route's table is on top; 'route' is as the consumer has it. */
static void read_route (lua_State *L, strand_route *route,
                        strand_route_source *source, bool local) {
  int table = lua_gettop(L);
  strand_policy *policy = &route->limits.policy;
  luaL_checktype(L, table, LUA_TTABLE);
  read_source(L, table, source, local);
  route->topic = strand_field_text(L, table, "topic");
  route->own_retry = source->has_retry = read_retry(L, table, policy);
  route->own_exhausted = read_exhausted(L, table, policy);
  route->own_deadline = strand_field_number(L, table, "deadline", -1) >= 0;
  read_seconds(L, table, "deadline", &route->deadline_us);
  read_batch(L, table, &route->limits);
  source->batch = route->limits.by != STRAND_BATCH_NONE;
  read_rate(L, table, &route->limits.rate);
  read_size(L, table, "max_in_flight", &route->limits.max_in_flight);
}

static void read_routes (lua_State *L, int flat,
                         strand_consumer_config *config,
                         strand_sources **sources) {
  strand_route *routes = push_array(L, flat, "routes", sizeof(*routes),
                                    &config->route_count);
  int list = lua_gettop(L) - 1;
  strand_route common = { .limits.policy = config->limits.policy,
                          .deadline_us = config->limits.deadline_us };
  size_t i;
  if (config->route_count == 0) luaL_error(L, "option 'routes': empty");
  read_batch(L, flat, &common.limits);
  *sources = strand_sources_new(config->route_count);
  if (*sources == NULL) luaL_error(L, "not enough memory");
  for (i = 0; i < config->route_count; i++) {
    routes[i] = common;
    lua_rawgeti(L, list, (int)i + 1);
    read_route(L, &routes[i], strand_sources_route(*sources, i),
               config->limits.workers == 0);
    lua_pop(L, 1);
  }
  config->routes = routes;
}

static void read_sources (lua_State *L, int flat, strand_sources *s) {
  size_t args_length = 0;
  size_t retry_length = 0;
  const char *args = strand_field_bytes(L, flat, "handler_args", &args_length);
  const char *retry = strand_field_bytes(L, flat, "retry_code", &retry_length);
  const char *path = strand_field_text(L, flat, "package_path");
  const char *cpath = strand_field_text(L, flat, "package_cpath");
  const char *loop = strand_field_text(L, flat, "loop");
  double max_slice = strand_field_number(L, flat, "max_slice", 0);
  strand_text *policy = NULL;
  if (!strand_sources_set_args(s, args, args_length)
      || !strand_sources_set_paths(s, path, cpath)
      || !strand_sources_set_loop(s, loop, max_slice)
      || !strand_text_copy(&policy, retry, retry_length))
    luaL_error(L, "not enough memory");
  strand_sources_set_retry(s, policy);
  strand_sources_set_memory(
    s, (size_t)strand_field_count(L, flat, "worker_memory", 0, MANY));
}

/*
** Dead letters
*/

/* Borrowed from the table, which the flat one holds. */
static void read_dead_letters (lua_State *L, int flat,
                               strand_dead_letters_config *dead_letters) {
  int at;
  if (!push_table(L, flat, "letters")) return;
  at = lua_gettop(L);
  dead_letters->produces = strand_field_boolean(L, at, "produces");
  dead_letters->topic = strand_field_text(L, at, "topic");
  dead_letters->same_partition = is_field(L, at, "partition", "same");
  dead_letters->reason = is_field(L, at, "reason", "class")
                           ? STRAND_REASON_CLASS
                         : is_field(L, at, "reason", "none")
                           ? STRAND_REASON_NONE
                           : STRAND_REASON_TEXT;
  read_size(L, at, "max_reason", &dead_letters->max_reason);
  dead_letters->allow_value_drop = strand_field_boolean(L, at,
                                                        "allow_value_drop");
  dead_letters->partitioner = strand_field_text(L, at, "partitioner");
  dead_letters->kafka = strand_push_properties(L, at, "kafka",
                                               &dead_letters->kafka_count);
  lua_remove(L, at); /* the properties stay, what owns them */
}

/*
** All of it
*/

static strand_ordering ordering_of (lua_State *L, int flat) {
  if (is_field(L, flat, "ordering", "partition")) return STRAND_BY_PARTITION;
  if (is_field(L, flat, "ordering", "unordered")) return STRAND_UNORDERED;
  return STRAND_BY_KEY;
}

static strand_guarantee delivery_of (lua_State *L, int flat) {
  if (is_field(L, flat, "delivery", "at_most_once"))
    return STRAND_AT_MOST_ONCE;
  if (is_field(L, flat, "delivery", "exactly_once"))
    return STRAND_EXACTLY_ONCE;
  return STRAND_AT_LEAST_ONCE;
}

/* Borrowed from the flat table. */
static void read_transactional (lua_State *L, int flat,
                                strand_transactional *t) {
  t->id = strand_field_text(L, flat, "transactional_id");
  read_seconds(L, flat, "transaction_interval", &t->interval_us);
  read_seconds(L, flat, "transaction_timeout", &t->timeout_us);
  read_size(L, flat, "transaction_records", &t->records);
}

void strand_read_options (lua_State *L, int flat,
                          strand_consumer_config *config,
                          strand_sources **sources) {
  memset(config, 0, sizeof(*config));
  config->kafka = strand_push_properties(L, flat, "kafka",
                                         &config->kafka_count);
  read_topics(L, flat, config);
  strand_read_limits(L, flat, &config->limits);
  read_routes(L, flat, config, sources);
  read_sources(L, flat, *sources);
  read_dead_letters(L, flat, &config->dead_letters);
  read_size(L, flat, "max_staged_bytes", &config->max_staged_bytes);
  config->members = read_threads(L, flat, "members", 1);
  if (config->members == 0) luaL_error(L, "option 'members': out of range");
  config->has_oauth = strand_field_boolean(L, flat, "has_oauth");
  config->has_log = strand_field_boolean(L, flat, "has_log");
  config->has_events = strand_field_boolean(L, flat, "has_events");
  config->has_loops = strand_field_text(L, flat, "loop") != NULL;
  config->ordering = ordering_of(L, flat);
  config->delivery = delivery_of(L, flat);
  if (config->delivery == STRAND_EXACTLY_ONCE)
    read_transactional(L, flat, &config->transactional);
  config->ordering_header = strand_field_text(L, flat, "ordering_header");
  config->null_key_unordered = is_field(L, flat, "null_key", "unordered");
  read_size(L, flat, "max_metadata", &config->max_metadata);
  config->park_alone = is_field(L, flat, "parked_holds", "record");
  config->unreadable_fail = is_field(L, flat, "unreadable_metadata", "fail");
}
