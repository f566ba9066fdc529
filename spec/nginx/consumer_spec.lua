-- A consumer in nginx: its handlers are light threads, and nothing that one of them does harms
-- another, or HTTP.
local fixture = require "spec.support.fixture"
local helper = require "spec.support.helper"
local nginx = require "spec.support.nginx"
local nginx_consumer = require "spec.support.nginx_consumer"
local strand = require "strand"

local keys = nginx_consumer.keys

local IDLE = os.getenv "STRAND_LONG" and 65 or 2 -- seconds

local function absolute(path) return helper.output "pwd":match "[^\n]+" .. "/" .. path end

describe("a consumer in nginx", function()
  local server, topic

  teardown(fixture.close)
  setup(fixture.open)
  after_each(nginx.close)

  local function produce(records) nginx_consumer.produce_to(topic, records) end

  local consumer

  local function start(handler, given)
    given = given or {}
    given.topic = topic
    consumer = nginx_consumer.start(handler, given)
    topic, server = consumer.topic, consumer.server
  end

  before_each(function() topic = nil end)

  local function is(name, value) consumer:is(name, value) end

  it("runs max_in_flight handlers at once, in contexts of 64, while HTTP is answered", function()
    topic = helper.topic(2)
    produce(keys(300))
    start([[
      seen:incr("begun", 1, 0)
      repeat ngx.sleep(0.05) until seen:get "open"
      seen:incr("done", 1, 0)
    ]], { options = "max_in_flight = 200," })
    is("begun", "200")
    assert.equal("nil", server:ask "/done")
    assert.equal("7", server:ask "/timers") -- four for handlers, and three more
    server:ask "/set?name=open&value=yes"
    is("done", "300")
    assert.equal("true nil nil", server:ask "/started0")
    server:quit()
    assert.equal("", server:errors())
  end)

  it("lets handlers use cosockets, and what strand has to wait by", function()
    topic = helper.topic(1)
    produce(keys(20))
    start([[
      local socket = ngx.socket.tcp()
      assert(socket:connect("127.0.0.1", PORT))
      assert(socket:send "GET /started0 HTTP/1.0\r\n\r\n")
      local answer = assert(socket:receive "*a")
      socket:close()
      context:sleep(0.01)
      assert(answer:find("true nil nil", 1, true), answer)
      seen:incr("done", 1, 0)
    ]])
    is("done", "20")
    assert.equal("nil", server:ask "/record_failed")
    assert.equal("", server:errors())
  end)

  it("contains what a handler does that it should not", function()
    start([[
      local acts = {
        exit = function() ngx.exit(200) end,
        exit_without_ctx = function()
          ngx.ctx = {}
          ngx.exit(200)
        end,
        exit_in_thread = function()
          local thread = ngx.thread.spawn(function() ngx.exit(200) end)
          assert(ngx.thread.wait(thread))
        end,
        say = function() ngx.say "hello" end,
        capture = function() ngx.location.capture "/started0" end,
        raise = function() error "an error" end,
        sort = function()
          table.sort({ 3, 1, 2 }, function(a, b) ngx.sleep(0.001) return a < b end)
        end,
        yield = function() coroutine.yield() end,
        wrap = function() coroutine.wrap(function() ngx.sleep(0.001) error "in a coroutine" end)() end,
        wrap_caught = function()
          local ok, problem = pcall(coroutine.wrap(function() error "in a coroutine" end))
          assert(not ok and problem:find "in a coroutine")
          local goes_on = coroutine.wrap(function(a) ngx.sleep(0.001) return coroutine.yield(a) end)
          assert(goes_on(1) == 1 and goes_on(2) == 2)
        end,
        spawn = function()
          local thread = ngx.thread.spawn(function() ngx.sleep(0.01) return "value" end)
          local _, value = assert(ngx.thread.wait(thread))
          assert(value == "value")
        end,
      }
      local act = acts[record.key]
      if act then act() end
      seen:incr("done", 1, 0)
    ]], { options = "retry = { attempts = 1 }, exhausted = 'skip'," })
    local records = { { key = "exit" }, { key = "exit_without_ctx" },
      { key = "exit_in_thread" }, { key = "say" }, { key = "capture" },
      { key = "raise" }, { key = "sort" }, { key = "yield" }, { key = "spawn" }, { key = "wrap" },
      { key = "wrap_caught" } }
    for _, record in ipairs(keys(50)) do records[#records + 1] = record end
    produce(records)
    is("done", "53")
    is("record_failed", "8")
    for key, reason in pairs { exit = "ngx.exit%(%) in a handler", exit_in_thread = "ngx.exit%(%) in a handler",
      say = "API disabled", capture = "API disabled", raise = "an error",
      exit_without_ctx = "ngx.exit%(%) in a handler", sort = "yield",
      wrap = "in a coroutine" } do
      assert.matches(reason, server:ask("/record_failed%20" .. key))
    end
    server:quit()
    assert.equal(0, server:status())
  end)

  it("kills a handler that is past its deadline, and its key is free", function()
    start([[
      if record.value == "sleeps" then ngx.sleep(3600) end
      seen:incr("done", 1, 0)
    ]], { options = "deadline = 1, retry = { attempts = 1 }, exhausted = 'skip'," })
    produce { { key = "a", value = "sleeps" }, { key = "a", value = "next" } }
    is("done", "1")
    assert.matches("deadline", server:ask "/record_failed%20a")
    server:quit(20)
  end)

  it("kills for a deadline nobody who came after it in the same light thread", function()
    start([[
      seen:incr("begun " .. record.key, 1, 0)
      if record.key == "late" then
        ngx.timer.at(0.01, function()
          ngx.update_time()
          local ends = ngx.now() + 2.2
          repeat ngx.update_time() until ngx.now() >= ends
        end)
        ngx.sleep(1.9) -- is over when nginx's loop goes on, and so is the wait of who looks for late ones
      else
        ngx.sleep(0.3)
      end
      seen:incr("done " .. record.key, 1, 0)
    ]], { options = "deadline = 1, max_in_flight = 1, retry = { attempts = 2 }, exhausted = 'skip'," })
    produce { { key = "late" }, { key = "next" }, { key = "last" } }
    is("done%20last", "1")
    assert.equal("1", server:ask "/begun%20next")
    assert.equal("nil", server:ask "/record_failed%20next")
  end)

  it("is started by one worker alone, if that is asked for", function()
    local group = helper.name "group"
    start("seen:incr(\"done\", 1, 0)", { nginx = 2, started = "{ only_worker = 1 }", group = group })
    produce(keys(10))
    is("done", "10")
    local admin = assert(strand.admin { kafka = { ["bootstrap.servers"] = helper.bootstrap() } })
    assert.equal(1, #assert(admin:groups { group })[1].members)
    admin:close()
    assert.equal("true nil nil", server:ask "/started1")
    assert.matches("^nil this is worker 0 of nginx, and only worker 1 .* OTHER_WORKER$",
      server:ask "/started0")
    server:quit()
    assert.equal("", server:errors())
  end)

  it("is told which directive is too small for it, and how large it should be", function()
    start("", { options = "max_in_flight = 640,", directives = "lua_max_running_timers 8;" })
    assert.matches("^nil lua_max_running_timers is 8: 640 handlers in flight need 16 timers, and 0 run "
      .. "beside them; raise it to 16 or more LIMIT", server:ask "/started0")
    nginx.close()
    start("", { options = "max_in_flight = 100000,", directives = "lua_max_running_timers 5000;" })
    assert.matches("^nil worker_connections is 1024: 100000 handlers in flight need 1763 timers, each of "
      .. "which takes one; raise it to 1779, .* LIMIT", server:ask "/started0")
  end)

  it("tells of a timer that nginx does not start, and goes on when it does", function()
    start("seen:incr(\"done\", 1, 0)", { directives = "lua_max_running_timers 12;",
      options = "max_in_flight = 64,", server = [[
        location /fill {
          content_by_lua_block {
            for n = 1, 20 do
              ngx.timer.at(0, function() repeat ngx.sleep(0.05) until ngx.shared.seen:get "open" end)
            end
          }
        }
      ]] })
    is("assigned", "1")
    server:ask "/fill"
    is("timers", "12")
    produce(keys(10))
    server:await("the event", function()
      return server:ask "/error%20nil":match "has not started within 1 s: lua_max_running_timers"
    end)
    assert.equal("nil", server:ask "/done")
    server:ask "/set?name=open&value=yes"
    is("done", "10")
  end)

  it("leaves no socket behind, and names a folder that it cannot have", function()
    local folder = nginx.socket_folder "700"
    start("", { started = ("{ socket_dir = '%s' }"):format(folder) })
    is("assigned", "1")
    assert.equal("", helper.output("ls " .. folder))
    nginx.close()
    start("", { started = "{ socket_dir = '/nonexistent' }" })
    assert.matches("^nil a folder for a Unix socket cannot be made below /nonexistent: "
      .. "No such file or directory SOCKET", server:ask "/started0")
  end)

  it("gives a context up that is old and idle, and has another for what comes then", function()
    start([[
      ngx.sleep(0.001)
      seen:incr("done", 1, 0)
    ]], { options = "max_in_flight = 64,", before = [[require("strand.loop.resty.contexts").AGE = 0.1]] })
    is("assigned", "1")
    for n = 1, 3 do
      produce(keys(64))
      is("done", tostring(64 * n))
      is("timers", "3") -- none for handlers
    end
    server:quit()
    assert.equal("", server:errors())
  end)

  it("has worker threads as elsewhere, and can be started in a timer", function()
    local folder = helper.folder()
    helper.write(folder .. "/counts.lua", [[
      return function(record, context)
        local file = assert(io.open(context.args, "a"))
        file:write(record.key, "\n")
        file:close()
      end
    ]])
    local journal = folder .. "/journal"
    topic = helper.topic(1)
    produce(keys(20))
    server = nginx.start { words = { TOPIC = topic, GROUP = helper.name "group",
      COUNTS = absolute(folder), JOURNAL = absolute(journal) }, http = [[
      lua_shared_dict seen 1m;
      init_worker_by_lua_block {
        package.path = "COUNTS/?.lua;" .. package.path
        ngx.timer.at(0, function()
          local strand = require "strand"
          local consumer = assert(strand.consumer {
            kafka = { ["bootstrap.servers"] = "BROKER", ["group.id"] = "GROUP" },
            topics = { "TOPIC" }, workers = 2, handler = "counts", handler_args = "JOURNAL",
          })
          assert(strand.loop.resty.start(consumer))
          ngx.shared.seen:set("timers", ngx.timer.running_count())
        end)
      }
    ]] }
    server:await("20 records", function()
      return select(2, (helper.read(journal) or ""):gsub("\n", "")) == 20
    end)
    server:quit()
    assert.equal("", server:errors())
  end)

  it("says nothing while it is idle, however short nginx's own timeouts are", function()
    start("", { directives = "lua_socket_read_timeout 100ms; lua_socket_connect_timeout 100ms;" })
    is("assigned", "1")
    local before = server:descriptors()
    helper.eventually(2 * IDLE, fixture.pause(IDLE))
    assert.is_nil(server:errors():match "%d+/%d+/%d+ [^\n]*") -- nginx's own lines
    assert.equal(before, server:descriptors())
  end)
end)
