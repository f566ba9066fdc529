-- Its setup always fails.
return {
  setup = function() error("not ready", 0) end,
  handle = function() end,
}
