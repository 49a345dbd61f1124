-- Which rule a request falls under.
--
-- Hosts from the most specific to the least; in each an exact path before the longest prefix, a regular expression
-- where its text is longer than the prefix; at one path the first rule whose conditions hold (the controller has put
-- them in order of precedence). A host without a matching path leaves the request to the next wider one, and what
-- nothing matches goes to the default backends in the same order.
local tables = require("tables")

local _M = {}

-- The host, then its wildcards: of its parent only (Ingress), or of every parent (Gateway API); then "*".
local function hosts(host, every)
  if host == "*" then
    return {"*"}
  end
  local chain, rest = {host}, host
  repeat
    rest = rest:match("^[^.]*%.(.+)$")
    if rest then
      chain[#chain + 1] = "*." .. rest
    end
  until not rest or not every or #chain > 64
  chain[#chain + 1] = "*"
  return chain
end

local function same(condition, value)
  if type(value) == "table" then
    value = table.concat(value, ",")
  end
  if type(value) ~= "string" then
    return false
  end
  if condition.regex then
    return ngx.re.find(value, condition.value, "jo") ~= nil
  end
  return value == condition.value
end

local function holds(match)
  if not match then
    return true
  end
  if match.method and match.method ~= ngx.req.get_method() then
    return false
  end
  if match.headers then
    local headers = ngx.req.get_headers(200)
    for _, condition in ipairs(match.headers) do
      if not same(condition, headers[condition.name]) then
        return false
      end
    end
  end
  if match.query then
    local query = ngx.req.get_uri_args(200)
    for _, condition in ipairs(match.query) do
      local value = query[condition.name]
      if type(value) == "table" then
        value = value[1]
      end
      if not same(condition, value) then
        return false
      end
    end
  end
  return true
end

local function first(entry, numbers)
  for _, number in ipairs(numbers or {}) do
    local rule = entry.rules[number]
    if holds(rule.match) then
      return rule
    end
  end
end

-- Regular expressions (longest first) whose text is longer than `longer`, beginning with the `from`th.
local function by_regex(entry, uri, from, longer)
  local expressions = entry.regex
  while expressions and expressions[from] and #expressions[from].path > longer do
    local each = expressions[from]
    local captures, problem = ngx.re.match(uri, each.pattern, "jo")
    if captures then
      local rule = first(entry, each.rules)
      if rule then
        return rule, captures
      end
    elseif problem then
      ngx.log(ngx.WARN, "regular expression gave up: ", problem)
    end
    from = from + 1
  end
  return nil, nil, from
end

local function by_path(entry, uri)
  local rule, captures = first(entry, entry.exact and entry.exact[uri]), nil
  if rule then
    return rule, nil, uri
  end
  local prefix, from = uri:gsub("/+$", ""), 1
  while true do
    local numbers = entry.prefix and entry.prefix[prefix]
    if numbers then
      rule, captures, from = by_regex(entry, uri, from, #prefix)
      rule = rule or first(entry, numbers)
      if rule then
        return rule, captures, prefix
      end
    end
    if prefix == "" then
      break
    end
    prefix = prefix:match("^(.*)/[^/]*$") or ""
  end
  rule, captures = by_regex(entry, uri, from, -1)
  return rule, captures, ""
end

-- The part of the tables that a listener's requests are looked up in; nil when no listener has this host.
local function listener(scope, host)
  local known = tables.get("l:" .. scope)
  if not known then
    return scope, false
  end
  for _, name in ipairs(hosts(host, true)) do
    if known[name] then
      return scope .. "/" .. known[name], true
    end
  end
  return nil, true
end

-- Whether a TLS client asks a connection that it made to one listener for a host of another; it is to make its own.
function _M.misdirected(scope, host, name)
  if not name or not tables.get("l:" .. scope) then
    return false
  end
  return listener(scope, host) ~= listener(scope, name:lower())
end

-- entry (of the host), rule, captures of a regular expression, and the prefix or path that matched.
function _M.find(scope, host, uri)
  local inner, every = listener(scope, host)
  if not inner then
    return nil
  end
  local fallback, fallback_rule
  for _, name in ipairs(hosts(host, every)) do
    local entry = tables.get("h:" .. inner .. ":" .. name)
    if entry then
      local rule, captures, matched = by_path(entry, uri)
      if rule then
        return entry, rule, captures, matched
      end
      if entry.default and not fallback then
        fallback, fallback_rule = entry, entry.rules[entry.default]
      end
    end
  end
  return fallback, fallback_rule, nil, ""
end

-- The certificate of the host that a TLS client names, from the most specific name to the least.
function _M.certificate(scope, host)
  local every = tables.get("l:" .. scope) ~= nil
  for _, name in ipairs(hosts(host, every)) do
    local found = tables.get("c:" .. scope .. ":" .. name)
    if found then
      return found
    end
  end
end

return _M
