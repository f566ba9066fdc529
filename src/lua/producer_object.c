/*
** producer_object.c - see producer_object.h
*/
#include "lua/producer_object.h"

#include "lua/compat.h"

strand_producer_object *strand_check_any_producer (lua_State *L) {
  return luaL_checkudata(L, 1, STRAND_PRODUCER_TYPE);
}

strand_producer *strand_check_producer (lua_State *L) {
  strand_producer_object *self = strand_check_any_producer(L);
  if (self->kafka == NULL) luaL_error(L, "attempt to use a closed producer");
  return self->kafka;
}

strand_producer *strand_check_open_producer (lua_State *L) {
  strand_producer *kafka = strand_check_producer(L);
  if (strand_producer_is_closed(kafka))
    luaL_error(L, "attempt to use a closed producer");
  return kafka;
}
