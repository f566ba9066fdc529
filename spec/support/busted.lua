-- Debian's /usr/bin/busted takes whatever "lua" happens to be; this file is
-- run by the interpreter that is meant: see scripts/busted.
require "busted.runner" { standalone = false }
