-- Counts requests in shared memory; the controller reads them over its socket and writes them out for Prometheus.
local cjson = require("cjson.safe")

local counts = ngx.shared.pynetes_counts
local METHODS = {GET = 1, HEAD = 1, POST = 1, PUT = 1, PATCH = 1, DELETE = 1, OPTIONS = 1}
local BOUNDS = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

local _M = {}

local function bucket(seconds)
  for number, bound in ipairs(BOUNDS) do
    if seconds <= bound then
      return number
    end
  end
  return #BOUNDS + 1
end

function _M.count(state)
  local method = ngx.req.get_method()
  local rule = state.rule or {}
  local labels = table.concat({
    rule.kind or "", rule.namespace or "", rule.name or "", state.backend and state.backend.service or "",
    METHODS[method] and method or "other", tostring(ngx.status)
  }, "|")
  local seconds = tonumber(ngx.var.request_time) or 0
  counts:incr("n|" .. labels, 1, 0)
  counts:incr("s|" .. labels, seconds, 0)
  counts:incr("b" .. bucket(seconds) .. "|" .. labels, 1, 0)
end

function _M.show()
  local found = {}
  for _, key in ipairs(counts:get_keys(0)) do
    found[key] = counts:get(key)
  end
  ngx.header["Content-Type"] = "application/json"
  ngx.print(cjson.encode({
    counts = found,
    connections = {
      active = tonumber(ngx.var.connections_active), reading = tonumber(ngx.var.connections_reading),
      writing = tonumber(ngx.var.connections_writing), waiting = tonumber(ngx.var.connections_waiting)
    }
  }))
end

return _M
