-- The dead letter topic of the crash test, on a broker of its own
-- (STRAND_LETTERS, which scripts/kafka calls STRAND_LETTERS_NAME), which can
-- go away for a while, and a reader.
local helper = require "spec.support.helper"
local member = require "spec.support.member"
local strand = require "strand"
local system = require "system"

local letters = {}
letters.__index = letters

local PARTITIONS = 4

--- Its letters are written to 'path'. They bear the time at which the broker
--- took them.
function letters.new(path)
  local self = setmetatable({ topic = helper.name "dead" }, letters)
  self.kafka = { ["bootstrap.servers"] = os.getenv "STRAND_LETTERS" }
  local admin = assert(strand.admin { kafka = self.kafka })
  assert(admin:create_topics { [self.topic] = { partitions = PARTITIONS,
    config = { ["message.timestamp.type"] = "LogAppendTime" } } })
  admin:close()
  self.reader = member.start { group = helper.name "reader", topics = { self.topic }, workers = 1,
    ordering = "partition", handler = "spec.torture.reader", handler_args = path,
    kafka = self.kafka }
  return self
end

--- What a consumer's options say of it.
function letters:options(options)
  options.dead_letter, options.producer = { topic = self.topic }, { kafka = self.kafka }
  return options
end

--- The broker dies, and is started again after so many seconds.
function letters:stop(seconds)
  local ok = os.execute("scripts/kafka kill " .. os.getenv "STRAND_LETTERS_NAME")
  assert(ok == true or ok == 0)
  self.since = system.monotime()
  self.start_at = self.since + seconds
end

--- Whether it is away for certain: it has not begun to start.
function letters:down()
  return self.since ~= nil and not self.starting
end

--- Whether it has not come back.
function letters:away()
  return self.since ~= nil
end

local function start(self)
  self.starting = helper.spawn([[os.exit(os.execute(arg[1]) == true)]],
    ("exec scripts/kafka restart %s > /dev/null"):format(os.getenv "STRAND_LETTERS_NAME"))
  return system.monotime() - self.since
end

--- Serves the reader; returns for how long the broker was down when it is
--- about to start.
function letters:serve()
  assert(self.reader:step(0))
  if self:down() then
    if system.monotime() >= self.start_at then return start(self) end
  elseif self.starting and self.starting:status() then
    assert(self.starting:status() == 0, self.starting:errors())
    self.since, self.starting = nil, nil
  end
end

return letters
