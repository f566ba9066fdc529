-- A token for SASL OAUTHBEARER as the brokers of the specs take it: a JSON web
-- token without a signature (RFC 7519, 6), for so long.
local DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

-- RFC 4648, 5, without padding.
local function base64url(text)
  local out = {}
  for i = 1, #text, 3 do
    local a, b, c = text:byte(i, i + 2)
    local word = a * 65536 + (b or 0) * 256 + (c or 0)
    for place = 3, c and 0 or b and 1 or 2, -1 do
      local digit = math.floor(word / 64 ^ place) % 64
      out[#out + 1] = DIGITS:sub(digit + 1, digit + 1)
    end
  end
  return table.concat(out)
end

return function(expires)
  return base64url('{"alg":"none"}') .. "."
    .. base64url(('{"sub":"strand","iat":%d,"exp":%d}'):format(os.time() - 10, expires)) .. "."
end
