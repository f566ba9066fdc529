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
  if (what != 0) i->act(i->arg, what);
  else pass_on(number, info, context);
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

void strand_interrupt_open (strand_interrupt *i,
                            void (*act)(void *arg, unsigned what), void *arg) {
  i->thread = pthread_self();
  i->act = act;
  i->arg = arg;
  atomic_store(&i->wanted, 0);
  here = i;
  mask(SIG_UNBLOCK);
}

void strand_interrupt_close (void) {
  mask(SIG_BLOCK);
  here = NULL;
}

void strand_interrupt_send (strand_interrupt *i, unsigned what) {
  pthread_once(&once, install);
  atomic_fetch_or(&i->wanted, what);
  pthread_kill(i->thread, SIGURG);
}
