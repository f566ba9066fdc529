-- manual.lua: the tables of docs/options.md

local admin = require "strand.options.admin"
local consumer = require "strand.options.consumer"
local methods = require "strand.options.consumer_methods"
local mock = require "strand.options.mock"
local producer = require "strand.options.producer"
local schema = require "strand.schema"

local PARTS = {
  { "strand.consumer", consumer.fields, true },
  { "strand.producer", producer.fields, true },
  { "strand.admin", admin.fields },
  { "strand.mock", mock.fields },
  { "consumer:run", methods.run_fields },
  { "consumer:close", methods.close_fields },
  { "consumer:seek", methods.seek_fields },
  { "admin:describe", admin.describe_fields },
  { "admin:alter_config", admin.alter_fields },
  { "admin:list_offsets", admin.list_fields },
  { "admin:reset_offsets", admin.reset_fields },
  { "admin:read", admin.read_fields },
  { "A record to send", producer.awaited_record },
}

-- -> Markdown
return function()
  local parts = {}
  for _, part in ipairs(PARTS) do
    parts[#parts + 1] = ("## %s\n\n%s\n"):format(part[1], schema.manual(part[2], part[3]))
  end
  return table.concat(parts, "\n")
end
