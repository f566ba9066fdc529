/*
** interrupt.c - see interrupt.h
*/
#include "base/interrupt.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

/* The signal may be somebody else's, on a thread that is none of ours: glibc
** would allocate its 'here' there, in the signal handler, unless all threads
** have one from the start. */
#ifdef __GLIBC__
#define FROM_THE_START __attribute__((tls_model("initial-exec")))
#else
#define FROM_THE_START
#endif
/* Written by its thread, and read there by the signal handler. */
static _Thread_local strand_interrupt *volatile here FROM_THE_START;

static pthread_once_t once = PTHREAD_ONCE_INIT; /* survives a fork */
static struct sigaction before;

static void pass_on (int number, siginfo_t *info, void *context) {
  if (before.sa_flags & SA_SIGINFO) {
    if (before.sa_sigaction != NULL) {
      before.sa_sigaction(number, info, context);
    }
  }
  else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
    before.sa_handler(number);
  }
}

static void on_signal (int number, siginfo_t *info, void *context) {
  strand_interrupt *i = here;
  int saved = errno;
  unsigned what = i != NULL ? atomic_exchange(&i->wanted, 0) : 0;
  void (*act)(void *, unsigned) = what != 0 ? i->act : NULL;
  if (act != NULL) act(i->arg, what);
  else if (what == 0) pass_on(number, info, context);
  errno = saved;
}

static void install (void) {
  struct sigaction action;
  memset(&action, 0, sizeof(action));
  action.sa_sigaction = on_signal;
  action.sa_flags = SA_SIGINFO | SA_RESTART;
  sigemptyset(&action.sa_mask);
  sigaction(SIGURG, &action, &before);
}

static void mask (int how) {
  sigset_t urgent;
  sigemptyset(&urgent);
  sigaddset(&urgent, SIGURG);
  pthread_sigmask(how, &urgent, NULL);
}

void strand_interrupt_open (strand_interrupt *i) {
  i->thread = pthread_self();
  i->act = NULL;
  atomic_store(&i->wanted, 0);
  here = i;
  mask(SIG_UNBLOCK);
}

void strand_interrupt_close (void) {
  mask(SIG_BLOCK);
  here = NULL;
}

/* 'arg' is changed while no signal handler reads it. */
void strand_interrupt_serve (void (*act)(void *arg, unsigned what),
                             void *arg) {
  strand_interrupt *i = here;
  if (i == NULL) return;
  i->act = NULL;
  i->arg = arg;
  i->act = act;
}

void strand_interrupt_send (strand_interrupt *i, unsigned what) {
  pthread_once(&once, install);
  atomic_fetch_or(&i->wanted, what);
  pthread_kill(i->thread, SIGURG);
}
