-- A consumer in an nginx of a spec (spec/support/nginx.lua), whose handlers are given as text:
--
--   local consumer = nginx_consumer.start("seen:incr('done', 1, 0)", { options = "deadline = 1," })
--   consumer:produce { { key = "a", value = "1" }, ... }
--   consumer:is("done", "1")    waits until the dictionary has that
--
-- Handlers have 'record', 'context', 'strand', and 'seen', a dictionary that outlives its worker;
-- 'real_exit' is ngx.exit from before strand was loaded. In 'seen' are also: assigned, record_failed
-- and error (numbers of those events), "record_failed KEY", "error KEY" (their last reason),
-- "startedN" (what start() gave in worker N).
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local strand = require "strand"

local nginx_consumer = {}
nginx_consumer.__index = nginx_consumer

local HTTP = [[
  lua_shared_dict seen 10m;
  DIRECTIVES
  init_by_lua_block {
    real_exit = ngx.exit
  }
  init_worker_by_lua_block {
    strand = require "strand"
    seen = ngx.shared.seen
    BEFORE
    local function handler(record, context) HANDLER end
    consumer = assert(strand.consumer {
      kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = "GROUP" },
      topics = { "TOPIC" }, workers = 0, handler = handler, OPTIONS
      on_event = function(event)
        if event.type == "assigned" then seen:incr("assigned", 1, 0) end
        if event.type == "record_failed" or event.type == "error" then
          seen:incr(event.type, 1, 0)
          seen:set(event.type .. " " .. tostring(event.key), event.reason)
        end
      end,
    })
    local ok, message, code = strand.loop.resty.start(consumer, STARTED)
    seen:set("started" .. ngx.worker.id(), tostring(ok) .. " " .. tostring(message) .. " " .. tostring(code))
  }
]]

local SERVER = [[
  location / {
    content_by_lua_block {
      local value = ngx.shared.seen:get(ngx.unescape_uri(ngx.var.uri:sub(2)))
      ngx.print(tostring(value))
    }
  }
  location /set { content_by_lua_block { ngx.shared.seen:set(ngx.var.arg_name, ngx.var.arg_value) } }
  location /timers { content_by_lua_block { ngx.print(ngx.timer.running_count()) } }
  SERVER_MORE
]]

--- 'given': topic (a new one of 'partitions', 1), group, nginx (workers), main, directives, server
--- (text of these blocks), before (in init_worker_by_lua), options (of the consumer), started (of
--- start()).
function nginx_consumer.start(handler, given)
  given = given or {}
  local self = setmetatable({ topic = given.topic or helper.topic(given.partitions or 1) },
    nginx_consumer)
  self.server = nginx.start { workers = given.nginx, http = HTTP, server = SERVER, main = given.main,
    words = {
      HANDLER = handler, TOPIC = self.topic, GROUP = given.group or helper.name "group",
      OPTIONS = given.options or "", STARTED = given.started or "nil",
      DIRECTIVES = given.directives or "", BEFORE = given.before or "",
      SERVER_MORE = given.server or "",
    } }
  return self
end

function nginx_consumer.produce_to(topic, records)
  local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
  for _, record in ipairs(records) do
    assert(producer:send { topic = topic, key = record.key, value = record.value })
  end
  assert(producer:flush(30))
  producer:close()
end

function nginx_consumer:produce(records) nginx_consumer.produce_to(self.topic, records) end

--- What 'seen' has by that name, as text.
function nginx_consumer:get(name)
  return self.server:ask("/" .. name:gsub(" ", "%%20"))
end

function nginx_consumer:set(name, value)
  self.server:ask(("/set?name=%s&value=%s"):format(name, value))
end

function nginx_consumer:is(name, value)
  self.server:await(name .. " = " .. value, function() return self:get(name) == value end)
end

--- So many records, each of a key of its own.
function nginx_consumer.keys(count)
  local records = {}
  for n = 1, count do records[n] = { key = "k" .. n, value = tostring(n) } end
  return records
end

return nginx_consumer
