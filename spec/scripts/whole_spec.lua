-- scripts/whole: what runs side by side is read one after another.
local helper = require "spec.support.helper"

describe("whole", function()
  it("prints what each command printed below its title, and fails as they do", function()
    local program = helper.folder() .. "/program"
    -- Each goes on when the other has begun: so they print by turns.
    helper.write(program, [[
      echo "$1 begins"
      echo "$1 warns" >&2
      : > "$0.$1"
      until [ -e "$0.a" ] && [ -e "$0.b" ]; do sleep 0.01; done
      echo "$1 ends"
      [ "$1" = a ] || exit 255
    ]])
    local printed = helper.output(("printf 'a\nb\n' | xargs -P 2 -I%% scripts/whole 'title %%' "
      .. "sh %s %%; echo $?"):format(program))
    local parts = {}
    for _, name in ipairs { "a", "b" } do
      parts[name] = ("title %s\n%s begins\n%s warns\n%s ends\n"):format(name, name, name, name)
    end
    assert.is_true(printed == parts.a .. parts.b .. "123\n"
      or printed == parts.b .. parts.a .. "123\n", printed)
  end)
end)
