-- Shows each TLS client the certificate of the name it asks for; without one, the default certificate stays.
local routes = require("routes")
local ssl = require("ngx.ssl")

-- Parsed pairs by table entry: an entry is a new Lua table whenever its version changes.
local parsed = setmetatable({}, {__mode = "k"})

local _M = {}

local function pair(entry)
  local known = parsed[entry]
  if known == nil then
    local chain, wrong = ssl.parse_pem_cert(entry.chain)
    local key, bad = ssl.parse_pem_priv_key(entry.key)
    if chain and key then
      known = {chain = chain, key = key}
    else
      ngx.log(ngx.ERR, "unusable certificate: ", wrong or bad)
      known = false
    end
    parsed[entry] = known
  end
  return known
end

function _M.show(scope)
  local name = ssl.server_name()
  local entry = routes.certificate(scope, name and name:lower() or "*")
  local both = entry and pair(entry)
  if both then
    ssl.clear_certs()
    ssl.set_cert(both.chain)
    ssl.set_priv_key(both.key)
  end
end

return _M
