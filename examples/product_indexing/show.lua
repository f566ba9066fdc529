-- show.lua: the table, the bars and the figures, beside the story's

local show = {}

local WIDTH = 48 -- of the longest bar, characters
local EIGHTHS = { "▏", "▎", "▍", "▌", "▋", "▊", "▉" }

local function say(...)
  io.stdout:write(string.format(...), "\n")
end

local function bar(share)
  local eighths = math.max(1, math.floor(share * WIDTH * 8 + 0.5))
  return ("█"):rep(math.floor(eighths / 8)) .. (EIGHTHS[eighths % 8] or "")
end

local function show_table(results, hours)
  local first = results[1].seconds
  say ""
  say "at once   the most handlers that ran at the same time"
  say "at least  what the handlers' waits alone must take, so many at once: the rest is ours"
  say "as fast   how many times as fast as the first"
  say "early     handled before the one before it had ended, of its partition or product:"
  say "          0 where that order is promised; in brackets, of its product, where not"
  say ""
  say("%-42s %7s %8s %8s %9s %8s %7s %9s", "", "at once", "seconds", "at least", "as fast",
    "early", "story", "as fast")
  for i, it in ipairs(results) do
    local of = it.strategy
    say("%d  %-39s %7d %8.1f %8.1f %9.2f %8s %7s %9s", i, of.title, it.most, it.seconds, it.least,
      first / it.seconds,
      (of.ordering == "unordered" and "(%d)" or "%d"):format(it.early),
      of.hours and ("%d h"):format(of.hours) or "-",
      of.hours and ("%.2f"):format(hours / of.hours) or "-")
  end
end

local function show_bars(results, hours)
  local first = results[1].seconds
  say ""
  for i, it in ipairs(results) do
    local of = it.strategy
    say("%d  %s", i, of.title)
    say("   here   %s %.1f s, %.1f %%", bar(it.seconds / first), it.seconds,
      100 * it.seconds / first)
    if of.hours then
      say("   story  %s %d h, %.0f %%", bar(of.hours / hours), of.hours, 100 * of.hours / hours)
    end
  end
end

-- What the story's hours make of a record, if all handlers were busy.
local function record_seconds(story, hours, at_once)
  return hours * 3600 * at_once / story.events
end

local function show_differences(results, given, story, factor)
  local seconds = {}
  for i, it in ipairs(results) do
    local hours = it.strategy.hours
    if hours then
      seconds[i] = ("%.1f"):format(record_seconds(story, hours, it.at_once))
    end
  end
  say ""
  say "What differs from the story:"
  say("- A handler waits %g ms, each time. In the story %d events took %d h, %d at once:",
    1000 * given.work, story.events, story.hours, story.at_once)
  say("  %.1f s each, so time is scaled by %g here%s.", factor * given.work, factor,
    given.events == story.events and "" or (", and there are %d events"):format(given.events))
  say("- The story's own hours come to %s s for an event, way by way: its index",
    table.concat(seconds, ", "))
  say "  was not equally quick each time, or not all were busy. So its ratios are not those of"
  say "  how many run at once, and ours are."
  say "- By partition the fullest one decides when all is done; our products are spread by chance."
  say "- Here joining the group does not count, one machine runs everything, Kafka too, and the"
  say "  first way is a C program on librdkafka alone. The last two are not in the story."
  say ""
end

local function figure(name, format, value)
  say("figure indexing_%s " .. format, name, value)
end

local function show_figures(results, given, hours, factor)
  local first, missing, repeated, early = results[1].seconds, 0, 0, 0
  figure("events", "%d", given.events)
  figure("handler_ms", "%g", 1000 * given.work)
  figure("time_scale", "%g", factor)
  for _, it in ipairs(results) do
    local of = it.strategy
    figure(of.name .. "_seconds", "%.3f", it.seconds)
    figure(of.name .. "_least_seconds", "%.3f", it.least)
    figure(of.name .. "_at_once", "%d", it.most)
    figure(of.name .. "_ratio", "%.2f", first / it.seconds)
    if of.hours then figure(of.name .. "_story_ratio", "%.2f", hours / of.hours) end
    missing, repeated = missing + it.missing, repeated + it.repeated
    if of.ordering ~= "unordered" then early = early + it.early end
  end
  figure("missing", "%d", missing)
  figure("repeated", "%d", repeated)
  figure("out_of_order", "%d", early)
end

-- results: those of audit.read, and strategy, seconds, least, at_once; given:
-- events, work (seconds), figures (for programs); story: its events, and its first way's hours, at_once
function show.all(results, given, story)
  local factor = record_seconds(story, story.hours, story.at_once) / given.work
  show_table(results, story.hours)
  show_bars(results, story.hours)
  show_differences(results, given, story, factor)
  if given.figures then show_figures(results, given, story.hours, factor) end
end

return show
