/*
** mock.h - core.mock(flat) -> Mock, or nil, message, code
**
**   flat     brokers (1 to 16), topics = { { topic =, partitions = }, ... }
**   Mock     state()   "running" | "closed" | "forked"
**            bootstrap_servers() -> "127.0.0.1:1234,..."
**            create_topic(name, partitions)    down(broker?)   up(broker?)
**            rtt(broker or nil, seconds)       no broker: all of them
**            fail(request, code, count = 1)
**            leader(topic, partition, broker)  -1: none
**            coordinator(group, broker)        close()
**   Each returns true, or nil, message, code. close() twice is fine; other
**   methods of a closed mock raise.
**
** Thread: lua.
*/
#ifndef STRAND_LUA_MOCK_H
#define STRAND_LUA_MOCK_H

#include <lua.h>

/* Adds 'mock' to the table on top of the stack. */
void strand_open_mock (lua_State *L);

#endif
