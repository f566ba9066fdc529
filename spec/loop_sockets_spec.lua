-- Objects of strand beside sockets of the same loop: a server takes requests, and answers each
-- when Kafka has acknowledged what it says.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local strand = require "strand"

local CLIENTS, REQUESTS = 20, 5

-- What a server does with a line.
local function acknowledge(producer, topic, line)
  local report, message = producer:send_wait { topic = topic, value = line, timeout = 30 }
  return report and "ok " .. line or "failed " .. message
end

local function expected()
  local lines = {}
  for client = 1, CLIENTS do
    for n = 1, REQUESTS do lines[#lines + 1] = ("ok %d-%d"):format(client, n) end
  end
  table.sort(lines)
  return lines
end

local function open_producer()
  return assert(strand.producer { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
end

local has_cqueues, cqueues = pcall(require, "cqueues")
local has_luv, uv = pcall(require, "luv")

describe("a server in an event loop", function()
  setup(function()
    if has_luv then -- its loop keeps a descriptor from the first socket on
      uv.new_tcp():close()
      uv.run "nowait"
    end
    fixture.open()
  end)
  teardown(fixture.close)

  if has_cqueues then
    it("of cqueues answers when what it sent is acknowledged", function()
      local socket = require "cqueues.socket"
      local topic, answers = helper.topic(2), {}
      local loop = cqueues.new()
      local server = socket.listen("127.0.0.1", 0)
      local producer = open_producer()
      assert(strand.loop.cqueues.start(producer, loop))

      local function serve(connection)
        local line = connection:read "*l" -- Lua 5.1 cannot yield in an iterator
        while line do
          connection:write(acknowledge(producer, topic, line), "\n")
          connection:flush()
          line = connection:read "*l"
        end
        connection:close()
      end

      loop:wrap(function()
        for _ = 1, CLIENTS do
          local connection = server:accept()
          loop:wrap(function() serve(connection) end)
        end
      end)
      local left = CLIENTS
      for client = 1, CLIENTS do
        loop:wrap(function()
          local _, host, port = server:localname()
          local connection = socket.connect(host, port)
          for n = 1, REQUESTS do
            connection:write(("%d-%d\n"):format(client, n))
            connection:flush()
            local answer = connection:read "*l" -- before its place is known: others answer meanwhile
            answers[#answers + 1] = answer
          end
          connection:close()
          left = left - 1
          if left > 0 then return end
          assert(producer:close().delivered == CLIENTS * REQUESTS)
        end)
      end
      local deadline = fixture.now() + 60
      while #answers < CLIENTS * REQUESTS or left > 0 or not producer.report do
        assert(loop:step(0.1))
        assert(fixture.now() < deadline, "not answered in time")
      end
      server:close()
      table.sort(answers)
      assert.are.same(expected(), answers)
      if rawget(_G, "jit") then jit.flush() end -- traces keep the loop
    end)
  end

  if has_luv then
    it("of luv answers when what it sent is acknowledged", function()
      local topic, answers, closed = helper.topic(2), {}, 0
      local producer = open_producer()
      assert(strand.loop.luv.start(producer, uv))
      local server = uv.new_tcp()
      assert(server:bind("127.0.0.1", 0))

      -- Whole lines of what a socket gives, each to 'take'.
      local function lines(socket, take)
        local rest = ""
        socket:read_start(function(_, chunk)
          if not chunk then
            closed = closed + 1
            return socket:close()
          end
          rest = (rest .. chunk):gsub("([^\n]*)\n", function(line)
            take(line)
            return ""
          end)
        end)
      end

      server:listen(64, function()
        local connection = uv.new_tcp()
        server:accept(connection)
        lines(connection, function(line)
          coroutine.wrap(function()
            connection:write(acknowledge(producer, topic, line) .. "\n")
          end)()
        end)
      end)

      local left = CLIENTS
      local function finish()
        left = left - 1
        if left > 0 then return end
        server:close()
        coroutine.wrap(function() producer:close() end)()
      end
      for client = 1, CLIENTS do
        local socket, n = uv.new_tcp(), 1
        local function ask() socket:write(("%d-%d\n"):format(client, n)) end
        socket:connect("127.0.0.1", server:getsockname().port, function()
          lines(socket, function(line)
            answers[#answers + 1], n = line, n + 1
            if n <= REQUESTS then return ask() end
            socket:shutdown()
            socket:close()
            finish()
          end)
          ask()
        end)
      end
      local tick, deadline = uv.new_timer(), fixture.now() + 60
      tick:start(0, 50, function() end)
      while not producer.ended or closed < CLIENTS do
        uv.run "once"
        assert(fixture.now() < deadline, "not answered in time")
      end
      tick:close()
      uv.run "nowait"
      table.sort(answers)
      assert.are.same(expected(), answers)
    end)
  end
end)
