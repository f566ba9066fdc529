/*
** lua_sweep.c - the binding, and each allocation that fails under it
**
** Of the caller's Lua state, of the workers' states, or of our own malloc. A
** scenario (spec/support/sweep.lua) that memory ran out in ended by an error
** that says so, and works from the start when it is run again in that state;
** then the state is closed. Where a scenario makes thousands of allocations
** only some of them are failed: see 'step' in the plans.
*/
#include <dirent.h>
#include <poll.h>

static int swept; /* whose allocations: */
enum { OURS = 1, CALLERS, WORKERS };

#define SWEEP_OUR_MALLOC (swept == OURS && sweep_fails())
#include "../support/sweep.h"

#include <lauxlib.h>
#include <librdkafka/rdkafka.h>
#include <lua.h>
#include <lualib.h>

#include "kafka/mock.h"

#define TOPIC "t"
#define RECORDS 8

int luaopen_strand_core (lua_State *L);
lua_State *__wrap_luaL_newstate (void);

static strand_mock *mock;
static long armed_for; /* the n of arm() */
static bool armed_lasts;

/* ---- memory -------------------------------------------------------------- */

static _Thread_local bool spared; /* what the test itself needs */

/* Lua collects garbage and asks again: that fails too. */
static void *allocate (void *owner, void *old, size_t old_size, size_t size) {
  static _Thread_local bool again;
  if (size == 0) {
    free(old);
    return NULL;
  }
  if ((old == NULL || size > old_size) && *(int *)owner == swept && !spared) {
    if (again) return again = false, NULL;
    if (sweep_fails()) return again = true, NULL;
  }
  return __real_realloc(old, size);
}

/* The binding is in this program: it is loaded from no file. */
static void preload (lua_State *L) {
  spared = true;
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_strand_core);
  lua_setfield(L, -2, "strand.core");
  lua_settop(L, 0);
  spared = false;
}

lua_State *__wrap_luaL_newstate (void) {
  static int owner = WORKERS;
  lua_State *L = lua_newstate(allocate, &owner);
  if (L != NULL) preload(L);
  return L;
}

static int arm (lua_State *L) {
  (void)L;
  sweep_arm(armed_for, armed_lasts);
  armed_for = -1; /* once */
  return 0;
}

static int calm (lua_State *L) {
  (void)L;
  sweep_disarm();
  return 0;
}

static int failed (lua_State *L) {
  lua_pushboolean(L, atomic_load(&sweep_failed));
  return 1;
}

/* ---- the world ----------------------------------------------------------- */

static void fill (void) {
  char error[256];
  rd_kafka_conf_t *conf = rd_kafka_conf_new();
  rd_kafka_t *rk;
  sweep_must(rd_kafka_conf_set(conf, "bootstrap.servers",
                               strand_mock_bootstrap(mock), error,
                               sizeof(error))
             == 0);
  rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, error, sizeof(error));
  sweep_must(rk != NULL);
  for (int i = 0; i < RECORDS; i++) {
    char key = (char)('a' + i % 3);
    sweep_must(rd_kafka_producev(
                 rk, RD_KAFKA_V_TOPIC(TOPIC), RD_KAFKA_V_PARTITION(0),
                 RD_KAFKA_V_KEY(&key, 1), RD_KAFKA_V_VALUE("value", 5),
                 RD_KAFKA_V_HEADER("h", "1", 1),
                 RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END)
               == 0);
  }
  sweep_must(rd_kafka_flush(rk, 20000) == 0);
  rd_kafka_destroy(rk);
}

static void open_world (void) {
  strand_failure failure;
  mock = strand_mock_open(1, NULL, &failure);
  sweep_must(mock != NULL);
  sweep_must(strand_mock_create_topic(mock, TOPIC, 1, &failure));
  sweep_must(strand_mock_create_topic(mock, "other", 1, &failure));
  fill();
}

/* The scenarios are on the stack afterwards. */
static lua_State *open_state (void) {
  static int owner = CALLERS;
  lua_State *L = lua_newstate(allocate, &owner);
  sweep_must(L != NULL);
  luaL_openlibs(L);
  preload(L);
  sweep_must(luaL_loadfile(L, "spec/support/sweep.lua") == LUA_OK);
  lua_pushcfunction(L, arm);
  lua_pushcfunction(L, calm);
  lua_pushcfunction(L, failed);
  lua_pushstring(L, strand_mock_bootstrap(mock));
  lua_pushliteral(L, TOPIC);
  sweep_must(lua_pcall(L, 5, 1, 0) == LUA_OK);
  return L;
}

static int threads (void) {
  DIR *all = opendir("/proc/self/task");
  int count = 0;
  sweep_must(all != NULL);
  while (readdir(all) != NULL) count++;
  closedir(all);
  return count;
}

/* Clients end in the background. */
static void wait_threads (int most) {
  for (int ms = 0; threads() > most; ms += 10) {
    sweep_must(ms < 20000);
    poll(NULL, 0, 10);
  }
}

/* ---- scenarios ----------------------------------------------------------- */

/* It says what was lacking. */
static bool is_known (const char *message) {
  const char *code = swept == OURS ? atomic_load(&sweep_code) : NULL;
  if (code != NULL && strcmp(code, "NO_MEMORY") != 0) {
    return strstr(message, code) != NULL;
  }
  return strstr(message, "memory") != NULL
         || strstr(message, "MEMORY") != NULL;
}

/* False: it ended because memory ran out. */
static bool play (lua_State *L, const char *name) {
  const char *message;
  lua_settop(L, 1);
  lua_getfield(L, 1, name);
  if (lua_pcall(L, 0, 0, 0) == LUA_OK) return true;
  sweep_disarm();
  message = lua_tostring(L, -1);
  if (message == NULL || !is_known(message) || !atomic_load(&sweep_failed)) {
    fprintf(stderr, "allocation %ld: %s: %s\n", sweep_now, name,
            message != NULL ? message : "no text");
    _exit(1);
  }
  return false;
}

static void run (long n, const char *name, int whose, bool lasts) {
  lua_State *L;
  int before;
  swept = 0;
  if (mock == NULL) open_world();
  before = threads();
  L = open_state();
  armed_for = n;
  armed_lasts = lasts;
  swept = whose;
  sweep_disarm();
  if (!play(L, name)) {
    lua_settop(L, 1);
    lua_gc(L, LUA_GCCOLLECT, 0);
    armed_lasts = false;
    atomic_store(&sweep_lasts, false);
    sweep_must(play(L, name));
    atomic_store(&sweep_failed, true); /* by the first */
  }
  lua_close(L);
  sweep_disarm();
  wait_threads(before);
}

#define SCENARIO(title, name, whose, lasts)                                   \
  static void title(long n) {                                                 \
    run(n, name, whose, lasts);                                               \
  }

SCENARIO(loading, "loading", CALLERS, false)
SCENARIO(opening, "opening", CALLERS, false)
SCENARIO(opening_ours, "opening", OURS, false)
SCENARIO(asking, "asking", CALLERS, false)
SCENARIO(asking_ours, "asking", OURS, false)
SCENARIO(starting_workers, "starting", WORKERS, false)
SCENARIO(starting_ours, "starting", OURS, false)
SCENARIO(sending, "sending", CALLERS, false)
SCENARIO(sending_ours, "sending", OURS, false)
SCENARIO(running, "running", CALLERS, false)
SCENARIO(handling, "handling", WORKERS, false)
SCENARIO(events, "events", CALLERS, false)
SCENARIO(ending, "ending", CALLERS, false)
SCENARIO(reports, "reports", CALLERS, false)
SCENARIO(marking, "marking", WORKERS, false)
SCENARIO(coroutines, "coroutines", CALLERS, false)
SCENARIO(coroutines_ours, "coroutines", OURS, false)
SCENARIO(starting_loops, "starting_loops", WORKERS, false)
SCENARIO(starting_loops_ours, "starting_loops", OURS, false)
SCENARIO(handling_in_loops, "handling_in_loops", WORKERS, false)
SCENARIO(handling_in_loops_ours, "handling_in_loops", OURS, false)
SCENARIO(opening_coroutines, "opening_coroutines", CALLERS, false)
SCENARIO(opening_coroutines_ours, "opening_coroutines", OURS, false)
SCENARIO(replacing, "replacing", WORKERS, true)

int main (int argc, char **argv) {
  const sweep_plan plans[] = {
    { "loading the module", loading, 23, 20 },
    { "opening", opening, 1, 40 },
    { "opening, of our own", opening_ours, 1, 20 },
    { "asking", asking, 1, 10 },
    { "asking, of our own", asking_ours, 1, 10 },
    { "starting, of the workers", starting_workers, 7, 20 },
    { "starting, of our own", starting_ours, 1, 20 },
    { "sending", sending, 1, 20 },
    { "sending, of our own", sending_ours, 1, 20 },
    { "running", running, 4, 1 },
    { "handling, of the workers", handling, 2, 1 },
    { "taking events", events, 1, 1 },
    { "taking an ending", ending, 1, 1 },
    { "taking reports", reports, 1, 10 },
    { "marking, of the workers", marking, 1, 1 },
    { "a worker without memory", replacing, 5, 1 },
    { "coroutines", coroutines, 5, 1 },
    { "coroutines, of our own", coroutines_ours, 3, 1 },
    { "opening coroutines", opening_coroutines, 31, 10 },
    { "opening coroutines, of our own", opening_coroutines_ours, 3, 10 },
    { "starting loops, of the workers", starting_loops, 97, 10 },
    { "starting loops, of our own", starting_loops_ours, 1, 10 },
    { "handling in loops, of the workers", handling_in_loops, 7, 1 },
    { "handling in loops, of our own", handling_in_loops_ours, 3, 1 },
  };
  return sweep_all(plans, sizeof(plans) / sizeof(plans[0]),
                   argc > 1 ? argv[1] : NULL);
}
