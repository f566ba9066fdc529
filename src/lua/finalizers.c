/*
** finalizers.c - see finalizers.h
*/
#include "lua/finalizers.h"

#include "base/clock.h"
#include "kafka/log.h"
#include "lua/compat.h"

#define REFILL 60 /* seconds, until all is there again */
#define KEPT 0.25 /* seconds for each other, of at most half of what is left */

#define ANSWER 1.0       /* seconds for a broker, */
#define ANSWER_AGAIN 0.2 /* and after one that did not answer */

static char key;

void strand_finalizers_init (strand_finalizers *f, double now) {
  *f = (strand_finalizers){ .most = STRAND_FINALIZERS_SECONDS,
                            .left = STRAND_FINALIZERS_SECONDS,
                            .since = now };
}

/* Objects that are alive hold no reference: when a state closes, what has no
** finalizer is freed after all finalizers have run. */
static strand_finalizers *finalizers_of (lua_State *L) {
  strand_finalizers *f;
  lua_pushlightuserdata(L, &key);
  lua_rawget(L, LUA_REGISTRYINDEX);
  f = lua_touserdata(L, -1);
  if (f == NULL) {
    lua_pushlightuserdata(L, &key);
    f = strand_newuserdata(L, sizeof(*f));
    strand_finalizers_init(f, strand_clock_now());
    lua_rawset(L, LUA_REGISTRYINDEX);
  }
  lua_pop(L, 1);
  return f;
}

strand_finalizers *strand_finalizers_join (lua_State *L) {
  strand_finalizers *f = finalizers_of(L);
  f->count++;
  return f;
}

void strand_finalizers_limit (lua_State *L, double seconds) {
  strand_finalizers *f = finalizers_of(L);
  f->most = seconds;
  if (f->left > seconds) f->left = seconds;
}

static void say (unsigned objects, int64_t records) {
  strand_log_printf(NULL, STRAND_LOG_WARNING, "PRODUCER",
                    "%u producer%s collected without close(), which waits "
                    "for them: %lld records were not delivered",
                    objects, objects == 1 ? " was" : "s were",
                    (long long)records);
}

void strand_finalizers_leave (strand_finalizers **of) {
  strand_finalizers *f = *of;
  *of = NULL;
  if (f == NULL || --f->count > 0 || f->unsaid == 0) return;
  say(f->unsaid, f->lost);
  f->lost = f->unsaid = 0;
}

double strand_finalizers_begin (strand_finalizers *f, double now) {
  double kept = f->count > 1 ? KEPT * (f->count - 1) : 0;
  f->left += (now - f->since) * f->most / REFILL;
  if (f->left > f->most) f->left = f->most;
  f->since = now;
  return f->left - (kept < f->left / 2 ? kept : f->left / 2);
}

double strand_finalizers_patience (const strand_finalizers *f) {
  return f->hopeless ? ANSWER_AGAIN : ANSWER;
}

void strand_finalizers_end (strand_finalizers *f, double now) {
  f->left -= now - f->since;
  if (f->left < 0) f->left = 0;
  f->since = now;
}

bool strand_finalizers_count_lost (strand_finalizers *f, double now,
                                   int64_t *records, unsigned *objects) {
  f->lost += *records;
  if (*records > 0) f->unsaid++;
  if (f->unsaid == 0) return false;
  if (f->said >= STRAND_FINALIZERS_LINES && now - f->said_at < 1
      && f->count > 1)
    return false;
  *records = f->lost;
  *objects = f->unsaid;
  f->said++;
  f->said_at = now;
  f->lost = f->unsaid = 0;
  return true;
}

void strand_finalizers_say_lost (strand_finalizers *f, int64_t records) {
  unsigned objects;
  if (strand_finalizers_count_lost(f, strand_clock_now(), &records, &objects))
    say(objects, records);
}
