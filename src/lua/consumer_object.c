/*
** consumer_object.c - see consumer_object.h
*/
#include "lua/consumer_object.h"

#include "lua/compat.h"

strand_consumer_object *strand_check_any_consumer (lua_State *L) {
  return luaL_checkudata(L, 1, STRAND_CONSUMER_TYPE);
}

strand_consumer_object *strand_check_consumer (lua_State *L) {
  strand_consumer_object *self = strand_check_any_consumer(L);
  if (strand_is_forked(self->generation)) return NULL;
  if (self->kafka == NULL) luaL_error(L, "attempt to use a closed consumer");
  return self;
}

int32_t strand_check_partition (lua_State *L, int index) {
  int64_t partition = strand_check_int64(L, index);
  luaL_argcheck(L, partition >= 0 && partition <= INT32_MAX, index,
                "number of a partition expected");
  return (int32_t)partition;
}
