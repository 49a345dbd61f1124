-- A request's way through the phases: route, check, choose, connect, answer, count.
--
-- What is known of it is kept by its $request_id: an internal redirect to the location that speaks the backend's
-- protocol takes ngx.ctx away.
local access = require("access")
local balance = require("balance")
local measure = require("measure")
local rewrite = require("rewrite")
local routes = require("routes")

local _M = {}
local states = {}
local locations = {}

-- The locations of the configuration that this worker has.
function _M.known(names)
  locations = names
end

-- After a reload the tables name new locations, while workers of before still finish what they have: they take the
-- plainest location of the same protocol.
local function location(name)
  return "@" .. (locations[name] and name or name:match("^%a+") .. "_0_100")
end

local function redirect(state, code, location)
  state.answered = true
  return ngx.redirect(location, code)
end

local function secured(policy, entry)
  if ngx.var.scheme == "https" or ngx.var.http_x_forwarded_proto == "https" and policy.trusts_forwarded then
    return false
  end
  return policy.secure == "always" or policy.secure == "tls" and entry.tls
end

-- Where copies of the request go: keys of backends, of those whose share of requests this one is in.
local function copies(policy, backend)
  local chosen = {}
  for _, mirrors in ipairs({policy.mirrors or {}, backend.mirrors or {}}) do
    for _, mirror in ipairs(mirrors) do
      if math.random() * 100 < mirror.percent then
        chosen[#chosen + 1] = mirror.key
      end
    end
  end
  return chosen
end

local function forwarded(policy, state)
  local backend = state.backend
  if policy.request_headers then
    rewrite.request_headers(policy.request_headers)
  end
  if backend.request_headers then
    rewrite.request_headers(backend.request_headers)
  end
  local host = backend.host or policy.host
  ngx.var.pynetes_host = host or ngx.var.http_host or ngx.var.host
  ngx.var.pynetes_name = host or backend.server_name or ngx.var.host
  if policy.mirrors or backend.mirrors then
    ngx.var.pynetes_mirror = table.concat(copies(policy, backend), " ")
  end
end

-- The rewrite phase of every request from outside.
function _M.route(scope)
  local state = {}
  states[ngx.var.request_id] = state
  local host = ngx.var.host:lower():gsub("%.$", "")
  if routes.misdirected(scope, host, ngx.var.ssl_server_name) then
    return ngx.exit(421)
  end
  local entry, rule, captures, matched = routes.find(scope, host, ngx.var.uri)
  if not rule then
    return ngx.exit(404)
  end
  local policy = entry.policies[rule.policy]
  state.rule, state.policy = rule, policy
  if policy.refuse then
    return ngx.exit(policy.refuse)
  end
  if secured(policy, entry) then
    return redirect(state, rewrite.location({code = 308, scheme = "https"}, nil, ""))
  end
  local status = access.check(policy, state)
  if status then
    return ngx.exit(status)
  end
  if policy.app_root and ngx.var.uri == "/" then
    return redirect(state, 302, ngx.var.scheme .. "://" .. (ngx.var.http_host or host) .. policy.app_root)
  end
  if policy.redirect then
    return redirect(state, rewrite.location(policy.redirect, captures, matched))
  end
  state.backend = balance.backend(rule)
  if not state.backend or state.backend.refuse then
    return ngx.exit(state.backend and state.backend.refuse or 500)
  end
  if state.backend.cors and access.share(state.backend.cors, state) then
    return ngx.exit(204)
  end
  if state.backend.redirect then
    return redirect(state, rewrite.location(state.backend.redirect, captures, matched))
  end
  if not balance.choose(state, policy.affinity) then
    return ngx.exit(503)
  end
  forwarded(policy, state)
  if policy.prefix_header then
    ngx.req.set_header("X-Forwarded-Prefix", policy.prefix_header)
  end
  local other = state.backend.rewrite or policy.rewrite
  if other then
    rewrite.path(other, captures, matched)
  end
  return ngx.exec(location(state.backend.location or policy.location))
end

function _M.connect()
  local state = states[ngx.var.request_id]
  if not state then
    return ngx.exit(502)
  end
  return balance.connect(state)
end

-- nginx makes 500 of whatever ends the choice of a backend.
function _M.failed()
  local state = states[ngx.var.request_id]
  return ngx.exit(state and state.late and 504 or 500)
end

-- The subrequest of the `number`th mirror: its backend's answer is thrown away.
function _M.mirror(number)
  local found, key = 0, nil
  for each in ngx.var.pynetes_mirror:gmatch("%S+") do
    found = found + 1
    key = found == number and each or key
  end
  local state = {backend = {key = key}, policy = {}}
  if not key or not balance.choose(state) then
    return ngx.exit(204)
  end
  ngx.ctx.mirror = state
end

function _M.connect_mirror()
  return balance.connect(ngx.ctx.mirror)
end

function _M.answer()
  local state = not ngx.is_subrequest and states[ngx.var.request_id]
  if not state then
    return
  end
  for name, value in pairs(state.cors or {}) do
    ngx.header[name] = value
  end
  if state.cors then
    ngx.header["Vary"] = "Origin"
  end
  if state.cookie then
    rewrite.response_headers({add = {{"Set-Cookie", state.cookie}}})
  end
  local policy = state.policy
  if policy and policy.response_headers and not state.answered then
    rewrite.response_headers(policy.response_headers)
  end
  if state.backend and state.backend.response_headers then
    rewrite.response_headers(state.backend.response_headers)
  end
end

function _M.done()
  local id = ngx.var.request_id
  local state = states[id]
  if state then
    states[id] = nil
    access.leave(state)
    measure.count(state)
  end
end

return _M
