local testing = require "tidegate.testing"
local json = require "tidegate.json"

-- Keys of RFC 7515, A.3 and A.4.
local FIRST = {
  kty = "EC", crv = "P-256",
  x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
  y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
}
local FIRST_D = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"
local SECOND = {
  kty = "EC", crv = "P-521",
  x = "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
  y = "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
}
local SECOND_D = "AY5pb7A0UFiB3RELSD64fTLOSV_jazdF7fLYyuTw8lOfRhWg6Y6rUrPAxerEzgdRhajnu0ferB0d53vM9mE15j2C"
local SECRET = ("s3cret"):rep(11)

local function with(key, more)
  local made = {}
  for name, value in pairs(key) do made[name] = value end
  for name, value in pairs(more) do made[name] = value end
  return made
end

--- A host whose policy verifies with `options` (Lua text).
local function host_that(make, more)
  return testing.host(with(more or {}, {
    source = ([[
local jwt = require "tidegate.jwt"
local tide = require "tidegate"
local verifier = %s
local policy = {}
function policy.authenticate(conn, credentials)
  local claims, why, code = verifier:verify(credentials.bearer)
  if not claims then return nil, code .. ": " .. why end
  return { user_id = claims.sub, expires_at = claims.exp }
end
function policy.message(conn, message)
  local claims, why, code = verifier:verify(message.token)
  conn:send({ type = "verified", claims = claims, why = why, code = code })
end
return policy]]):format(make),
  }))
end

-- Why keys could not be fetched the last time: for the operator, not for clients.
local function logged(host)
  local lines = host:logs "policy.log"
  return lines[#lines].fields.why
end

local function sign(host, key, d, kid, claims)
  return testing.jwt(with({ sub = "ada", iss = "https://id.example", aud = "api",
    iat = host:now(), exp = host:now() + 1e6 }, claims or {}), {
    key = with(key, { d = d }),
    algorithm = key == FIRST and "ES256" or "ES512",
    kid = kid,
  })
end

local function refusal(host, token)
  return host:connect{ bearer = token }.close_reason
end

describe("jwt.verifier", function()
  it("says at load what is wrong with its options", function()
    local rows = {
      { [[]], "a table of options expected, got nil" },
      { [[{}]], "keys is missing" },
      { [[{ keys = "x" }]], "algorithms is missing" },
      { [[{ keys = "x", algorithms = {} }]], "algorithms: a list" },
      { [[{ keys = "x", algorithms = { "none" } }]], "proves nothing" },
      { [[{ keys = "x", algorithms = { "EdDSA" } }]], "EdDSA is not supported" },
      { [[{ keys = "x", algorithms = { "rs256" } }]], 'did you mean "RS256"' },
      { [[{ keys = "x", algorithms = { 256 } }]], 'there is no "256"' },
      { [[{ keys = "x", algorithms = { "RS256" } }]], "a text is PEM" },
      { [[{ keys = {}, algorithms = { "RS256" } }]], "a table is { secret" },
      { [[{ keys = 7, algorithms = { "RS256" } }]], "got number" },
      { [[{ keys = { secret = "short" }, algorithms = { "HS256" } }]], "5 bytes" },
      { [[{ keys = { secret = ("x"):rep(32) }, algorithms = { "HS512" } }]], "can be used with HS512" },
      { [[{ keys = { secret = ("x"):rep(32) }, algorithms = { "RS256" } }]], "can be used with RS256" },
      { [[{ keys = { secret = "-----BEGIN X-----" }, algorithms = { "HS256" } }]], "this is a key" },
      { [[{ keys = { file_option = "nothing" }, algorithms = { "HS256" } }]], "set options.nothing" },
      { [[{ keys = { url = "http://id.example/" }, algorithms = { "RS256" } }]], "an https address" },
      { [[{ keys = { url = "https://u:p@id.example/" }, algorithms = { "RS256" } }]], "without a user" },
      { [[{ keys = { url = "http://localhost@id.example/" }, algorithms = { "RS256" } }]], "https address" },
      { [[{ keys = { url = "https://id.example/" }, algorithms = { "HS256" } }]], "needs a shared secret" },
      { [[{ keys = { { url = "https://id.example/" } }, algorithms = { "RS256" } }]], "stands alone" },
      { [[{ keys = { url = "https://id.example/", refresh = 1 }, algorithms = { "PS256" } }]], "60 to" },
      { [[{ keys = "x", algorithms = { "RS256" }, isuer = "x" }]], 'did you mean "issuer"' },
      { [[{ keys = "x", algorithms = { "RS256" }, leeway = 61 }]], "leeway: seconds from 0 to 60" },
      { [[{ keys = "x", algorithms = { "RS256" }, audience = {} }]], "audience:" },
      { [[{ keys = "x", algorithms = { "RS256" }, max_bytes = 1 }]], "max_bytes: bytes from 256" },
      { [[{ keys = '{"kty":"OKP","crv":"Ed25519","x":"AA"}', algorithms = { "RS256" } }]], "EdDSA" },
      { [[{ keys = '{"keys":[]}', algorithms = { "RS256" } }]], "no key that can be used" },
    }
    for _, row in ipairs(rows) do
      local good, why = pcall(host_that, "jwt.verifier(" .. row[1] .. ")")
      assert.is_false(good, row[1])
      assert.matches("init.lua:3: jwt.verifier", tostring(why), 1, true)
      assert.matches(row[2], tostring(why), 1, true)
    end
  end)

  it("takes keys in every form, several at a time", function()
    local host = host_that(([[jwt.verifier({
      keys = { { secret = %q }, %q, { keys = { %s, { kty = "new" } } } },
      algorithms = { "HS256", "ES256", "ES512" }, issuer = "https://id.example", audience = { "api" } })]])
      :format(SECRET, json.encode(with(FIRST, { kid = "1" })),
        ("{ kty = %q, crv = %q, x = %q, y = %q, kid = '2' }")
          :format(SECOND.kty, SECOND.crv, SECOND.x, SECOND.y)))
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    assert.equal("ada", host:connect{ bearer = sign(host, SECOND, SECOND_D, "2") }.user_id)
    assert.equal("ada", host:connect{ bearer = sign(host, SECOND, SECOND_D) }.user_id)
    assert.matches("^key: ", refusal(host, sign(host, SECOND, SECOND_D, "1")))
    local evil = sign(host, FIRST, FIRST_D, "1", { iss = "https://evil.example" })
    assert.matches("^issuer: ", refusal(host, evil))
    assert.matches("^malformed: ", refusal(host, nil))
    assert.matches("^too_large: ", refusal(host, ("x"):rep(9000)))
  end)

  it("takes a JWK that the configuration's options hold", function()
    local host = host_that([[jwt.verifier({ keys = require("tidegate").options.jwk, algorithms = { "ES256" },
      audience = "api" })]], { options = { jwk = FIRST } })
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D) }.user_id)
  end)

  it("reads the file that an option names, and no other", function()
    local path = os.tmpname()
    local file = assert(io.open(path, "w"))
    file:write(json.encode({ keys = { with(FIRST, { kid = "1" }) } }))
    file:close()
    local host = host_that([[jwt.verifier({ keys = { file_option = "jwks_file" }, algorithms = { "ES256" },
      audience = "api" })]], { options = { jwks_file = path } })
    os.remove(path)
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    assert.error_matches(function()
      host_that([[jwt.verifier({ keys = { file_option = "jwks_file" }, algorithms = { "ES256" } })]],
        { options = { jwks_file = path } })
    end, "options.jwks_file cannot be read", 1, true)
  end)

  it("tells nothing of itself", function()
    local host = host_that(([[jwt.verifier({ keys = { secret = %q }, algorithms = { "HS256" } })
      assert(tostring(verifier) == "verifier" and next(verifier) == nil)
      assert(getmetatable(verifier) == false)
      assert(not pcall(function() verifier.keys = 1 end))]]):format(SECRET))
    local client = host:connect{ bearer = "secret-text" }
    assert.matches("^malformed", client.close_reason)
    for _, line in ipairs(host:logs()) do
      assert.not_matches("secret%-text", json.encode(line))
      assert.not_matches(SECRET, json.encode(line))
    end
  end)
end)

describe("jwt.sign", function()
  it("says what is wrong", function()
    local rows = {
      { {}, {}, "key is missing" },
      { {}, { key = "x" }, "algorithm is missing" },
      { {}, { key = { secret = SECRET }, algorithm = "none" }, "proves nothing" },
      { {}, { key = { secret = SECRET }, algorithm = "RS256" }, "does not fit RS256" },
      { {}, { key = FIRST, algorithm = "ES256" }, '"d"' },
      { {}, { key = with(FIRST, { d = SECOND_D }), algorithm = "ES256" }, "32 bytes" },
      { {}, { key = with(FIRST, { d = FIRST.x }), algorithm = "ES256" }, "do not fit" },
      { { exp = 1 }, { key = { secret = SECRET }, algorithm = "HS256", expires_in = 60 }, "exclude" },
      { { 1 }, { key = { secret = SECRET }, algorithm = "HS256" }, "claims have names" },
      { 7, { key = { secret = SECRET }, algorithm = "HS256" }, "a table of claims expected" },
    }
    for _, row in ipairs(rows) do
      assert.error_matches(function() testing.jwt(row[1], row[2]) end, row[3], 1, true)
    end
  end)

  it("sets iat, and exp if asked", function()
    local host = host_that(([[jwt.verifier({ keys = { secret = %q }, algorithms = { "HS512" },
      max_age = 10 })]]):format(SECRET))
    local options = { key = { secret = SECRET }, algorithm = "HS512", expires_in = 60 }
    local token = testing.jwt({ sub = "ada" }, options)
    local client = host:connect{ bearer = token }
    client:send({ type = "verify", token = token })
    local claims = client:expect("verified").claims
    assert.equal(60, claims.exp - claims.iat)
    assert.equal(client.identity.expires_at, claims.exp)
    client:send({ type = "verify", token = token .. "x" })
    assert.same("malformed", client:expect("verified").code)
  end)
end)

local URL = "https://id.example/jwks.json"

describe("fetched keys", function()
  local function host_with()
    return host_that(([[jwt.verifier({ keys = { url = %q, max_stale = 3600 },
      algorithms = { "ES256", "ES512" }, issuer = "https://id.example", audience = "api" })]]):format(URL))
  end

  local function set(...)
    return { json = { keys = { ... } } }
  end

  it("are asked for once by everybody who needs them", function()
    local host = host_with()
    host:http(URL, with(set(with(FIRST, { kid = "1" })), { delay = 1 }))
    local clients = {}
    for i = 1, 5 do clients[i] = host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") } end
    assert.equal("accepted", clients[5].state)
    host:advance(1.5)
    for i = 1, 5 do assert.equal("ada", clients[i].user_id) end
    assert.equal(1, #host:requests())
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    assert.equal(1, #host:requests())
  end)

  it("are asked for by the next one when the first has gone away meanwhile", function()
    local host = host_with()
    host:http(URL, with(set(with(FIRST, { kid = "1" })), { delay = 2 }))
    local first = host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }
    local second = host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }
    host:advance(1)
    first:drop()
    host:advance(1.5)
    assert.is_nil(second.user_id)
    host:advance(1)
    assert.equal("ada", second.user_id)
    assert.equal(2, #host:requests())
  end)

  it("come to who is left when others that waited have gone, also on a version that is replaced", function()
    local host = host_with()
    host:http(URL, with(set(with(FIRST, { kid = "1" })), { delay = 2 }))
    local clients = {}
    for i = 1, 4 do clients[i] = host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") } end
    host:advance(1)
    clients[2]:drop()
    clients[3]:close(1000)
    assert.truthy(host:reload({ source = [[
local policy = {}
function policy.authenticate() return nil, "the new one" end
return policy]] }))
    assert.equal("the new one", refusal(host, "x"))
    host:advance(2)
    assert.equal("ada", clients[1].user_id)
    assert.equal("ada", clients[4].user_id)
    assert.equal(1, #host:requests())
  end)

  it("let nobody wait longer than their server may take", function()
    local host = host_with()
    host:http(URL, with(set(with(FIRST, { kid = "1" })), { delay = 30 }))
    local first = host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }
    local second = host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }
    host:advance(5)
    assert.matches("^unavailable: ", first.close_reason)
    assert.matches("time", logged(host))
    assert.matches("^unavailable: ", second.close_reason)
    assert.equal(1, #host:requests())
  end)

  it("are rotated: an unknown kid fetches anew, also right after another fetch", function()
    local host = host_with()
    host:http(URL, set(with(FIRST, { kid = "1" })))
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    host:http(URL, set(with(FIRST, { kid = "1" }), with(SECOND, { kid = "2" })))
    assert.equal("ada", host:connect{ bearer = sign(host, SECOND, SECOND_D, "2") }.user_id)
    assert.equal(2, #host:requests())
    host:http(URL, set(with(SECOND, { kid = "2" })))
    host:advance(601) -- refreshed: the first one was withdrawn
    host:connect{ bearer = sign(host, SECOND, SECOND_D, "2") }
    assert.matches("^key: ", refusal(host, sign(host, FIRST, FIRST_D, "1")))
  end)

  it("are fetched for unknown kids three times in a row, and then every 20 seconds", function()
    local host = host_with()
    host:http(URL, set(with(FIRST, { kid = "1" })))
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    local function flood()
      for _ = 1, 10 do assert.matches("^key: ", refusal(host, sign(host, SECOND, SECOND_D, "3"))) end
      return #host:requests()
    end
    assert.equal(4, flood())
    host:advance(19)
    assert.equal(4, flood())
    host:advance(2)
    assert.equal(5, flood())
    host:advance(300) -- what is not used does not add up without end
    assert.equal(8, flood())
    -- Who holds a good key does not notice; nor, by and by, who holds a new one.
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    host:http(URL, set(with(FIRST, { kid = "1" }), with(SECOND, { kid = "2" })))
    host:advance(20)
    assert.equal("ada", host:connect{ bearer = sign(host, SECOND, SECOND_D, "2") }.user_id)
    assert.equal(9, #host:requests())
  end)

  it("are not fetched again for a token for which they have just been fetched", function()
    local host = host_with()
    host:http(URL, set(with(FIRST, { kid = "1" })))
    assert.matches("^key: ", refusal(host, sign(host, SECOND, SECOND_D, "2")))
    assert.equal(1, #host:requests())
    host:advance(601)
    assert.matches("^key: ", refusal(host, sign(host, SECOND, SECOND_D, "2")))
    assert.equal(2, #host:requests())
  end)

  it("are fetched once for all who come at once with an unknown kid", function()
    local host = host_with()
    host:http(URL, set(with(FIRST, { kid = "1" })))
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    host:http(URL, with(set(with(SECOND, { kid = "2" })), { delay = 1 }))
    local clients = {}
    for i = 1, 5 do clients[i] = host:connect{ bearer = sign(host, SECOND, SECOND_D, "2") } end
    host:advance(1.5)
    for i = 1, 5 do assert.equal("ada", clients[i].user_id) end
    assert.equal(2, #host:requests())
  end)

  it("serve on while they cannot be fetched, for a while", function()
    local host = host_with()
    host:http(URL, set(with(FIRST, { kid = "1" })))
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    for _, fault in ipairs{ "refused", { status = 500 }, { body = "no JSON" }, { json = { keys = {} } } } do
      host:http(URL, fault)
      host:advance(700)
      assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    end
    host:advance(900) -- 3700 in all
    assert.matches("^unavailable: ", refusal(host, sign(host, FIRST, FIRST_D, "1")))
    local asked = #host:requests()
    assert.matches("^unavailable: ", refusal(host, sign(host, FIRST, FIRST_D, "1")))
    assert.equal(asked, #host:requests()) -- not at each connection
    host:http(URL, set(with(FIRST, { kid = "1" })))
    host:advance(6)
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
  end)

  it("are never those of a redirect, nor secrets", function()
    local host = host_with()
    host:http(URL, { status = 302, headers = { location = "https://evil.example/" } })
    assert.matches("^unavailable: ", refusal(host, sign(host, FIRST, FIRST_D, "1")))
    assert.matches("status 302", logged(host))
    host:http(URL, set({ kty = "oct", k = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", kid = "1" }))
    host:advance(6)
    local token = testing.jwt({ sub = "eve", exp = host:now() + 60 },
      { key = { secret = ("\0"):rep(36) }, algorithm = "HS256", kid = "1" })
    assert.matches("^algorithm: ", refusal(host, token))
  end)
end)

describe("jwt.oidc", function()
  local ISSUER = "https://id.example"
  local CONFIGURATION = ISSUER .. "/.well-known/openid-configuration"

  local function host_with(configuration, more)
    local host = host_that(([[jwt.oidc({ issuer = %q, audience = "api"%s })]]):format(ISSUER, more or ""))
    host:http(CONFIGURATION, { json = configuration })
    host:http("https://keys.example/", { json = { keys = { with(FIRST, { kid = "1" }) } } })
    return host
  end

  local function configuration(more)
    return with({ issuer = ISSUER, jwks_uri = "https://keys.example/",
      id_token_signing_alg_values_supported = { "RS256", "ES256", "HS256", "none" } }, more or {})
  end

  it("finds keys and algorithms where the provider says", function()
    local host = host_with(configuration())
    assert.equal("ada", host:connect{ bearer = sign(host, FIRST, FIRST_D, "1") }.user_id)
    assert.equal(2, #host:requests())
    assert.matches("^audience: ", refusal(host, sign(host, FIRST, FIRST_D, "1", { aud = "other" })))
    assert.matches("^algorithm: ", refusal(host, sign(host, SECOND, SECOND_D, "1")))
    local token = testing.jwt({ sub = "eve" }, { key = { secret = SECRET }, algorithm = "HS256", kid = "1" })
    assert.matches("^algorithm: ", refusal(host, token))
  end)

  it("takes no configuration that is not the issuer's", function()
    local rows = {
      { configuration{ issuer = "https://evil.example" }, "another issuer" },
      { configuration{ issuer = ISSUER .. "/" }, "another issuer" },
      { configuration{ jwks_uri = "http://keys.example/" }, "no https address" },
      { configuration{ jwks_uri = 7 }, "no https address" },
      { configuration{ id_token_signing_alg_values_supported = { "HS256", "none" } }, "no algorithm" },
      { { "x" }, "another issuer" },
    }
    for _, row in ipairs(rows) do
      local host = host_with(row[1])
      local why = refusal(host, sign(host, FIRST, FIRST_D, "1"))
      assert.equal("unavailable: the keys of tokens cannot be had now; try again later", why)
      assert.matches(row[2], logged(host), 1, true)
      assert.equal(0, #host:requests "https://keys.example/")
    end
  end)

  it("may be held to fewer algorithms, and never to shared secrets", function()
    local host = host_with(configuration(), [[, algorithms = { "RS256" }]])
    assert.matches("^algorithm: ", refusal(host, sign(host, FIRST, FIRST_D, "1")))
    assert.error_matches(function() host_with(configuration(), [[, algorithms = { "HS256" }]]) end,
      "needs a shared secret", 1, true)
    assert.error_matches(function() host_that([[jwt.oidc({ issuer = "https://id.example" })]]) end,
      "audience is missing", 1, true)
  end)
end)
