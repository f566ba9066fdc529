-- What README.md and the pages of docs/ say is true of this tree: their
-- programs run, their fragments compile, their commands, files, links and
-- events exist. From the project's folder:
--   lua5.4 spec/readme.lua            all pages, and what holds of them together
--   lua5.4 spec/readme.lua PAGE...    those alone
--
-- A comment above a block says that it is run, on a mock cluster which takes
-- the place of localhost:9092:
--   <!-- run: until it ends -->            it ends with status 0
--   <!-- run: 12 lines, then SIGTERM -->   the same, after 12 records were
--                                          sent to it and 12 lines were read
-- One of nginx's configuration is run by an nginx, on another port:
--   <!-- run: nginx, then GET /a and /b -->  each is answered by 200 at last, and
--                                          nginx has logged no error
-- A block whose first line names a file, "-- show.lua", is that file for the
-- programs of the page, and equal to the one in examples/ where there is one.
local core = require "strand.core"
local strand = require "strand"

local PLACE = "build/tmp/readme"
local RUN = "LUA_PATH='%s/?.lua;%s' exec timeout -k 5 60 %s %s/%s"
local BROKER = "localhost:9092"

local ANSWER = 120 -- seconds, until nginx answers with 200
local README, LONGEST, INDEX = "README.md", 250, "Documentation"
local passed, failed = 0, 0

local function check(title, ok, problem)
  if ok then
    passed = passed + 1
    return
  end
  failed = failed + 1
  print(("failed: %s%s"):format(title, problem and "\n  " .. tostring(problem) or ""))
end

local function read(name)
  local file = io.open(name, "rb")
  if not file then return nil end
  local text = file:read "a"
  file:close()
  return text
end

local function write(name, text)
  local file = assert(io.open(name, "wb"))
  file:write(text)
  file:close()
end

-- ---- pages --------------------------------------------------------------------

-- -> { { language, text, line, how = what its marker says }, ... }, the rest as text
local function read_page(text)
  local blocks, prose, block, how, number = {}, {}, nil, nil, 0
  for line in text:gmatch "([^\n]*)\n" do
    number = number + 1
    local fence = line:match "^```(%w*)$"
    if fence and block then
      block.text = table.concat(block, "\n") .. "\n"
      blocks[#blocks + 1], block = block, nil
    elseif fence then
      block, how = { language = fence, line = number, how = how }, nil
    elseif block then
      block[#block + 1] = line
    else
      how = line:match "^<!%-%- run: (.*) %-%->$" or (line ~= "" and nil) or how
      prose[#prose + 1] = line
    end
  end
  return blocks, table.concat(prose, "\n")
end

local function list_docs()
  local names, pipe = {}, assert(io.popen "LC_ALL=C ls docs/*.md")
  for name in pipe:lines() do names[#names + 1] = name end
  pipe:close()
  return names
end

-- As the forge makes them from headings.
local function read_anchors(prose)
  local anchors, seen = {}, {}
  for heading in ("\n" .. prose):gmatch "\n#+ ([^\n]+)" do
    local slug = heading:lower():gsub("[^%w%s_-]", ""):gsub(" ", "-")
    anchors[seen[slug] and ("%s-%d"):format(slug, seen[slug]) or slug] = true
    seen[slug] = (seen[slug] or 0) + 1
  end
  return anchors
end

local pages = {}

-- -> { path, text, blocks, prose, anchors }, read once
local function page_of(path)
  if pages[path] == nil then
    local text = read(path)
    local page = text and { path = path, text = text }
    if page then
      page.blocks, page.prose = read_page(text)
      page.anchors = read_anchors(page.prose)
      for _, block in ipairs(page.blocks) do
        block.title = ("%s:%d"):format(path, block.line)
      end
    end
    pages[path] = page or false
  end
  return pages[path]
end

local function file_name(block)
  return block.language == "lua" and block.text:match "^%-%- ([%w_]+%.lua)\n"
end

-- ---- programs -----------------------------------------------------------------

local mock

-- A cluster that no other program has used.
local function servers()
  if mock then mock:close() end
  mock = assert(strand.mock { topics = { orders = 3 } })
  return mock.bootstrap_servers
end

local function send_records(address, count)
  local producer = assert(strand.producer { kafka = { ["bootstrap.servers"] = address } })
  for n = 1, count do
    assert(producer:send { topic = "orders", key = "order-" .. n % 3, value = "event " .. n })
  end
  assert(producer:flush(10))
  producer:close()
end

-- Reads 'count' lines, ends the process, reads the rest.
local function end_after(pipe, pid, count, output)
  for _ = 1, count do
    local line = pipe:read "l"
    if not line then return false, "it ended before" end
    output[#output + 1] = line
  end
  os.execute("kill -TERM " .. pid)
  return true
end

-- -> true, or nil and what happened
local function run(name, count)
  local pipe = assert(io.popen("echo $$; " .. RUN:format(PLACE, os.getenv "LUA_PATH", arg[-1],
    PLACE, name) .. " 2>&1"))
  local pid, output = pipe:read "l", {}
  local ok, problem = true, nil
  if count then ok, problem = end_after(pipe, pid, count, output) end
  output[#output + 1] = pipe:read "a"
  local ended, _, status = pipe:close()
  if ok and ended then return true end
  return nil, ("%s, status %d\n%s"):format(problem or "it failed", status,
    table.concat(output, "\n"))
end

-- nginx's Lua is LuaJIT, whatever runs this.
local function nginx_environment()
  local here = os.getenv "PWD"
  return ("LUA_PATH='%s/lua/?.lua;%s/lua/?/init.lua;;' LUA_CPATH='%s/build/luajit2/?.so;;'"):format(
    here, here, here)
end

-- A group is joined late on the mock cluster.
local function await_answer(http, port, path)
  local status, body
  local over = core.now() + ANSWER
  repeat
    status, body = http.get(port, path)
    if status == 200 then return true end
    core.wait({}, 0.1)
  until core.now() > over
  return false, ("%s: %s"):format(tostring(status), body)
end

local function run_nginx(block, text)
  package.path = "examples/openresty/?.lua;" .. package.path
  local http, server = require "http", require "server"
  local started, site = pcall(server.start, text, nginx_environment())
  check(block.title .. ": starts", started, site)
  if not started then return end
  for path in block.how:gmatch "/%w+" do
    check(("%s: GET %s"):format(block.title, path), await_answer(http, site.port, path))
  end
  check(block.title .. ": nginx has logged no error", not site:errors():find "%[%a+%] %d+#", site:errors())
  site:quit()
end

local function run_block(block)
  local address = servers()
  if block.language == "nginx" then
    return run_nginx(block, (block.text:gsub(BROKER:gsub("%p", "%%%0"), address)))
  end
  local count = tonumber(block.how:match "^(%d+) lines, then SIGTERM$")
  check(block.title .. ": marker", count or block.how == "until it ends", block.how)
  if count then send_records(address, count) end
  local name = file_name(block) or "program.lua"
  local text = block.text:gsub(BROKER:gsub("%p", "%%%0"), address)
  write(PLACE .. "/" .. name, text)
  check(block.title .. ": runs", run(name, count))
end

local function check_example(block, name)
  local pipe = assert(io.popen("ls examples/*/" .. name .. " 2>/dev/null"))
  local example = pipe:read "l"
  pipe:close()
  if example then
    check(block.title .. ": is " .. example, read(example) == block.text)
  end
end

local function check_programs(page)
  assert(os.execute("rm -rf " .. PLACE .. " && mkdir -p " .. PLACE))
  for _, block in ipairs(page.blocks) do
    if block.language == "lua" then
      check(block.title .. ": compiles", load(block.text, "=" .. block.title))
      local name = file_name(block)
      if name then
        write(PLACE .. "/" .. name, block.text)
        check_example(block, name)
      end
    end
  end
  for _, block in ipairs(page.blocks) do
    if block.how then run_block(block) end
  end
  os.execute("rm -rf " .. PLACE)
end

-- ---- commands, files, events ---------------------------------------------------

local pipe = assert(io.popen "cat Makefile mk/*.mk")
local makefile = pipe:read "a"
pipe:close()

local function check_make(words, where)
  for word in words:gmatch "%S+" do
    if not word:find "=" then
      check(("%s: make %s"):format(where, word), ("\n" .. makefile):find("\n" .. word .. ":", 1, true),
        "no such target")
    end
  end
end

local function exists(name)
  local file = io.open(name)
  if file then file:close() end
  return file ~= nil
end

local FOLDERS = { "src/", "lua/", "spec/", "scripts/", "examples/", "rockspec/", "bench/",
  "mk/" }

local function check_file(word, where)
  for _, folder in ipairs(FOLDERS) do
    if word:sub(1, #folder) == folder then
      check(("%s: %s"):format(where, word), exists(word), "no such file")
    end
  end
end

local function check_command(line, where)
  line = line:gsub("%s+#.*", ""):gsub('=".-"', "=")
  for command in (line .. "&&"):gmatch "%s*(.-)%s*&&" do
    local words = command:match "^make%f[%s\0](.*)" or command:match "^sudo make%f[%s\0](.*)"
    if words then check_make(words, where) end
    for word in command:gmatch "[^%s=]+" do check_file(word, where) end
  end
end

local function check_commands(page)
  for _, block in ipairs(page.blocks) do
    if block.language == "sh" then
      for line in block.text:gmatch "[^\n]+" do check_command(line, block.title) end
    end
  end
  for code in page.prose:gmatch "`([^`\n]+)`" do check_command(code, page.path) end
end

-- ---- links -----------------------------------------------------------------------

-- "docs/a.md" + "../b.md" -> "b.md"
local function resolve(from, target)
  local parts = {}
  for part in (from:gsub("[^/]*$", "") .. target):gmatch "[^/]+" do
    if part == ".." then parts[#parts] = nil elseif part ~= "." then parts[#parts + 1] = part end
  end
  return table.concat(parts, "/")
end

-- -> the file that a link of the page leads to and the anchor in it, or nil
-- when it leads out of the project
local function lead(page, link)
  if link:find "^%a+:" then return nil end
  local target, anchor = link:match "^([^#]*)#?(.*)$"
  return target == "" and page.path or resolve(page.path, target), anchor
end

local function links_of(text)
  return text:gsub("`[^`]*`", ""):gmatch "%]%(([^)%s]+)%)"
end

local function check_links(page)
  for link in links_of(page.prose) do
    local target, anchor = lead(page, link)
    if target then
      local where = ("%s: link to %s"):format(page.path, link)
      check(where, exists(target), "no such file")
      if anchor ~= "" then
        local other = page_of(target)
        check(where, other and other.anchors[anchor], "no such heading")
      end
    end
  end
end

-- ---- all pages together ------------------------------------------------------------

local function chapter(path, heading)
  return (page_of(path).prose .. "\n## "):match("\n## " .. heading .. "\n(.-)\n## ")
end

local function check_index(docs)
  local page, linked = page_of(README), {}
  for link in links_of(chapter(README, INDEX)) do linked[lead(page, link) or link] = true end
  for _, path in ipairs(docs) do
    check(("%s is in the index of %s"):format(path, README), linked[path])
  end
end

local function check_length()
  local _, count = page_of(README).text:gsub("\n", "")
  check(("%s has %d lines at most"):format(README, LONGEST), count <= LONGEST, count)
end

-- The events of the table are those of the annotations.
local function check_events()
  local events = {}
  for name in read "lua/strand/types.lua":match "%-%-%-@alias strand%.EventType\n(.-)\n\n"
    :gmatch '| "([%w_]+)"' do events[name] = true end
  for row in chapter("docs/operations.md", "Events"):gmatch "\n| (`[^|]+) |" do
    for name in row:gmatch "`([%w_]+)`" do
      check("event " .. name, events[name], "not in lua/strand/types.lua")
      events[name] = nil
    end
  end
  check("all events are told of", next(events) == nil, next(events))
end

local wanted = { table.unpack(arg) }
if #wanted == 0 then
  local docs = list_docs()
  wanted = { README, table.unpack(docs) }
  check_index(docs)
  check_length()
  check_events()
end
for _, path in ipairs(wanted) do
  local page = assert(page_of(path), path)
  check_programs(page)
  check_commands(page)
  check_links(page)
end
if mock then mock:close() end

print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and passed > 0, true)
