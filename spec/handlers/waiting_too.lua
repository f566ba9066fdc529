-- spec/handlers/waiting.lua for a second route: a module of its own.
return dofile "spec/handlers/waiting.lua"
