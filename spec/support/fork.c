/*
** fork.c - fork() as a Lua function, for specs:
**
**   package.loadlib(so, "spec_fork")
**
** spec_fork(true) returns true in the parent and nothing in the child. It
** needs no header of Lua's: the number of results says it all.
**
** The child frees nothing of ours, as promised; it leaves before a sanitizer
** would look for that (-z nodelete: after Lua has unloaded this file).
**
** Thread: lua.
*/
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int spec_fork (void *L);

static void leave (void) {
  fflush(NULL);
  _exit(0);
}

int spec_fork (void *L) {
  pid_t child = fork();
  (void)L;
  if (child == 0) atexit(leave);
  return child > 0;
}
