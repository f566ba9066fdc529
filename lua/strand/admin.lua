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
-- close()              -> true

local core = require "strand.core"
local object = require "strand.object"
local options = require "strand.options"
local properties = require "strand.properties"

local check = options.check

local admin = {}
local methods, lasting = {}, {}

function methods:create_topics(topics, timeout)
  topics, timeout = check.create_topics(topics), check.commit(timeout)
  return self.core:create_topics(topics, timeout)
end

function methods:delete_topics(topics, timeout)
  topics, timeout = check.topic_list(topics), check.commit(timeout)
  return self.core:delete_topics(topics, timeout)
end

function methods:group_offsets(group, topics, timeout)
  group, topics = check.name(group, "group"), check.some_topics(topics)
  return self.core:group_offsets(group, topics, check.commit(timeout))
end

function lasting:close()
  if self.core:state() ~= "closed" then self.core:close() end
  return true
end

local class = object.class("admin", "strand.Admin", methods, lasting)

function admin.open(given)
  object.refuse_before_fork "admin"
  local flat = options.admin(given)
  local userdata, message, code = core.admin(flat)
  if message then message = properties.hide_secrets(message, flat.kafka) end
  return object.open(class, {}, userdata, message, code)
end

return admin
