/*
** probe.c - what handlers of a benchmark do and Lua has no call for
**
**   local probe = require "probe"
**   probe.sleep(seconds)       nanosleep: the thread sleeps, nothing else
**   probe.expect(records)      before a consumer starts
**   probe.note(value)          a record of pace.c has come
**   probe.mark(value)          from now on its time counts, not from its send
**   probe.count()              a record has come, of no matter whom
**   probe.came()               how many were noted, or counted
**   probe.took()               seconds from the first counted to the last
**                              expected; nil before
**   probe.print(from)          latencies from that record on; raises unless
**                              each came exactly once
**   probe.rss()                bytes of the process that are in memory
**   probe.used()               bytes that malloc has given out; under LuaJIT
**                              Lua's own are not among them
**   probe.cpu()                CPU seconds of the calling thread, and of the
**                              process
**   probe.meter(records)       before a consumer starts: meter.lua's, of all
**                              threads that call
**   probe.ended()              a record has ended; how many have
**   probe.how_many_ended()     the same, and none has
**   probe.print_meter()        as meter.lua's; lua_cpu is of these threads
**
** Latencies and meter are the process's: all workers' states share them.
**
** Thread: worker, for sleep, note, mark and count; else the main state's.
*/
#include <errno.h>
#include <malloc.h>
#include <pthread.h>
#include <unistd.h>

#include <lauxlib.h>
#include <lua.h>

#include "base/clock.h"
#include "latency.h"

static strand_latency latency;
static _Atomic int64_t *marks; /* CLOCK_REALTIME ns, by number */
static _Atomic int64_t first_ns, last_ns;

static int probe_sleep (lua_State *L) {
  double seconds = luaL_checknumber(L, 1);
  struct timespec t;
  t.tv_sec = (time_t)seconds;
  t.tv_nsec = (long)((seconds - (double)t.tv_sec) * 1e9);
  while (nanosleep(&t, &t) != 0 && errno == EINTR) {
  }
  return 0;
}

static int probe_expect (lua_State *L) {
  int64_t records = (int64_t)luaL_checknumber(L, 1);
  marks = calloc((size_t)records, sizeof(*marks));
  if (!strand_latency_init(&latency, records) || marks == NULL)
    return luaL_error(L, "not enough memory");
  return 0;
}

static int64_t number_of (const char *value, size_t length) {
  strand_sent sent = { 0, -1 };
  if (length >= sizeof(sent)) memcpy(&sent, value, sizeof(sent));
  return sent.number;
}

static int probe_note (lua_State *L) {
  size_t length;
  const char *value = luaL_checklstring(L, 1, &length);
  int64_t number = number_of(value, length);
  int64_t mark = number >= 0 && number < latency.size ? marks[number] : 0;
  if (mark == 0) strand_latency_value(&latency, value, length);
  else strand_latency_note(&latency, number, strand_realtime_ns() - mark);
  return 0;
}

static int probe_mark (lua_State *L) {
  size_t length;
  const char *value = luaL_checklstring(L, 1, &length);
  int64_t number = number_of(value, length);
  luaL_argcheck(L, number >= 0 && number < latency.size, 1, "not pace's");
  marks[number] = strand_realtime_ns();
  return 0;
}

static int probe_count (lua_State *L) {
  int64_t before = atomic_fetch_add(&latency.came, 1);
  (void)L;
  if (before == 0) first_ns = strand_realtime_ns();
  if (before == latency.size - 1) last_ns = strand_realtime_ns();
  return 0;
}

static int probe_took (lua_State *L) {
  if (last_ns == 0) return 0;
  lua_pushnumber(L, (lua_Number)(last_ns - first_ns) / 1e9);
  return 1;
}

static int probe_came (lua_State *L) {
  lua_pushnumber(L, (lua_Number)latency.came);
  return 1;
}

static int probe_print (lua_State *L) {
  int64_t from = (int64_t)luaL_checknumber(L, 1);
  luaL_argcheck(L, from >= 0 && from < latency.size, 1, "out of range");
  if (!strand_latency_print(&latency, from))
    return luaL_error(L, "not every record came exactly once");
  return 0;
}

static int probe_rss (lua_State *L) {
  FILE *file = fopen("/proc/self/statm", "r");
  long pages = 0;
  int read = file == NULL ? 0 : fscanf(file, "%*s %ld", &pages);
  if (file != NULL) fclose(file);
  if (read != 1) return luaL_error(L, "/proc/self/statm cannot be read");
  lua_pushnumber(L, (lua_Number)pages * (lua_Number)sysconf(_SC_PAGESIZE));
  return 1;
}

static int probe_used (lua_State *L) {
  struct mallinfo2 info = mallinfo2();
  lua_pushnumber(L, (lua_Number)(info.uordblks + info.hblkhd));
  return 1;
}

static int probe_cpu (lua_State *L) {
  lua_pushnumber(L, strand_clock_of(CLOCK_THREAD_CPUTIME_ID));
  lua_pushnumber(L, strand_clock_of(CLOCK_PROCESS_CPUTIME_ID));
  return 2;
}

/*
** The meter
*/

#define THREADS_MOST 256

typedef struct mark {
  double time;
  double threads; /* CPU */
  double process;
} mark;

static struct {
  int64_t first, last, records; /* each has a mark */
  _Atomic int64_t ended;
  atomic_int thread_count;
  pthread_t threads[THREADS_MOST]; /* written before they are counted */
  mark marks[3];                   /* each by whose record it was */
  atomic_int marked;
} meter;
static pthread_mutex_t entry = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local int entered;

static void enter_thread (lua_State *L) {
  int count;
  entered = 1;
  pthread_mutex_lock(&entry);
  count = meter.thread_count;
  if (count < THREADS_MOST) {
    meter.threads[count] = pthread_self();
    meter.thread_count = count + 1;
  }
  pthread_mutex_unlock(&entry);
  if (count == THREADS_MOST) luaL_error(L, "too many threads");
}

static void set_mark (mark *m) {
  clockid_t clock;
  m->time = strand_clock_of(CLOCK_MONOTONIC);
  m->process = strand_clock_of(CLOCK_PROCESS_CPUTIME_ID);
  m->threads = 0;
  for (int i = 0; i < meter.thread_count; i++) {
    if (pthread_getcpuclockid(meter.threads[i], &clock) == 0)
      m->threads += strand_clock_of(clock);
  }
  meter.marked++;
}

static int probe_meter (lua_State *L) {
  meter.records = (int64_t)luaL_checknumber(L, 1);
  meter.first = meter.records / 5;
  meter.last = meter.records * 4 / 5;
  return 0;
}

static int probe_ended (lua_State *L) {
  int64_t ended;
  if (!entered) enter_thread(L);
  ended = atomic_fetch_add(&meter.ended, 1) + 1;
  if (ended == meter.first) set_mark(&meter.marks[0]);
  else if (ended == meter.last) set_mark(&meter.marks[1]);
  if (ended == meter.records) set_mark(&meter.marks[2]);
  lua_pushnumber(L, (lua_Number)ended);
  return 1;
}

static int probe_how_many_ended (lua_State *L) {
  lua_pushnumber(L, (lua_Number)meter.ended);
  return 1;
}

static int probe_print_meter (lua_State *L) {
  const mark *a = &meter.marks[0], *b = &meter.marks[1];
  if (meter.ended != meter.records || meter.marked != 3)
    return luaL_error(L, "not every record ended once");
  printf("records %lld\nseconds %.6f\ncpu %.6f\nlua_cpu %.6f\n"
         "all_records %lld\nall_cpu %.6f\n",
         (long long)(meter.last - meter.first), b->time - a->time,
         b->process - a->process, b->threads - a->threads,
         (long long)meter.records, meter.marks[2].process);
  fflush(stdout);
  return 0;
}

static const luaL_Reg functions[] = { { "sleep", probe_sleep },
                                      { "expect", probe_expect },
                                      { "note", probe_note },
                                      { "mark", probe_mark },
                                      { "count", probe_count },
                                      { "came", probe_came },
                                      { "took", probe_took },
                                      { "print", probe_print },
                                      { "rss", probe_rss },
                                      { "used", probe_used },
                                      { "cpu", probe_cpu },
                                      { "meter", probe_meter },
                                      { "ended", probe_ended },
                                      { "how_many_ended",
                                        probe_how_many_ended },
                                      { "print_meter", probe_print_meter },
                                      { NULL, NULL } };

int luaopen_probe (lua_State *L);

int luaopen_probe (lua_State *L) {
  lua_newtable(L);
  for (const luaL_Reg *f = functions; f->name != NULL; f++) {
    lua_pushcfunction(L, f->func);
    lua_setfield(L, -2, f->name);
  }
  return 1;
}
