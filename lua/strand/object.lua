-- object.lua: what every object of strand that users hold has in common
--
-- An object is a table with a class; 'object.core' is the userdata that owns
-- the C side and frees it when it is collected (a table has no __gc in Lua
-- 5.1). What a method does depends on core:state():
--
--   closed   raises "attempt to use a closed consumer"
--   forked   another process: nil, message, "FORKED", nothing is touched
--
-- One that an event loop serves (loop/service.lua) does not wait where it cannot yield:
-- nil, message, "CANNOT_WAIT".
--
--   else     the method runs
--
-- Methods that also work when closed ask by themselves.

local nginx = require "strand.nginx"
local schema = require "strand.schema"
local waits = require "strand.waits"

local object = {}

local function forked(class)
  return nil, ("the %s belongs to the process that opened it"):format(class.noun), "FORKED"
end

local function check_self(class, self, name)
  if getmetatable(self) ~= class.metatable then
    schema.raise(("%s:%s() is a method: call it with a colon"):format(class.noun, name))
  end
end

-- -> why 'self' cannot wait here | nothing
local function refusal_of(self)
  if self.loop then return self.loop:refusal() end
  return self.in_nginx and nginx.UNSERVED
end

-- Those that wait: 'method', where it can.
local function parking(class, name, method)
  if (waits[class.noun] or {})[name] ~= true then return method end
  return function(self, ...)
    local refusal = refusal_of(self.producer or self)
    if refusal then return nil, ("%s(): %s"):format(name, refusal), "CANNOT_WAIT" end
    return method(self, ...)
  end
end

local function guarded(class, name, method)
  method = parking(class, name, method)
  return function(self, ...)
    check_self(class, self, name)
    local state = self.core:state()
    if state == "forked" then return forked(class) end
    if state == "closed" then
      schema.raise(("attempt to use a closed %s"):format(class.noun))
    end
    return method(self, ...)
  end
end

local function guarded_but_closed(class, name, method)
  method = parking(class, name, method)
  return function(self, ...)
    check_self(class, self, name)
    if self.core:state() == "forked" then return forked(class) end
    return method(self, ...)
  end
end

-- 'methods' need an open object; 'lasting' ones also take a closed one.
function object.class(noun, name, methods, lasting)
  local class = { noun = noun }
  local index = {}
  for key, method in pairs(methods) do index[key] = guarded(class, key, method) end
  for key, method in pairs(lasting) do index[key] = guarded_but_closed(class, key, method) end
  class.metatable = {
    __index = index,
    __name = name,
    __close = function(self) index.close(self) end,
    __tostring = function(self) return ("%s (%s)"):format(name, self.core:state()) end,
  }
  return class
end

-- What a core constructor gave, as an object; code "OPTION" is misuse that
-- only C could see, such as an unknown property of librdkafka.
function object.open(class, fields, core, message, code)
  if core == nil then
    if code == "OPTION" then schema.raise(message) end
    return nil, message, code
  end
  fields.core = core
  local self = setmetatable(fields, class.metatable)
  nginx.note_open(self)
  return self
end

return object
