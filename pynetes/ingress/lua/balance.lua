-- Which backend of a rule, and which endpoint of a backend.
local balancer = require("ngx.balancer")
local tables = require("tables")

local _M = {}
-- Where the next request to a backend goes, per worker; a random start keeps workers from moving in step.
local turns = {}

local function weighted(backends, total)
  if #backends == 1 then
    return backends[1]
  end
  local left = math.random() * total
  for _, backend in ipairs(backends) do
    left = left - backend.weight
    if left < 0 then
      return backend
    end
  end
  return backends[#backends]
end

-- Whether a canary takes the request: by header, by cookie, then by chance.
local function taken(canary)
  if canary.header then
    local value = ngx.req.get_headers(200)[canary.header]
    if type(value) == "string" then
      if canary.value then
        if value == canary.value then
          return true
        end
      elseif canary.pattern then
        if ngx.re.find(value, canary.pattern, "jo") then
          return true
        end
      elseif value == "always" or value == "never" then
        return value == "always"
      end
    end
  end
  if canary.cookie then
    local value = ngx.var["cookie_" .. canary.cookie]
    if value == "always" or value == "never" then
      return value == "always"
    end
  end
  return canary.weight > 0 and math.random() * canary.total < canary.weight
end

function _M.backend(rule)
  for _, canary in ipairs(rule.canaries or {}) do
    if taken(canary) then
      return weighted(canary.backends, canary.sum)
    end
  end
  if not rule.backends or rule.sum <= 0 then
    return nil
  end
  return weighted(rule.backends, rule.sum)
end

-- The endpoint that a client's cookie names, and the cookie to set when it names none.
local function sticky(endpoints, affinity)
  local wanted = ngx.var["cookie_" .. affinity.cookie]
  if wanted then
    for number, endpoint in ipairs(endpoints) do
      if ngx.md5(endpoint[1] .. ":" .. endpoint[2] .. affinity.salt) == wanted then
        return number
      end
    end
  end
  local number = math.random(#endpoints)
  local chosen = endpoints[number]
  return number, affinity.cookie .. "=" .. ngx.md5(chosen[1] .. ":" .. chosen[2] .. affinity.salt) .. affinity.attributes
end

-- Chooses before the request is sent; whether there is an endpoint at all.
function _M.choose(state, affinity)
  local endpoints = tables.get("b:" .. state.backend.key)
  if not endpoints or #endpoints == 0 then
    return false
  end
  if affinity then
    state.turn, state.cookie = sticky(endpoints, affinity)
  else
    local turn = (turns[state.backend.key] or math.random(#endpoints)) % #endpoints + 1
    turns[state.backend.key] = turn
    state.turn = turn
  end
  state.endpoints = endpoints
  return true
end

-- In nginx's balancer phase, once per try: the chosen endpoint, then those after it.
function _M.connect(state)
  local endpoints = state.endpoints
  if not state.tried then
    state.tried = 0
    if #endpoints > 1 then
      balancer.set_more_tries(math.min(#endpoints - 1, state.policy.tries or 2))
    end
  end
  local endpoint = endpoints[(state.turn + state.tried - 1) % #endpoints + 1]
  state.tried = state.tried + 1
  local times = state.policy.timeouts
  if times then
    local left = times.total and times.total - (ngx.now() - ngx.req.start_time()) or math.huge
    -- Timers may be a little early: what is left then is no time for another try.
    if left < (state.tried > 1 and 0.01 or 0.001) then
      state.late = true
      return ngx.exit(ngx.ERROR)
    end
    balancer.set_timeouts(math.min(times.connect, left), math.min(times.send, left), math.min(times.read, left))
  end
  local done, problem = balancer.set_current_peer(endpoint[1], endpoint[2])
  if not done then
    ngx.log(ngx.ERR, "cannot use endpoint ", endpoint[1], ": ", problem)
    return ngx.exit(502)
  end
end

return _M
