-- Who may ask, how often, and how: addresses, rates, basic authentication, CORS, the size of the body.
local limits = ngx.shared.pynetes_limits

local _M = {}

local function bytes(hex)
  return (hex:gsub("..", function(two) return string.char(tonumber(two, 16)) end))
end

-- Networks are {hexadecimal address, prefix length}; the client's address is 4 or 16 bytes.
local function inside(address, networks)
  for _, network in ipairs(networks) do
    network.bytes = network.bytes or bytes(network[1])
    local wanted, length = network.bytes, network[2]
    if #wanted == #address then
      local whole, left = math.floor(length / 8), length % 8
      if wanted:sub(1, whole) == address:sub(1, whole) then
        if left == 0 then
          return true
        end
        local divisor = 2 ^ (8 - left)
        if math.floor(wanted:byte(whole + 1) / divisor) == math.floor(address:byte(whole + 1) / divisor) then
          return true
        end
      end
    end
  end
  return false
end

-- A leaky bucket: `rate` leave it a second, up to `burst` may wait in it; whether one more fits.
local function leaky(key, rate, burst)
  local now = ngx.now()
  local excess, last = limits:get(key), limits:get(key .. "@")
  if excess and last then
    excess = math.max(0, excess - rate * (now - last)) + 1
  else
    excess = 0
  end
  if excess > burst then
    return false
  end
  local keep = math.max(1, (burst + 1) / rate)
  limits:set(key, excess, keep)
  limits:set(key .. "@", now, keep)
  return true
end

-- A status to refuse with, or nil. What is counted per connection is noted in state and given back by `leave`.
local function limited(limit, state, address)
  if limit.free and inside(address, limit.free) then
    return nil
  end
  local key = limit.key .. address
  if limit.rps and not leaky("s" .. key, limit.rps, limit.rps * limit.burst) then
    return limit.status
  end
  if limit.rpm and not leaky("m" .. key, limit.rpm / 60, limit.rpm * limit.burst) then
    return limit.status
  end
  if limit.connections then
    local counted = limits:incr("c" .. key, 1, 0)
    state.counted = "c" .. key
    if counted and counted > limit.connections then
      return limit.status
    end
  end
end

function _M.leave(state)
  if state.counted then
    local left = limits:incr(state.counted, -1)
    if left and left <= 0 then
      limits:delete(state.counted)
    end
  end
end

-- Whether an origin is one of a pattern's: * stands for one label of a host (Ingress), or for any beginning of it
-- (deep, as the Gateway API has it), but never for a port.
local function matches(wanted, origin, deep)
  if wanted == "*" or wanted == origin then
    return true
  end
  local scheme, rest = wanted:match("^(%w+://)%*(.*)$")
  if not scheme or origin:sub(1, #scheme) ~= scheme or (rest == "" and not deep) then
    return false
  end
  local host = origin:sub(#scheme + 1)
  local first = host:sub(1, #host - #rest)
  return #first > 0 and host:sub(#first + 1) == rest and not first:find(deep and "[^%w%-%.]" or "[^%w%-]")
end

local function allowed_origin(cors, origin)
  for _, each in ipairs(cors.origins) do
    if matches(each, origin, cors.deep) then
      return each == "*" and not cors.credentials and "*" or origin
    end
  end
end

-- What may be asked for: "*" is whatever this request wants to ask for.
local function granted(wanted, asked)
  if wanted == "*" then
    return asked
  end
  return wanted
end

-- Headers for the answer, and whether this is a preflight that is answered here.
local function shared_origin(cors)
  local origin = ngx.var.http_origin
  local allowed = origin and allowed_origin(cors, origin)
  local preflight = ngx.req.get_method() == "OPTIONS" and ngx.var.http_access_control_request_method ~= nil
  if not allowed then
    return nil, preflight and cors.deep and origin ~= nil
  end
  local headers = {["Access-Control-Allow-Origin"] = allowed}
  if not (cors.expose == "*" and cors.credentials) then
    headers["Access-Control-Expose-Headers"] = cors.expose
  end
  if cors.credentials then
    headers["Access-Control-Allow-Credentials"] = "true"
  end
  if preflight then
    headers["Access-Control-Allow-Methods"] = granted(cors.methods, ngx.var.http_access_control_request_method)
    headers["Access-Control-Allow-Headers"] = granted(cors.headers, ngx.var.http_access_control_request_headers)
    headers["Access-Control-Max-Age"] = tostring(cors.max_age)
  end
  return headers, preflight
end

-- Notes the headers for the answer; 204 where it is given here.
function _M.share(cors, state)
  local headers, preflight = shared_origin(cors)
  state.cors = headers
  return preflight and 204 or nil
end

-- A status that ends the request here, or nil.
function _M.check(policy, state)
  local address = ngx.var.binary_remote_addr
  if policy.deny and inside(address, policy.deny) then
    return 403
  end
  if policy.allow and not inside(address, policy.allow) then
    return 403
  end
  local refused = policy.limit and limited(policy.limit, state, address)
  if refused then
    return refused
  end
  local length = tonumber(ngx.var.http_content_length)
  if length and policy.body and policy.body > 0 and length > policy.body then
    return 413
  end
  local answered = policy.cors and _M.share(policy.cors, state)
  if answered then
    return answered
  end
  if policy.auth then
    ngx.var.pynetes_realm = policy.auth.realm
    ngx.var.pynetes_users = policy.auth.file
  end
end

return _M
