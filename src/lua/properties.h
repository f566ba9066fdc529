/*
** properties.h - lists of strings, and of pairs of them, from Lua to C
**
** Thread: any.
*/
#ifndef STRAND_PROPERTIES_H
#define STRAND_PROPERTIES_H

#include <stddef.h>

#include <lua.h>

#include "kafka/conf.h"

/* The field 'name' of 'table' is a list of { name, value }. Pushes what owns
** the array; its strings are borrowed from the table. An absent field is an
** empty list. Raises on anything else than strings. */
const strand_property *strand_push_properties (lua_State *L, int table,
                                               const char *name,
                                               size_t *count);

/* A list of strings at the index, or nil. Pushes what owns the array; its
** strings are borrowed from the list. NULL for nil. 'what' is for messages:
** raises on anything else. */
const char *const *strand_push_texts (lua_State *L, int list, const char *what,
                                      size_t *count);

/* Adds to the table on top of the stack, for lua/strand/properties.lua:
**
**   property_refusal(role, name)  -> why it is not to be set, or nil
**   property_is_secret(name)      -> whether its value must not be shown
**
** 'role' is "consumer", or anything else for a producer. */
void strand_open_properties (lua_State *L);

#endif
