/*
** system.c - see system.h
*/
#include "base/system.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/thread.h"

#define LIMIT_TEXT 24
#define REASON_TEXT 128

static void limit_text (char text[LIMIT_TEXT], rlim_t limit) {
  if (limit == RLIM_INFINITY) snprintf(text, LIMIT_TEXT, "unlimited");
  else snprintf(text, LIMIT_TEXT, "%llu", (unsigned long long)limit);
}

static void reason_text (char text[REASON_TEXT], int error) {
  if (strerror_r(error, text, REASON_TEXT) != 0) {
    snprintf(text, REASON_TEXT, "error %d", error);
  }
}

static void fail_memory (strand_failure *failure, const char *what) {
  strand_fail(failure, "NO_MEMORY", "%s: memory ran out", what);
}

void strand_fail_descriptor (strand_failure *failure, const char *what,
                             int error) {
  char reason[REASON_TEXT], text[LIMIT_TEXT];
  struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };
  reason_text(reason, error);
  if (error == EMFILE) {
    getrlimit(RLIMIT_NOFILE, &limit);
    limit_text(text, limit.rlim_cur);
    strand_fail(failure, "NO_DESCRIPTORS", "%s: %s (RLIMIT_NOFILE %s)", what,
                reason, text);
  }
  else if (error == ENFILE) {
    strand_fail(failure, "NO_DESCRIPTORS", "%s: %s (fs.file-max)", what,
                reason);
  }
  else if (error == ENOMEM || error == ENOBUFS) fail_memory(failure, what);
  else strand_fail(failure, "CRIT_SYS_RESOURCE", "%s: %s", what, reason);
}

void strand_fail_thread (strand_failure *failure, const char *what,
                         int error) {
  char reason[REASON_TEXT], threads[LIMIT_TEXT], memory[LIMIT_TEXT];
  struct rlimit nproc = { RLIM_INFINITY, RLIM_INFINITY }, as = nproc;
  if (error == ENOMEM) {
    fail_memory(failure, what);
    return;
  }
  getrlimit(RLIMIT_NPROC, &nproc);
  getrlimit(RLIMIT_AS, &as);
  limit_text(threads, nproc.rlim_cur);
  limit_text(memory, as.rlim_cur);
  reason_text(reason, error);
  strand_fail(failure, "NO_THREAD",
              "%s: %s (RLIMIT_NPROC %s, RLIMIT_AS %s, "
              "or pids.max of the control group)",
              what, reason, threads, memory);
}

static bool has_descriptors (unsigned count, int *error) {
  int fds[STRAND_SYSTEM_MOST];
  unsigned made = 0;
  while (made < count && (fds[made] = eventfd(0, EFD_CLOEXEC)) >= 0) made++;
  *error = made < count ? errno : 0;
  for (unsigned i = 0; i < made; i++) close(fds[i]);
  return made == count;
}

typedef struct latch {
  strand_lock lock;
  strand_condition changed;
  bool open;
} latch;

static void *pass (void *arg) {
  latch *g = arg;
  strand_lock_take(&g->lock);
  while (!g->open) strand_lock_wait(&g->lock, &g->changed);
  strand_lock_release(&g->lock);
  return NULL;
}

static void open_latch (latch *g) {
  strand_lock_take(&g->lock);
  g->open = true;
  pthread_cond_broadcast(&g->changed);
  strand_lock_release(&g->lock);
}

/* All at once: each waits until the last was made. */
static bool has_threads (unsigned count, int *error) {
  latch g = { .lock = STRAND_LOCK(STRAND_RANK_LEAF) };
  pthread_t threads[STRAND_SYSTEM_MOST];
  unsigned made = 0;
  if (!strand_condition_init(&g.changed)) {
    *error = ENOMEM;
    return false;
  }
  while (made < count && strand_thread_start(&threads[made], pass, &g)) made++;
  *error = made < count ? errno : 0;
  open_latch(&g);
  for (unsigned i = 0; i < made; i++) pthread_join(threads[i], NULL);
  strand_condition_free(&g.changed);
  strand_lock_free(&g.lock);
  return made == count;
}

static unsigned at_most (unsigned count) {
  return count < STRAND_SYSTEM_MOST ? count : STRAND_SYSTEM_MOST;
}

bool strand_system_has (unsigned descriptors, unsigned threads,
                        const char *what, strand_failure *failure) {
  int error;
  if (!has_descriptors(at_most(descriptors), &error)) {
    strand_fail_descriptor(failure, what, error);
    return false;
  }
  if (has_threads(at_most(threads), &error)) return true;
  strand_fail_thread(failure, what, error);
  return false;
}
