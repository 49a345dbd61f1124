-- The tables in shared memory, decoded once per worker and version.
--
-- A value lies under "d:KEY" as JSON, its version under "v:KEY"; "generation" grows with every change of any. A request
-- costs one read of the generation while nothing changes. Keys that are absent are not remembered here: they come from
-- Host headers, which anybody makes up.
local cjson = require("cjson.safe")

local shared = ngx.shared.pynetes_tables
local decoded = {}

local _M = {}

function _M.get(key)
  local generation = shared:get("generation") or 0
  local known = decoded[key]
  if known and known.generation == generation then
    return known.value
  end
  local version = shared:get("v:" .. key)
  if not version then
    decoded[key] = nil
    return nil
  end
  if known and known.version == version then
    known.generation = generation
    return known.value
  end
  local text = shared:get("d:" .. key)
  local value, problem = cjson.decode(text or "")
  if not value then
    ngx.log(ngx.ERR, "unreadable table ", key, ": ", problem)
    return nil
  end
  decoded[key] = {generation = generation, version = version, value = value}
  return value
end

return _M
