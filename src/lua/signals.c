/*
** signals.c - see signals.h
*/
#include "lua/signals.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/lock.h"
#include "base/system.h"
#include "lua/compat.h"
#include "lua/object.h"

static strand_lock lock = STRAND_LOCK(STRAND_RANK_LEAF);
static int taken;
static int generation; /* of the process that took them (fork.h) */
static struct sigaction before_int;
static struct sigaction before_term;
/* Made once and kept by the first that takes signals, read by the handler, on
** any thread and also late. */
static atomic_int wake_fd = -1;
/* Counted by the handler, read by who has taken the signals. */
static atomic_int count;

static void on_signal (int number) {
  static const uint64_t one = 1;
  int saved = errno;
  ssize_t written;
  (void)number;
  atomic_fetch_add(&count, 1);
  written = write(atomic_load(&wake_fd), &one, sizeof(one));
  (void)written;
  errno = saved;
}

static void clear (void) {
  uint64_t n;
  ssize_t got = read(atomic_load(&wake_fd), &n, sizeof(n));
  (void)got;
}

/* A child of the process must not share its parent's descriptor. */
static int open_locked (void) {
  int fd;
  if (atomic_load(&wake_fd) >= 0 && generation == strand_fork_generation())
    return 1;
  fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) return 0;
  atomic_store(&wake_fd, fd);
  generation = strand_fork_generation();
  return 1;
}

static void install_locked (void) {
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  atomic_store(&count, 0);
  clear();
  sigaction(SIGINT, &action, &before_int);
  sigaction(SIGTERM, &action, &before_term);
  taken = 1;
}

/* 'error': of the descriptor, or 0. */
static int fail_taken (lua_State *L, int error) {
  strand_failure failure;
  if (error == 0)
    strand_fail(&failure, "CONFLICT",
                "another run loop of this process has "
                "the signals already");
  else strand_fail_descriptor(&failure, "the eventfd of signals", error);
  return strand_push_failure(L, &failure);
}

static int signals_take (lua_State *L) {
  int error = 0;
  int ours = 0;
  strand_lock_take(&lock);
  if (!open_locked()) error = errno;
  else if (!taken) {
    install_locked();
    ours = 1;
  }
  strand_lock_release(&lock);
  if (!ours) return fail_taken(L, error);
  lua_pushinteger(L, atomic_load(&wake_fd));
  return 1;
}

static int signals_read (lua_State *L) {
  if (atomic_load(&wake_fd) >= 0) clear();
  lua_pushinteger(L, atomic_load(&count));
  return 1;
}

static int signals_restore (lua_State *L) {
  (void)L;
  strand_lock_take(&lock);
  if (taken) {
    sigaction(SIGINT, &before_int, NULL);
    sigaction(SIGTERM, &before_term, NULL);
    taken = 0;
  }
  strand_lock_release(&lock);
  return 0;
}

static const luaL_Reg functions[] = {
  { "signals_take", signals_take },
  { "signals_read", signals_read },
  { "signals_restore", signals_restore },
  { NULL, NULL },
};

void strand_open_signals (lua_State *L) {
  strand_setfuncs(L, functions);
}
