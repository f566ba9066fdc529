/*
** fork.c - fork() as a Lua function, for specs: package.loadlib(so, "spec_fork")
**
** spec_fork(true) returns true in the parent and nothing in the child. It needs no
** header of Lua's: the number of results says it all.
**
** Thread: lua.
*/
#include <unistd.h>

int spec_fork (void *L);

int spec_fork (void *L) {
  (void)L;
  return fork() > 0;
}
