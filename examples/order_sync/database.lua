-- database.lua: a PostgreSQL or a SQLite, by the same statements
--
-- An address says which, and where:
--
--   postgres:host=127.0.0.1 dbname=erp user=sync     what libpq reads
--   sqlite:orders.db                                 a file
--
-- A connection belongs to the Lua state that made it. When something fails,
-- what counts is whose fault it is: of the statement, which will fail again,
-- or of the connection, about which the statement can do nothing. Messages
-- do not tell: a server that is shut down, killed, or unreachable has dozens
-- of them. So the connection is asked: when it still takes a ROLLBACK, it was
-- the statement.

local database = {}

local connection = {}
connection.__index = connection

-- For a host that is gone without a word, libpq would wait for many minutes.
local PATIENCE = "connect_timeout=5 keepalives_idle=5 keepalives_interval=2 "
  .. "keepalives_count=3 tcp_user_timeout=10000 "

local kinds = {}

function kinds.postgres(place)
  local environment = require "luasql.postgres".postgres()
  local raw, problem = environment:connect(PATIENCE .. place)
  return raw, problem, environment, "BEGIN"
end

-- SQLite has one writer at a time: who comes second waits at BEGIN IMMEDIATE,
-- and so never in the middle of his transaction.
function kinds.sqlite(place)
  local environment = require "luasql.sqlite3".sqlite3()
  local raw, problem = environment:connect(place)
  return raw, problem, environment, "BEGIN IMMEDIATE"
end

local SQLITE = { "PRAGMA busy_timeout = 1000", "PRAGMA journal_mode = WAL",
  "PRAGMA synchronous = NORMAL", "PRAGMA foreign_keys = ON" }

--- -> a connection, or nil and what is wrong
function database.connect(address)
  local kind, place = address:match "^(%l+):(.*)$"
  assert(kinds[kind], "an address begins with postgres: or sqlite:")
  local raw, problem, environment, begin = kinds[kind](place)
  if not raw then
    environment:close()
    return nil, problem
  end
  local self = setmetatable({ raw = raw, environment = environment, begin = begin }, connection)
  for _, setting in ipairs(kind == "sqlite" and SQLITE or {}) do
    local set, refused = pcall(self.run, self, setting)
    if not set then
      self:close()
      return nil, refused
    end
  end
  return self
end

local function quote(raw, value)
  if type(value) == "number" then return ("%.0f"):format(value) end
  assert(type(value) == "string", "no value for a place in a statement")
  return "'" .. raw:escape(value) .. "'"
end

--- Runs a statement, with a value for each $name in it. Raises what the
--- database says. -> number of rows that it changed, or the rows that it found
function connection:run(statement, values)
  local text = statement:gsub("%$([%a_]+)", function(name)
    return quote(self.raw, values[name])
  end)
  local result, problem = self.raw:execute(text)
  if not result then error(problem, 0) end
  if type(result) == "number" then return result end
  local rows = {}
  for row in function() return result:fetch({}, "a") end do rows[#rows + 1] = row end
  result:close()
  return rows
end

--- Calls work(connection, ...) within a transaction. -> true, or nil, what is
--- wrong, and whether the connection is: it is of no use then, close it. What
--- became of a COMMIT whose answer is missing, nobody knows; the work must
--- bear being done again.
function connection:transaction(work, ...)
  local begun, problem = self.raw:execute(self.begin)
  if not begun then return nil, problem, true end
  local done
  done, problem = pcall(work, self, ...)
  if done then
    done, problem = self.raw:execute "COMMIT"
    if done then return true end
  end
  return nil, problem, not self.raw:execute "ROLLBACK"
end

function connection:close()
  self.raw:close()
  self.environment:close()
end

return database
