/*
** bridge.h - descriptors that an event loop cannot wait for, told to it through
** a Unix socket that it can
**
** nginx waits for its own sockets alone. So it connects to ours by a path, and
** a thread of the bridge writes the number of each armed descriptor that has
** become readable, four bytes, the machine's order:
**
**   open --(the loop connects)--> accepted --arm, number--> ... --> closed
**
** The socket stands in a folder of its own, which nobody else may enter, and
** both are gone once the connection is there.
**
** Protocol:
**   (1) An armed descriptor is written once, and is armed no more; and whoever
**       tells of one waits until that was read: so no more bytes wait than
**       eight for each, and the socket takes them.
**
** Invariants:
**   (2) A path is in the file system while there is a listener, and no longer.
**   (3) The thread runs only with what it waits for and writes to.
**
** Thread: lua.
*/
#ifndef STRAND_BRIDGE_H
#define STRAND_BRIDGE_H

#include <pthread.h>
#include <stdbool.h>

#include "base/err.h"

#define STRAND_BRIDGE_PATH 108 /* of a Unix socket, with its end */

typedef struct strand_bridge {
  char folder[STRAND_BRIDGE_PATH]; /* "": there is none */
  char path[STRAND_BRIDGE_PATH];
  int listener; /* -1: none */
  int peer;     /* what is written to; -1: none */
  int epoll;    /* of what is armed, and of 'stop'; -1: none */
  int stop;     /* an eventfd: the thread ends; -1: none */
  pthread_t thread;
  bool started;
} strand_bridge;

/* After a change, in debug builds. */
void strand_bridge_check (const strand_bridge *b);
void strand_bridge_init (strand_bridge *b);
/* In a new folder below 'parent'. False and a failure; strand_bridge_close is
** still due. */
bool strand_bridge_open (strand_bridge *b, const char *parent,
                         strand_failure *failure);
/* Whoever has connected; from now on it is told. The same. */
bool strand_bridge_accept (strand_bridge *b, strand_failure *failure);
/* Once, when 'fd' is readable, or already was. False and errno. */
bool strand_bridge_arm (strand_bridge *b, int fd);
/* It is told of 'fd' now, whether that is armed or not. False and errno. */
bool strand_bridge_tell (strand_bridge *b, int fd);
/* Again: nothing happens. The peer reads an end. */
void strand_bridge_close (strand_bridge *b);
/* In a child of the process: what it has of its parent's. */
void strand_bridge_forget (strand_bridge *b);

#endif
