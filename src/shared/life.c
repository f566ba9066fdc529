/*
** life.c - a consumer's life, from its start to the end of its close
*/
#include "shared/life.h"

#include <assert.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"

#define GIVE_UP_US 800000       /* past close's timeout */
#define WORKERS_MOST_US 500000  /* close NOW, when the members are gone */
#define WORKERS_LEAST_US 100000 /* they hear of it only then */

bool strand_life_init (strand_life *l) {
  *l = (strand_life){ .timer_fd = -1 };
  strand_lock_init(&l->lock, STRAND_RANK_LEAF);
  return strand_condition_init(&l->changed);
}

void strand_life_free (strand_life *l) {
  if (l->timer_fd >= 0) close(l->timer_fd);
  strand_condition_free(&l->changed);
  strand_lock_free(&l->lock);
}

int strand_life_open (strand_life *l) {
  l->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  return l->timer_fd;
}

strand_state strand_life_state (strand_life *l) {
  strand_state state;
  strand_lock_take(&l->lock);
  state = l->facts.state;
  strand_lock_release(&l->lock);
  return state;
}

void strand_life_read (strand_life *l, strand_facts *to) {
  strand_lock_take(&l->lock);
  *to = l->facts;
  strand_lock_release(&l->lock);
}

/*
** Starting
*/

bool strand_life_start (strand_life *l) {
  bool first;
  strand_lock_take(&l->lock);
  first = l->facts.state == STRAND_NEW && l->facts.started_us == 0;
  if (first) l->facts.started_us = strand_clock_us();
  strand_lock_release(&l->lock);
  return first;
}

void strand_life_run (strand_life *l) {
  strand_lock_take(&l->lock);
  l->facts.state = STRAND_RUNS;
  strand_lock_release(&l->lock);
}

void strand_life_add_member (strand_life *l) {
  strand_lock_take(&l->lock);
  l->facts.members++;
  l->facts.uncommitted++;
  strand_lock_release(&l->lock);
}

void strand_life_drop_member (strand_life *l) {
  strand_lock_take(&l->lock);
  l->facts.members--;
  l->facts.uncommitted--;
  strand_lock_release(&l->lock);
}

bool strand_life_commit (strand_life *l) {
  bool all;
  strand_lock_take(&l->lock);
  all = --l->facts.uncommitted == 0;
  strand_lock_release(&l->lock);
  return all;
}

bool strand_life_all_committed (strand_life *l) {
  bool all;
  strand_lock_take(&l->lock);
  all = l->facts.uncommitted == 0;
  strand_lock_release(&l->lock);
  return all;
}

void strand_life_be_late (strand_life *l) {
  strand_lock_take(&l->lock);
  l->facts.late = true;
  strand_lock_release(&l->lock);
}

bool strand_life_hire (strand_life *l, unsigned count) {
  bool useful;
  strand_lock_take(&l->lock);
  useful = l->facts.state < STRAND_CLOSING
           || (l->facts.state == STRAND_CLOSING && l->facts.members > 0);
  if (useful) l->facts.workers += count;
  strand_lock_release(&l->lock);
  return useful;
}

/*
** Closing
*/

/* At 0 never. */
static void give_up_locked (strand_life *l, int64_t at_us) {
  struct itimerspec when = { { 0, 0 }, { 0, 0 } };
  l->give_up_us = at_us;
  when.it_value.tv_sec = at_us / 1000000;
  when.it_value.tv_nsec = at_us % 1000000 * 1000;
  if (l->timer_fd >= 0) {
    timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
  }
  pthread_cond_broadcast(&l->changed);
}

static void wait_for_workers_locked (strand_life *l) {
  int64_t now_us = strand_clock_us(), until_us = l->facts.deadline_us;
  if (l->facts.mode == STRAND_CLOSE_NOW
      && now_us + WORKERS_MOST_US < until_us) {
    until_us = now_us + WORKERS_MOST_US;
  }
  if (until_us < now_us + WORKERS_LEAST_US) {
    until_us = now_us + WORKERS_LEAST_US;
  }
  if (until_us < l->give_up_us) give_up_locked(l, until_us);
}

static void end_locked (strand_life *l) {
  l->facts.state = STRAND_CLOSED;
  l->facts.closed_us = strand_clock_us();
  pthread_cond_broadcast(&l->changed);
}

/* Are all members and workers gone? */
static strand_ended end_if_gone_locked (strand_life *l) {
  strand_ended ended = { .members = l->facts.members == 0 };
  if (l->facts.members > 0 || l->facts.state != STRAND_CLOSING) return ended;
  if (l->facts.workers > 0) {
    wait_for_workers_locked(l);
    return ended;
  }
  end_locked(l);
  ended.closed = true;
  return ended;
}

bool strand_life_close (strand_life *l, strand_close_mode mode, double timeout,
                        strand_ended *ended) {
  int64_t deadline_us = strand_clock_us() + (int64_t)(timeout * 1e6);
  strand_facts *f = &l->facts;
  bool open;
  strand_lock_take(&l->lock);
  open = f->state != STRAND_CLOSED;
  if (open) {
    if (f->state != STRAND_CLOSING || deadline_us < f->deadline_us) {
      f->deadline_us = deadline_us;
      f->timeout = timeout;
    }
    if (f->state != STRAND_CLOSING || f->mode != STRAND_CLOSE_NOW) {
      f->mode = mode; /* who hurries goes on hurrying */
    }
    f->state = STRAND_CLOSING;
    give_up_locked(l, f->deadline_us + GIVE_UP_US);
    *ended = end_if_gone_locked(l);
  }
  strand_lock_release(&l->lock);
  return open;
}

strand_ended strand_life_end_member (strand_life *l) {
  strand_ended ended;
  strand_lock_take(&l->lock);
  l->facts.members--;
  ended = end_if_gone_locked(l);
  strand_lock_release(&l->lock);
  return ended;
}

strand_ended strand_life_end_workers (strand_life *l, unsigned count) {
  strand_ended ended;
  strand_lock_take(&l->lock);
  l->facts.workers -= count;
  ended = end_if_gone_locked(l);
  strand_lock_release(&l->lock);
  return ended;
}

bool strand_life_step (strand_life *l) {
  bool closed;
  strand_lock_take(&l->lock);
  if (l->facts.state == STRAND_CLOSING && strand_clock_us() >= l->give_up_us) {
    l->facts.detached = true;
    end_locked(l);
  }
  closed = l->facts.state == STRAND_CLOSED;
  strand_lock_release(&l->lock);
  return closed;
}

void strand_life_wait (strand_life *l, int64_t until_us) {
  strand_lock_take(&l->lock);
  while (l->facts.state != STRAND_CLOSED) {
    int64_t us = l->give_up_us < until_us ? l->give_up_us : until_us;
    if (strand_clock_us() >= us) break;
    strand_lock_wait_until(&l->lock, &l->changed, (double)us / 1e6);
  }
  strand_lock_release(&l->lock);
}

void strand_life_tell (strand_life *l) {
  strand_lock_take(&l->lock);
  give_up_locked(l, 0);
  l->reported = true;
  strand_lock_release(&l->lock);
}

bool strand_life_unreported (strand_life *l) {
  bool unreported;
  strand_lock_take(&l->lock);
  unreported = l->facts.state == STRAND_CLOSED && !l->reported;
  strand_lock_release(&l->lock);
  return unreported;
}

/*
** Threads
*/

void strand_life_enter (strand_life *l) {
  strand_lock_take(&l->lock);
  l->threads++;
  strand_lock_release(&l->lock);
}

void strand_life_leave (strand_life *l) {
  strand_lock_take(&l->lock);
  l->threads--;
  strand_lock_release(&l->lock);
}

bool strand_life_give_back (strand_life *l) {
  bool now;
  strand_lock_take(&l->lock);
  now = l->reported && l->threads == 0 && !l->given_back;
  if (now) {
    l->given_back = true;
    if (l->timer_fd >= 0) close(l->timer_fd);
    l->timer_fd = -1;
  }
  strand_lock_release(&l->lock);
  return now;
}

void strand_life_check (strand_life *l) {
  const strand_facts *f = &l->facts;
  strand_lock_take(&l->lock);
  assert(f->state != STRAND_CLOSED || f->detached
         || f->members + f->workers == 0);           /* (1) */
  assert(!l->reported || f->state == STRAND_CLOSED); /* (2) */
  assert(!l->given_back || l->reported);             /* (2) */
  strand_lock_release(&l->lock);
  (void)f;
}
