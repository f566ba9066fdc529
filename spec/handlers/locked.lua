-- Requires in its setup what is slow to load.
return {
  setup = function(args)
    FOLDER = args.folder -- luacheck: ignore FOLDER
    require "spec.handlers.slow_load"
  end,
  handle = function() end,
}
