-- admin.lua: topics and groups, from outside
--
-- Every call waits for the brokers' answer; it is for tools, not for an
-- event loop. Used of strand.core:
--
-- core.admin(flat)     -> userdata | nil, message, code
-- state()              -> "running" | "closed" | "forked"
-- create_topics({ { topic, partitions, replication | nil, config = { { name, value }, ... } |
--               nil }, ... }, timeout) -> true | nil, message, code, answers
--                      answers: { [topic] = true | { message, code } }, once the brokers gave them
-- delete_topics({ name, ... }, timeout) -> true | nil, message, code, answers
-- group_offsets(group, { topic, ... } | nil, timeout)
--                      -> { { topic, partition, offset, metadata }, ... } | nil, message, code
-- oauth_needed(), oauth_set(token, expires, principal), oauth_fail(message)   with flat.has_oauth,
--                      as the consumer's; after a failure a token is due until there is one
-- next_log()           as the consumer's, with flat.has_log; after close() too
-- close()              -> true

local core = require "strand.core"
local object = require "strand.object"
local check = require "strand.options.admin"
local properties = require "strand.properties"
local dispatcher = require "strand.dispatcher"

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

local function ask(self, method, ...)
  local problem = give_token(self)
  if problem then return served(self, nil, problem, "OAUTH") end
  return served(self, self.core[method](self.core, ...))
end

function methods:create_topics(topics, timeout)
  topics, timeout = check.create_topics(topics, timeout)
  return ask(self, "create_topics", topics, timeout)
end

function methods:delete_topics(topics, timeout)
  topics, timeout = check.delete_topics(topics, timeout)
  return ask(self, "delete_topics", topics, timeout)
end

function methods:group_offsets(group, topics, timeout)
  return ask(self, "group_offsets", check.group_offsets(group, topics, timeout))
end

function lasting:close()
  if self.core:state() ~= "closed" then self.core:close() end
  return served(self, true)
end

local class = object.class("admin", "strand.Admin", methods, lasting)

function admin.open(given)
  object.refuse_before_fork "admin"
  local flat, own = check.open(given)
  local userdata, message, code = core.admin(flat)
  if message then message = properties.hide_secrets(message, flat.kafka) end
  local self, problem
  self, problem, code = object.open(class, { oauth_token = own.oauth_token }, userdata, message,
    code)
  if not self then return nil, problem, code end
  self.dispatcher = dispatcher.of_log(userdata, own.log)
  return self
end

return admin
