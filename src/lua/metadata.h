/*
** metadata.h - the metadata of a commit, for Lua programs that look into it
**
** Adds to the module table on top of the stack:
**
**   metadata_decode(committed_offset, text)
**     -> { highest, incomplete = { { first, last }, ... }, codec }
**     "BAD_FORMAT", "TOO_LARGE"
**   metadata_encode(committed_offset, highest, incomplete, limit?)
**     -> text, codec
**     "TOO_LARGE": longer than 'limit' (4096 characters), or beyond what a
**     payload can describe
**
** Only [committed_offset, highest] is described. The ranges of 'incomplete'
** increase and stay within it; ranges that touch are joined. The first need
** not begin at the committed offset. 'highest' is committed_offset - 1 when
** there is nothing to describe: that is the empty text, codec "none".
** Offsets are whole numbers from 0, up to 2^53 before Lua 5.3. Anything else
** is misuse and raises.
**
** Thread: lua
*/
#ifndef STRAND_METADATA_H
#define STRAND_METADATA_H

#include <lua.h>

void strand_open_metadata (lua_State *L);

#endif
