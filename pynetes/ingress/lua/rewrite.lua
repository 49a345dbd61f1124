-- Other addresses for a request: redirects for the client, rewritten paths for the backend, changed headers.
local _M = {}

-- $1 … $9 of a template become what a regular expression captured.
local function filled(template, captures)
  return (template:gsub("%$(%d)", function(number)
    return captures and captures[tonumber(number)] or ""
  end))
end

local function replaced(change, captures, matched)
  if change.path then
    return captures and filled(change.path, captures) or (change.path:gsub("%$%d", ""))
  end
  if change.prefix then
    local rest = ngx.var.uri:sub(#matched + 1)
    local path = (change.prefix:gsub("/+$", "")) .. (rest:sub(1, 1) == "/" and rest or rest ~= "" and "/" .. rest or "")
    return path == "" and "/" or path
  end
end

-- What stands after the host: the raw request's path and query unless the change says otherwise.
local function target(change, captures, matched)
  local path = replaced(change, captures, matched)
  if not path then
    return ngx.var.request_uri
  end
  return ngx.escape_uri(path, 0) .. (ngx.var.is_args or "") .. (ngx.var.args or "")
end

local PORTS = {http = 80, https = 443}

-- Status and Location of a redirect.
function _M.location(change, captures, matched)
  if change.url then
    return change.code, change.url
  end
  local scheme = change.scheme or ngx.var.scheme
  local host, port = change.host or ngx.var.host, change.port
  if not port and not change.scheme then
    port = tonumber((ngx.var.http_host or ""):match(":(%d+)$"))
  end
  local shown = port and port ~= PORTS[scheme] and ":" .. port or ""
  return change.code, scheme .. "://" .. host .. shown .. target(change, captures, matched)
end

-- Puts another path before the backend; the query stays.
function _M.path(change, captures, matched)
  local path = replaced(change, captures, matched)
  if path then
    if path:sub(1, 1) ~= "/" then
      path = "/" .. path
    end
    ngx.req.set_uri(path, false, true)
  end
end

local function joined(before, value)
  if before == nil then
    return value
  end
  local all = type(before) == "table" and before or {before}
  all[#all + 1] = value
  return all
end

function _M.request_headers(change)
  for _, pair in ipairs(change.set or {}) do
    ngx.req.set_header(pair[1], pair[2])
  end
  for _, pair in ipairs(change.add or {}) do
    ngx.req.set_header(pair[1], joined(ngx.req.get_headers(200)[pair[1]], pair[2]))
  end
  for _, name in ipairs(change.remove or {}) do
    ngx.req.clear_header(name)
  end
end

function _M.response_headers(change)
  for _, pair in ipairs(change.set or {}) do
    ngx.header[pair[1]] = pair[2]
  end
  for _, pair in ipairs(change.add or {}) do
    ngx.header[pair[1]] = joined(ngx.header[pair[1]], pair[2])
  end
  for _, name in ipairs(change.remove or {}) do
    ngx.header[name] = nil
  end
end

return _M
