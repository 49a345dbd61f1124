-- The controller's side of the tables: a Unix socket that only it can reach.
local cjson = require("cjson.safe")

local shared = ngx.shared.pynetes_tables

local _M = {}

local function answer(status, value)
  ngx.status = status
  ngx.header["Content-Type"] = "application/json"
  ngx.print(cjson.encode(value))
  return ngx.exit(ngx.HTTP_OK)
end

local function body()
  ngx.req.read_body()
  local text, file = ngx.req.get_body_data(), ngx.req.get_body_file()
  if not text and file then
    local handle = io.open(file, "rb")
    text = handle:read("*a")
    handle:close()
  end
  return cjson.decode(text or "")
end

local function put(generation, key, text)
  -- safe_set refuses rather than to throw out another entry when memory is short.
  local done, problem = shared:safe_set("d:" .. key, text)
  if not done then
    return nil, problem
  end
  return shared:safe_set("v:" .. key, generation)
end

-- {"set": {KEY: JSON text}, "delete": [KEY], "reset": bool}; the generation moves last, when all of it is readable.
function _M.change()
  local change, problem = body()
  if not change then
    return answer(400, {error = problem})
  end
  if change.reset then
    local generation = shared:get("generation") or 0
    shared:flush_all()
    shared:flush_expired()
    shared:set("generation", generation)
  end
  local generation = (shared:get("generation") or 0) + 1
  for key, text in pairs(change.set or {}) do
    local done, wrong = put(generation, key, text)
    if not done then
      return answer(507, {error = wrong, key = key})
    end
  end
  for _, key in ipairs(change.delete or {}) do
    shared:delete("v:" .. key)
    shared:delete("d:" .. key)
  end
  shared:set("generation", generation)
  return answer(200, {generation = generation})
end

function _M.state()
  return answer(200, {mark = _M.mark, generation = shared:get("generation") or 0, free = shared:free_space()})
end

return _M
