-- admin.lua: topics, settings and groups, from outside
--
-- What it makes of several questions stands in admin_cluster.lua and
-- admin_offsets.lua. Every call waits for the brokers' answer; in an event loop
-- a thread asks meanwhile, one question of an admin at a time. Used of strand.core:
--
-- core.admin(flat)     -> userdata | nil, message, code
-- state()              -> "running" | "closed" | "forked"
-- create_topics({ { topic, partitions, replication | nil, config = { { name, value }, ... } |
--               nil }, ... }, timeout) -> true | nil, message, code, answers
--                      answers: { [topic] = true | { message, code } }, once the brokers gave them
-- delete_topics({ name, ... }, timeout) -> true | nil, message, code, answers
-- create_partitions({ { topic, partitions }, ... }, timeout)   as create_topics
-- describe({ topic, ... } | nil, timeout) -> { cluster_id, controller, brokers, topics }
-- configs("topic" | "broker", { name, ... }, timeout)
--                      -> { { name, settings = { { name, value, source, ... }, ... } }, ... }
-- alter_config("topic" | "broker", name, { set = { { name, value }, ... }, unset = { name, ... } |
--              nil }, timeout) -> true | nil, message, code
-- group_offsets(group, { topic, ... } | nil, timeout)
--                      -> { { topic, partition, offset, metadata }, ... } | nil, message, code
-- list_groups(timeout) -> { { group, state, simple } | { message, code }, ... }
-- describe_groups({ group, ... }, timeout) -> { { group, state, members, ... }, ... }
-- find_offsets({ { topic, partition, at }, ... }, timeout), at: milliseconds; -1, -2: the log's
--                      end, its start -> { { topic, partition, offset | message, code }, ... }
-- write_offsets(group, places, timeout), delete_offsets(group, places, timeout),
-- delete_records(places, timeout)   the same, with offsets as 'at'
-- read({ topic, partition, offset, end, records, bytes }, timeout) -> { records, ended }
--                      each of these, and describe to configs: or nil, message, code
-- oauth_needed(), oauth_set(token, expires, principal), oauth_fail(message)   with flat.has_oauth,
--                      as the consumer's; after a failure a token is due until there is one
-- next_log()           as the consumer's, with flat.has_log; after close() too
-- close()              -> true
-- async() -> true | nil, message, code   from now on each of these that takes a timeout, and
--                      end_begin(), gives false and a ticket, and the answer is
-- answer(ticket)       -> false: not yet, fd gets readable | what the method gives
-- is_busy()            -> whether an answer is still to come: nothing else can be asked
-- end_begin()          close() has nothing to wait for after its answer
-- fd() -> number       after async(); keep(boolean): it is readable, or not

local core = require "strand.core"
local nginx = require "strand.nginx"
local object = require "strand.object"
local check = require "strand.options.admin"
local properties = require "strand.properties"
local schema = require "strand.schema"
local dispatcher = require "strand.dispatcher"
local admin_cluster = require "strand.admin_cluster"
local admin_offsets = require "strand.admin_offsets"

local unpack = table.unpack or unpack

local admin = {}
local methods, lasting = {}, {}

local function served(self, ...)
  self.dispatcher:serve() -- what librdkafka has logged meanwhile
  return ...
end

-- Without a token no broker would answer: then that is the answer. -> problem | nil
local function give_token(self)
  if not self.oauth_token or not self.core:oauth_needed() then return nil end
  local problem = dispatcher.give_token(self.core, self.oauth_token)
  if problem then self.core:oauth_fail(problem) end
  return problem
end

-- By a callback, after the call had begun.
local function closed(self, method)
  return served(self, nil, method .. ": the admin was closed meanwhile", "CLOSED")
end

-- Until no answer is to come -> whether that is so
local function wait_for_turn(self, deadline)
  while self.core:is_busy() do
    if core.now() >= deadline then return false end
    self.loop:await(deadline - core.now())
  end
  return true
end

local function answer_of(self, ticket)
  local answer = { self.core:answer(ticket) }
  while answer[1] == false do
    self.loop:await()
    answer = { self.core:answer(ticket) }
  end
  return unpack(answer, 1, 4)
end

-- The last of what follows is the timeout.
local function ask_in_loop(self, method, ...)
  local arguments, count = { ... }, select("#", ...)
  local deadline = core.now() + arguments[count]
  if not wait_for_turn(self, deadline) then
    return nil, ("%s: not asked: what was asked before is not answered"):format(method), "TIMED_OUT"
  end
  if self.closing then return closed(self, method) end
  local problem = give_token(self)
  if problem then return nil, problem, "OAUTH" end
  arguments[count] = math.max(0, deadline - core.now())
  local pending, ticket, code = self.core[method](self.core, unpack(arguments, 1, count))
  if pending == nil then return nil, ticket, code end
  return answer_of(self, ticket)
end

local function ask(self, method, ...)
  if self.closing then schema.raise("attempt to use a closed admin") end
  if self.loop then return ask_in_loop(self, method, ...) end
  local problem = give_token(self)
  if problem then return served(self, nil, problem, "OAUTH") end
  if self.core:state() == "closed" then return closed(self, method) end
  return served(self, self.core[method](self.core, ...))
end

-- A question says of itself which it is; the user called 'name'.
local function renamed(name, result, message, ...)
  if result == nil and message then message = message:gsub("^[%l_]+: ", name .. ": ", 1) end
  return result, message, ...
end

-- Several questions of the method 'name' with one timeout: 'put(method, ...)' asks with what is
-- left of it. -> put, what
local function question(self, name, what, timeout)
  local deadline = core.now() + timeout
  return function(method, ...)
    local arguments, count = { ... }, select("#", ...)
    arguments[count + 1] = math.max(0, deadline - core.now())
    return renamed(name, ask(self, method, unpack(arguments, 1, count + 1)))
  end, what
end

function methods:create_topics(topics, timeout)
  topics, timeout = check.create_topics(topics, timeout)
  return ask(self, "create_topics", topics, timeout)
end

function methods:create_partitions(topics, timeout)
  topics, timeout = check.create_partitions(topics, timeout)
  return ask(self, "create_partitions", topics, timeout)
end

function methods:delete_topics(topics, timeout)
  topics, timeout = check.delete_topics(topics, timeout)
  return ask(self, "delete_topics", topics, timeout)
end

function methods:group_offsets(group, topics, timeout)
  return ask(self, "group_offsets", check.group_offsets(group, topics, timeout))
end

function methods:alter_config(what, timeout)
  what, timeout = check.alter_config(what, timeout)
  return ask(self, "alter_config", what.kind, what.name, { set = what.set, unset = what.unset },
    timeout)
end

function methods:describe(what, timeout)
  return admin_cluster.describe(question(self, "describe", check.describe(what, timeout)))
end

function methods:groups(names, timeout)
  return admin_cluster.groups(question(self, "groups", check.groups(names, timeout)))
end

function methods:list_offsets(where, timeout)
  return admin_offsets.list(question(self, "list_offsets", check.list_offsets(where, timeout)))
end

function methods:lag(group, topics, timeout)
  group, topics, timeout = check.lag(group, topics, timeout)
  return admin_offsets.lag(question(self, "lag", topics, timeout), topics, group)
end

function methods:reset_offsets(group, where, timeout)
  group, where, timeout = check.reset_offsets(group, where, timeout)
  return admin_offsets.reset(question(self, "reset_offsets", where, timeout), where, group)
end

function methods:delete_group_offsets(group, topics, timeout)
  group, topics, timeout = check.delete_group_offsets(group, topics, timeout)
  local put = question(self, "delete_group_offsets", topics, timeout)
  return admin_offsets.delete_of_group(put, topics, group)
end

function methods:delete_records(places, timeout)
  places, timeout = check.delete_records(places, timeout)
  return admin_offsets.delete_records(question(self, "delete_records", places, timeout))
end

function methods:read(what, timeout)
  return admin_offsets.read(question(self, "read", check.read(what, timeout)))
end

local END_TIMEOUT = 1 -- seconds for what was asked before; then it goes on in the background

local function end_core(self)
  if wait_for_turn(self, core.now() + END_TIMEOUT) then
    local pending, ticket = self.core:end_begin()
    if pending == false then answer_of(self, ticket) end
  end
  self.loop:leave() -- the descriptor goes
  self.core:close()
end

local function close_in_loop(self)
  if not self.closing then
    self.closing = true
    self.loop:spawn(function()
      self.loop:try("close", end_core, self)
      self.ended = true
      self.loop:wake_all()
    end)
  end
  local refusal = not self.ended and self.loop:refusal()
  if refusal then return nil, ("close() has begun: %s"):format(refusal), "CANNOT_WAIT" end
  while not self.ended do self.loop:await() end
  return served(self, true)
end

function lasting:close()
  if self.loop then return close_in_loop(self) end
  if self.core:state() ~= "closed" then self.core:close() end
  return served(self, true)
end

local class = object.class("admin", "strand.Admin", methods, lasting)

-- For an event loop (loop/service.lua).
class.metatable.serving = {
  noun = "admin",
  attach = function(self) return self.core:async() end,
  turn = function(self)
    self.core:keep(false)
    return self.dispatcher:serve()
  end,
  is_over = function(self) return self.ended == true end,
  is_busy = function(self) return not self.ended and self.core:is_busy() end,
  quit = function(self, seconds) self.loop:quit(seconds) end,
  on_exit = function(self)
    self.loop = nil
    self.core:close()
  end,
}

function admin.open(given)
  nginx.check_open "admin"
  local flat, own = check.open(given)
  local userdata, message, code = core.admin(flat)
  if message then message = properties.hide_secrets(message, flat.kafka) end
  local self, problem
  self, problem, code = object.open(class, { oauth_token = own.oauth_token }, userdata, message,
    code)
  if not self then return nil, problem, code end
  self.dispatcher = dispatcher.of_log(userdata, own.log, function(kept) userdata:keep(kept) end)
  return self
end

return admin
